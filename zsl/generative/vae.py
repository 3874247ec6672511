"""The shared parts of variational autoencoders: encoder, decoder, and the closed forms of diagonal Gaussians."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zsl.features.split import TrainSplit
from zsl.generative.synthesizer import Synthesizer


class Gaussians(NamedTuple):
    """One Gaussian with a diagonal covariance for each row of a batch."""

    mean: Tensor  # [B, Z]
    log_variance: Tensor  # [B, Z]

    @property
    def std(self) -> Tensor:
        """The standard deviations [B, Z]."""
        return (0.5 * self.log_variance).exp()


class Encoder(nn.Module):
    """The encoder q(z | x) with one hidden layer: it maps inputs to Gaussians over latents."""

    def __init__(self, input_dim: int, hidden_dim: int, latent_dim: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(input_dim, hidden_dim), nn.LeakyReLU(negative_slope))
        self.mean, self.log_variance = (nn.Linear(hidden_dim, latent_dim) for _ in range(2))

    def forward(self, inputs: Tensor) -> Gaussians:
        """Map inputs [B, dim] to Gaussians [B, Z]."""
        hidden = self.hidden(inputs)
        return Gaussians(self.mean(hidden), self.log_variance(hidden))


class Decoder(nn.Sequential):
    """The decoder with one hidden layer: it maps latents [B, Z] to inputs [B, dim]; its output is linear."""

    def __init__(self, latent_dim: int, hidden_dim: int, output_dim: int) -> None:
        super().__init__(nn.Linear(latent_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, output_dim))


class MeanLatents(nn.Module):
    """The map from inputs to the means of an encoder's Gaussians."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [B, dim] to latents [B, Z]."""
        return self.encoder(inputs).mean


def reparametrise(latents: Gaussians) -> Tensor:
    """Draw one point of each Gaussian [B, Z], as mean + std * noise: gradients reach both (Kingma & Welling 2014)."""
    return latents.mean + latents.std * torch.randn_like(latents.mean)


def kl_divergence(latents: Gaussians) -> Tensor:
    """KL(N(m, s²) ‖ N(0, 1)) of each row, the sum over the dimensions [B] (Kingma & Welling 2014, appendix B)."""
    mean, log_variance = latents
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1)


def wasserstein_distance(one: Gaussians, other: Gaussians) -> Tensor:
    """2-Wasserstein distance of each row's two Gaussians [B]: √(‖m₁ - m₂‖² + ‖s₁ - s₂‖²), as both are diagonal."""
    return torch.cat([one.mean - other.mean, one.std - other.std], dim=1).norm(dim=1)


def absolute_error(decoded: Tensor, inputs: Tensor) -> Tensor:
    """L1 distance between decoded and given inputs, both [B, dim]: the sum over dimensions, the mean over the batch."""
    return (decoded - inputs).abs().sum(dim=1).mean()


def linear_warm_up(progress: float, start: float, end: float) -> float:
    """Return the factor of a weight that rises along a line from 0 at `start` to 1 at `end`, which is after it.

    All three are shares of the training, from 0 to 1.
    """
    return min(1.0, max(0.0, (progress - start) / (end - start)))


class LatentSynthesizer(Synthesizer):
    """The synthesizer whose inputs are latents: of images from features, of unseen classes from attributes.

    Classifiers learn from draws; a test image is represented by the mean of its Gaussian.
    """

    condition_of: Tensor  # the attribute encoder's input for each class [C, A]

    def __init__(self, train: TrainSplit, feature_encoder: Encoder, attribute_encoder: Encoder) -> None:
        super().__init__(train, prepare=MeanLatents(feature_encoder))
        self.feature_encoder, self.attribute_encoder = feature_encoder, attribute_encoder
        self.register_buffer("condition_of", train.attributes)
        self.eval().requires_grad_(False)

    def real_inputs(self, features: Tensor) -> Tensor:
        """Draw a latent of each image [N, Z]."""
        return reparametrise(self.feature_encoder(features))

    def synthesize(self, classes: Tensor, per_class: int) -> Tensor:
        """Draw `per_class` latents of each of `classes` [n], class after class: [n * per_class, Z]."""
        return reparametrise(self.attribute_encoder(self.condition_of[classes.repeat_interleave(per_class)]))
