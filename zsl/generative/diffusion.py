"""A denoising diffusion GAN (Xiao et al. 2022): few large steps from a feature to noise, and a G that goes back."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from zsl.generative.vaegan import SigmoidGenerator

LEAST_RATE, MOST_RATE = 0.1, 20.0  # β(0) and β(1) of the variance-preserving schedule
EARLIEST = 1e-3  # the time of the state before the first step; the last step ends at 1


class Diffusion(nn.Module):
    """A chain of states: x_0 is a feature, and x_{t+1} = √(1 - β) x_t + √β ε has the noise of step t = 0 to T - 1, too.

    Given x_0, x_t is normal with mean √ᾱ x_0 and variance 1 - ᾱ in each dimension.
    """

    kept: Tensor  # ᾱ of the states x_0 to x_T [T + 1]; it falls from 1 to almost 0

    def __init__(self, steps: int) -> None:
        super().__init__()
        time = torch.linspace(EARLIEST, 1.0, steps + 1, dtype=torch.float64)
        total = (
            0.5 * time.square() * (MOST_RATE - LEAST_RATE) + time * LEAST_RATE
        )  # the integral of β from 0 to each time
        self.register_buffer("kept", (total[0] - total).exp().float())

    @property
    def steps(self) -> int:
        """The number T of steps."""
        return len(self.kept) - 1

    def noised(self, features: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
        """Return x_{t+1} [B, D] of features x_0 [B, D] with this standard normal noise [B, D]; steps: t [B]."""
        kept = self.kept[steps + 1, None]
        return kept.sqrt() * features + (1 - kept).sqrt() * noise

    def posterior(self, features: Tensor, noised: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean [B, D] and variance [B, 1] of x_t, given x_0 and x_{t+1}, both [B, D]; steps: t [B]."""
        before, after = self.kept[steps, None], self.kept[steps + 1, None]
        alpha = after / before  # 1 - β of the step
        mean = (1 - alpha) * before.sqrt() * features + (1 - before) * alpha.sqrt() * noised
        return mean / (1 - after), (1 - alpha) * (1 - before) / (1 - after)

    def step_back(self, features: Tensor, noised: Tensor, steps: Tensor) -> Tensor:
        """Draw x_t [B, D], given x_0 and x_{t+1}, both [B, D]; steps: t [B].  With t = 0 it is x_0."""
        mean, variance = self.posterior(features, noised, steps)
        return mean + variance.sqrt() * torch.randn_like(mean)


class DenoisingGenerator(SigmoidGenerator):
    """G(a, z, x_{t+1}, t): it maps attributes, noise and a noised feature to the feature x_0.

    The step t is a one-hot vector, so the first layer learns any vector for each step.
    """

    def __init__(
        self, attribute_dim: int, noise_dim: int, hidden_dim: int, feature_dim: int, *, shortcut: bool, steps: int,
        progressive: bool,
    ) -> None:  # fmt: skip
        inputs = noise_dim + feature_dim + steps
        super().__init__(attribute_dim, inputs, hidden_dim, feature_dim, shortcut=shortcut)
        self.noise_dim, self.latent_dim, self.progressive = noise_dim + feature_dim, noise_dim, progressive
        self.diffusion = Diffusion(steps)

    def denoise(self, condition: Tensor, latents: Tensor, noised: Tensor, steps: Tensor) -> Tensor:
        """Map attributes [B, A], z [B, Z], x_{t+1} [B, D] and t [B] to x_0 [B, D]."""
        inputs = torch.cat([condition, latents, noised, self.encoded(steps)], dim=1)
        return self.decode(self.layers[:-1](inputs), condition)

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Map attributes [B, A] and noise, which is z and x_T side by side [B, Z + D], to features [B, D]."""
        latents, noised = self.parts(noise)
        for step in reversed(range(self.diffusion.steps)):
            steps = torch.full((len(noise),), step, device=noise.device)
            features = self.denoise(condition, latents, noised, steps)
            if not self.progressive:
                break
            noised = self.diffusion.step_back(features, noised, steps)
        return features

    def parts(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Split noise [B, Z + D] into that of the latents [B, Z] and that of the features [B, D]."""
        latents, features = noise.tensor_split([self.latent_dim], dim=1)
        return latents, features

    def encoded(self, steps: Tensor) -> Tensor:
        """Return steps [B] as one-hot vectors [B, T]."""
        return one_hot(steps, self.diffusion.steps).to(self.diffusion.kept)
