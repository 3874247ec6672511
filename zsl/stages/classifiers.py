"""Stage 4: softmax classifiers in visual, semantic and representation space, and their fusion (eq. 10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.features import TrainSplit
from zsl.stages import stage
from zsl.stages.regressors import Regressors


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """Softmax heads; their inputs are standardised, so that one learning rate fits all three spaces."""

    epochs: int = 25
    batch_size: int = 256
    lr: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0


class SoftmaxHead(nn.Module):
    """Linear softmax classifier over standardised inputs; column k stands for the k-th class of its set."""

    def __init__(self, inputs: Tensor, class_count: int) -> None:
        super().__init__()
        self.register_buffer("mean", inputs.mean(0))
        self.register_buffer("std", inputs.std(0).clamp(min=1e-6))
        self.linear = nn.Linear(inputs.shape[1], class_count)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, dim] to log-probabilities [B, classes]."""
        return self.linear((inputs - self.mean) / self.std).log_softmax(dim=1)


def fit_head(inputs: Tensor, targets: Tensor, class_count: int, config: ClassifierConfig) -> SoftmaxHead:
    """Train a head on inputs [N, dim] and local class indices targets [N]."""
    head = SoftmaxHead(inputs, class_count).to(inputs.device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)
    for _ in range(config.epochs):
        for batch in torch.randperm(len(inputs), device=inputs.device).split(config.batch_size):
            optimizer.zero_grad()
            cross_entropy(head.linear((inputs[batch] - head.mean) / head.std), targets[batch]).backward()
            optimizer.step()
    return head.eval()
