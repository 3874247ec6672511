"""The decoder from features to attributes of TF-VAEGAN, and the loss of decoded attributes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize


class AttributeDecoder(nn.Module):
    """Dec: it maps features to attributes of length 1."""

    def __init__(self, feature_dim: int, hidden_dim: int, attribute_dim: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(feature_dim, hidden_dim), nn.Linear(hidden_dim, attribute_dim)

    def hidden(self, features: Tensor) -> Tensor:
        """Map features [B, D] to hidden units [B, hidden_dim]."""
        return leaky_relu(self.first(features), 0.2)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, D] to attributes [B, A]."""
        return normalize(self.last(self.hidden(features)))


class TransformedFeatures(nn.Module):
    """The inputs of the classifier: features with the decoder's hidden units and its attributes."""

    def __init__(self, decoder: AttributeDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, D] to [x; h; â] [B, D + hidden_dim + A]."""
        return torch.cat([features, self.decoder.hidden(features), self.decoder(features)], dim=1)


def decoding_loss(decoder: AttributeDecoder, features: Tensor, attributes: Tensor) -> Tensor:
    """Return the loss of the attributes that `decoder` finds in features [B, D]; attributes [B, A] of any length."""
    return attribute_loss(decoder(features), normalize(attributes))


def attribute_loss(decoded: Tensor, attributes: Tensor) -> Tensor:
    """Mean over the batch of Σ|d|³ / ‖d‖ with d = â - a, both [B, A]: an L1 distance that weighs large errors more."""
    difference = decoded - attributes
    return (difference.abs() ** 3).sum(dim=1).div(difference.norm(dim=1).clamp(min=1e-12)).mean()
