"""The networks of CE-GZSL around its embedding, and the loss that contrasts images with images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize, relu


class Embedding(nn.Module):
    """E and H: h = ReLU(W₁x), where the classifier works, and v = W₂h / ‖W₂h‖, where instances are contrasted."""

    def __init__(self, feature_dim: int, embedding_dim: int, projection_dim: int) -> None:
        super().__init__()
        self.embed, self.project = nn.Linear(feature_dim, embedding_dim), nn.Linear(embedding_dim, projection_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, D] to h [B, embedding_dim]."""
        return relu(self.embed(features))

    def projected(self, embedded: Tensor) -> Tensor:
        """Map h [B, embedding_dim] to v [B, projection_dim] of length 1."""
        return normalize(self.project(embedded))


class Compatibility(nn.Module):
    """F: it maps h and the attributes of a class to a score."""

    def __init__(self, embedding_dim: int, attribute_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.of_embedding = nn.Linear(embedding_dim, hidden_dim)
        self.of_attributes = nn.Linear(attribute_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, 1)

    def forward(self, embedded: Tensor, attributes: Tensor) -> Tensor:
        """Map h [B, embedding_dim] and attributes of S classes [S, A] to scores [B, S]."""
        # The first layer of [h; a] is a sum, so each h and each a needs one product.
        hidden = self.of_embedding(embedded)[:, None] + self.of_attributes(attributes)[None]
        return self.out(leaky_relu(hidden, 0.2).flatten(0, 1)).view(hidden.shape[:2])


def instance_loss(projected: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, eq. 2), the mean over the rows that have a positive.

    Of an anchor i: the mean over the rows p of its class of -log(exp(v_i v_p / τ) / Σ_{k ≠ i} exp(v_i v_k / τ)).

    projected: v of length 1 [B, K].  labels: [B].
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    nothing = torch.finfo(projected.dtype).min  # -inf would give a batch of one image a gradient of NaN
    log_share = (projected @ projected.T / temperature).masked_fill(itself, nothing).log_softmax(dim=1)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    count = positive.sum(dim=1)
    of_anchor = -log_share.masked_fill(~positive, 0.0).sum(dim=1) / count.clamp(min=1)
    return of_anchor.sum() / (count > 0).sum().clamp(min=1)
