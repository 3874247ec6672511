"""The networks of DCR-GAN: small multi-layer perceptrons.  Each docstring names the paper's symbol."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

Output = Literal["linear", "sigmoid", "relu"]  # the activation of a network's last layer
_OUTPUTS: dict[Output, type[nn.Module]] = {"linear": nn.Identity, "sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class MetricNet(nn.Module):
    """M maps a visual feature and its class's attributes to a class representation (eq. 2).

    With `attribute_dim` 0 it maps the feature alone, as the network of the traditional triplet loss (eq. 1).
    """

    def __init__(self, feature_dim: int, attribute_dim: int, representation_dim: int) -> None:
        super().__init__()
        self.attribute_dim = attribute_dim
        joint = feature_dim + attribute_dim
        self.layers = nn.Sequential(
            nn.Linear(joint, 2 * joint), nn.LeakyReLU(0.01), nn.Linear(2 * joint, representation_dim)
        )

    def forward(self, features: Tensor, attributes: Tensor) -> Tensor:
        """Map features [B, D] and attributes [B, A] to representations [B, R]."""
        return self.layers(torch.cat([features, attributes[:, : self.attribute_dim]], dim=1))


class SRN(nn.Module):
    """R, the Semantic Rectifying Network, maps attributes to class representations (eq. 4).

    The output is linear, as in the paper.  The reference code has a sigmoid, which needs prototypes in [0, 1].
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
        """Map attributes [C, A] to representations [C, R]."""
        return self.layers(attributes)


class Regressor(nn.Module):
    """F1 maps visual features back to attributes, and F2 to class representations (eq. 7, 8).

    The output is linear.  F1 of the reference code has a ReLU, because attributes are strengths.
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
        """Map features [B, D] to attributes [B, A] or representations [B, R]."""
        return self.layers(features)


class Generator(nn.Module):
    """G maps condition and noise to a visual feature.  Features are scaled to [0, 1], so the last layer is a ReLU.

    With `shortcut`, G adds a linear map of the condition before the ReLU.  The map starts from a closed form.  The
    paper does not fix G's architecture.
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
        """Map conditions [B, A + R] and noise [B, Z] to features [B, D]."""
        return self.decode(self.layers[:-1](torch.cat([condition, noise], dim=1)), condition)

    def decode(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """Map hidden units [B, hidden_dim] and conditions [B, A + R] to features [B, D]."""
        output = self.layers[-1](hidden)
        return self.activation(output if self.shortcut is None else output + self.shortcut(condition))

    @staticmethod
    def activation(output: Tensor) -> Tensor:
        """Return the features [B, D] of the last layer's output."""
        return relu(output)

    @staticmethod
    def before_activation(features: Tensor) -> Tensor:
        """Return an output of the last layer [B, D] that gives these features, or almost."""
        return features


class Critic(nn.Module):
    """D maps a feature and its condition to a Wasserstein score (eq. 6).

    The reference code has one hidden layer.  Its piecewise-linear activation gives the gradients of the loss a closed
    form (`gradients.critic_gradients`).  With more hidden layers, autograd differentiates twice.
    """

    negative_slope = 0.2

    def __init__(self, feature_dim: int, condition_dim: int, hidden_dim: int, *, layers: int = 1) -> None:
        """Make `layers` hidden layers of `hidden_dim` units each."""
        super().__init__()
        if layers < 1:
            raise ValueError(f"a critic of {layers} hidden layers; it has at least 1")
        self.hidden = nn.Linear(feature_dim + condition_dim, hidden_dim)
        self.deeper = nn.ModuleList(nn.Linear(hidden_dim, hidden_dim) for _ in range(layers - 1))
        self.out = nn.Linear(hidden_dim, 1)
        self.apply(_small_normal)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Map features [B, D] and conditions [B, A + R] to scores [B]."""
        hidden = self.hidden_units(features, condition)
        for layer in self.deeper:
            hidden = leaky_relu(layer(hidden), self.negative_slope)
        return self.out(hidden).squeeze(1)

    def hidden_units(self, features: Tensor, condition: Tensor) -> Tensor:
        """Map features [B, D] and conditions [B, A + R] to the first hidden layer's units [B, hidden_dim]."""
        return leaky_relu(self.hidden(torch.cat([features, condition], dim=1)), self.negative_slope)


def _small_normal(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02) and set biases to 0: the usual start of the WGANs of this field."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
