"""Parts of a VAE whose decoder is a GAN's generator (Xian et al. 2019): the losses of the VAE, the adapted penalty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from zsl.common.ranges import NotNegative
from zsl.dcrgan.gradients import critic_gradients
from zsl.dcrgan.networks import Critic, Generator
from zsl.dcrgan.wgan import Batch, Extra, Game
from zsl.features.split import TrainSplit
from zsl.generative.method import AdversarialConfig
from zsl.generative.vae import Encoder, Gaussians, kl_divergence, reparametrise

TOO_STEEP, TOO_FLAT, FACTOR = 1.05, 1.001, 1.1  # bounds of the mean penalty, and the change of its weight
LEAST, MOST = 1e-3, 1 - 1e-3  # bounds of features whose logits a closed form takes


@dataclass(frozen=True, kw_only=True)
class VAEGANConfig(AdversarialConfig):
    """The settings of a VAE whose decoder is G.

    `vae_weight` is 1 / γ_G of the public code, whose G minimises the VAE's loss plus γ_G times the critic's term.  The
    code also multiplies D's loss, γ_D = 10, which Adam makes void.  It has 4,096 hidden units, a rate of 1e-4 and 300
    to 400 epochs; these are ours, for some thousand images.
    """

    vae_weight: NotNegative = 0.1


class SigmoidGenerator(Generator):
    """G, the decoder of features in [0, 1], as the likelihood of the VAE wants."""

    @staticmethod
    def activation(output: Tensor) -> Tensor:
        """Return the sigmoid of the last layer's output [B, D]."""
        return output.sigmoid()

    @staticmethod
    def before_activation(features: Tensor) -> Tensor:
        """Return the logits of features [B, D]."""
        return features.clamp(LEAST, MOST).logit()


def vae_loss(decoded: Tensor, features: Tensor, divergence: Tensor) -> Tensor:
    """Binary cross entropy of decoded features and features in [0, 1], both [B, D], plus KL divergence [B].

    Sums over dimensions, mean over the batch (Xian et al. 2019, eq. 3).
    """
    return binary_cross_entropy(decoded, features, reduction="sum") / len(features) + divergence.mean()


class PenaltyWeight(nn.Module):
    """λ, which follows the mean of D's penalties."""

    weight: Tensor  # λ, one number
    total: Tensor  # the sum of the penalties of a step's updates of D

    def __init__(self, start: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(float(start)))
        self.register_buffer("total", torch.zeros(()))

    def adapt(self, updates: int) -> None:
        """Change λ after a step with this number of updates of D."""
        self.weight = next_penalty_weight(self.weight, self.total / updates)
        self.total.zero_()


class VAEGANLosses(Extra):
    """The VAE's encoder and loss, and the weight of D's penalty, which follows the penalty."""

    def __init__(self, train: TrainSplit, config: VAEGANConfig, *, encoded_noise: bool = False) -> None:
        """Make the encoder; `encoded_noise`: whether D sees the VAE's features, and not those of normal noise."""
        super().__init__()
        attribute_dim = train.attributes.shape[1]
        inputs = train.features.shape[1] + attribute_dim
        self.weight, self.encoded_noise = config.vae_weight, encoded_noise
        self.encoder = Encoder(inputs, config.gan.hidden_dim, attribute_dim, negative_slope=0.2)
        self.penalty = PenaltyWeight(config.gan.penalty_weight)

    def make(self, game: Game, rows: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Make G's features, from noise of the encoder if it is to be encoded; then its Gaussians are beside them."""
        if not self.encoded_noise:
            return super().make(game, rows, noise)
        attributes = game.train.attributes[game.train.labels[rows]]
        latents = self.encode(game.train.features[rows], attributes)
        return game.generator(attributes, latents.mean + latents.std * noise), *latents

    def encode(self, features: Tensor, attributes: Tensor) -> Gaussians:
        """Map features [B, D] and their attributes [B, A] to Gaussians over the noise."""
        latents: Gaussians = self.encoder(torch.cat([features, attributes], dim=1))
        return latents

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the loss of the VAE, whose latent is in the place of G's noise, and adapt λ for the next step."""
        self.penalty.adapt(game.config.critic_steps)
        if self.encoded_noise:
            decoded, latents = batch.fake, Gaussians(*batch.beside)
        else:
            attributes = game.train.attributes[batch.labels]
            latents = self.encode(batch.real, attributes)
            decoded = game.generator(attributes, reparametrise(latents))
        return {"VAE": self.weight * vae_loss(decoded, batch.real, kl_divergence(latents))}

    def update_critic(
        self, critic: Critic, real: Tensor, fake: Tensor, condition: Tensor, mix: Tensor, weight: float
    ) -> Tensor:
        """Write the gradients of WGAN-GP's loss, whose λ is not `weight` but the adapted one; note the penalty."""
        with torch.no_grad():
            difference = critic(fake, condition).mean() - critic(real, condition).mean()
        weight = self.penalty.weight.item()
        loss = critic_gradients(critic, real, fake, condition, mix, weight)
        self.penalty.total += (loss - difference) / weight
        return loss

    def with_generator(self) -> Iterable[nn.Parameter]:
        """Return the encoder's parameters."""
        return self.encoder.parameters()


def next_penalty_weight(weight: Tensor, penalty: Tensor) -> Tensor:
    """Return the λ of the next step: larger if the mean of (‖v‖ - 1)² was too large, smaller if it was too small.

    The rule is that of the public code.
    """
    return torch.where(penalty > TOO_STEEP, weight * FACTOR, torch.where(penalty < TOO_FLAT, weight / FACTOR, weight))
