"""The networks of DCR-GAN: small multi-layer perceptrons, each with the paper's symbol."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

Output = Literal["linear", "sigmoid", "relu"]  # what a network's last layer ends in
_OUTPUTS: dict[Output, type[nn.Module]] = {"linear": nn.Identity, "sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class MetricNet(nn.Module):
    """M: a visual feature beside its class's attributes to a class representation (eq. 2).

    With `attribute_dim` 0 it sees the feature alone, which is the traditional triplet loss's network (eq. 1).
    """

    def __init__(self, feature_dim: int, attribute_dim: int, representation_dim: int) -> None:
        super().__init__()
        self.attribute_dim = attribute_dim
        joint = feature_dim + attribute_dim
        self.layers = nn.Sequential(
            nn.Linear(joint, 2 * joint), nn.LeakyReLU(0.01), nn.Linear(2 * joint, representation_dim)
        )

    def forward(self, features: Tensor, attributes: Tensor) -> Tensor:
        """[B, D], [B, A] to [B, R]."""
        return self.layers(torch.cat([features, attributes[:, : self.attribute_dim]], dim=1))


class SRN(nn.Module):
    """R: the Semantic Rectifying Network, attributes to class representations (eq. 4).

    The output is linear, as in the paper; the reference code ends in a sigmoid, which needs prototypes in [0, 1].
    """

    def __init__(self, attribute_dim: int, representation_dim: int, output: Output = "linear") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(attribute_dim, 2 * attribute_dim),
            nn.LeakyReLU(0.01),
            nn.Linear(2 * attribute_dim, representation_dim),
            _OUTPUTS[output](),
        )

    def forward(self, attributes: Tensor) -> Tensor:
        """[C, A] to [C, R]."""
        return self.layers(attributes)


class Regressor(nn.Module):
    """F1 and F2: visual features back to attributes or class representations (eq. 7, 8).

    The output is linear; F1 of the reference code ends in a ReLU, for attributes are strengths.
    """

    def __init__(self, feature_dim: int, hidden_dim: int, out_dim: int, output: Output = "linear") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(feature_dim, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, out_dim),
            _OUTPUTS[output](),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, D] to [B, A] or [B, R]."""
        return self.layers(features)


class Generator(nn.Module):
    """G: condition and noise to a visual feature; features are scaled to [0, 1], so the output is a ReLU's.

    With `shortcut` a linear map of the condition is added before the ReLU, to be started from a closed form; the paper
    leaves G's architecture open.
    """

    def __init__(
        self, condition_dim: int, noise_dim: int, hidden_dim: int, feature_dim: int, *, shortcut: bool = False
    ) -> None:
        super().__init__()
        self.noise_dim = noise_dim
        self.layers = nn.Sequential(
            nn.Linear(condition_dim + noise_dim, hidden_dim), nn.LeakyReLU(0.2), nn.Linear(hidden_dim, feature_dim)
        )
        self.shortcut = nn.Linear(condition_dim, feature_dim) if shortcut else None
        self.apply(_small_normal)

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """[B, A + R], [B, Z] to [B, D]."""
        made = self.layers(torch.cat([condition, noise], dim=1))
        return relu(made if self.shortcut is None else made + self.shortcut(condition))


class Critic(nn.Module):
    """D: the Wasserstein score of a feature under its condition (eq. 6).

    With one hidden layer, as in the reference code, and a piecewise-linear activation, the gradients of its loss can be
    written down (`losses.critic_gradients`); with more of them autograd differentiates twice.
    """

    negative_slope = 0.2

    def __init__(self, feature_dim: int, condition_dim: int, hidden_dim: int, *, layers: int = 1) -> None:
        """`layers`: hidden ones, all of `hidden_dim` units."""
        super().__init__()
        if layers < 1:
            raise ValueError(f"a critic of {layers} hidden layers; it has at least 1")
        self.hidden = nn.Linear(feature_dim + condition_dim, hidden_dim)
        self.deeper = nn.ModuleList(nn.Linear(hidden_dim, hidden_dim) for _ in range(layers - 1))
        self.out = nn.Linear(hidden_dim, 1)
        self.apply(_small_normal)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """[B, D], [B, A + R] to [B]."""
        made = leaky_relu(self.hidden(torch.cat([features, condition], dim=1)), self.negative_slope)
        for layer in self.deeper:
            made = leaky_relu(layer(made), self.negative_slope)
        return self.out(made).squeeze(1)


def _small_normal(module: nn.Module) -> None:
    """Weights N(0, 0.02), biases 0, as the WGANs of this field start."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
