"""ZeroDiff without the contrastive table (Ye et al. 2025): f-VAEGAN-D2 whose G denoises features that diffusion noised.

The whole method has a second table, of features fine-tuned with a contrastive loss.  A generator of its own makes them
for unseen classes, G takes them in, and a third critic judges them beside G's features.  Here there is one table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from zsl.common.ranges import Count, NotNegative
from zsl.dcrgan.gradients import learning
from zsl.dcrgan.networks import Critic
from zsl.dcrgan.wgan import Batch, Game
from zsl.features.split import TrainSplit
from zsl.generative.attribute_decoder import AttributeDecoder, TransformedFeatures, decoding_loss
from zsl.generative.diffusion import DenoisingGenerator
from zsl.generative.losses import mutual_loss
from zsl.generative.method import both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.vae import Gaussians, kl_divergence
from zsl.generative.vaegan import VAEGANConfig, VAEGANLosses, vae_loss
from zsl.generative.wgan import train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class ZeroDiffConfig(VAEGANConfig):
    """The settings of ZeroDiff on one table; weights and T are the public code's for AWA2, divided by its γ_ADV = 10.

    The code has 4,096 hidden units, 300 epochs, and a rate of 1e-4 for the decoder, which has D's rate here.
    """

    diffusion_steps: Count = 4  # T
    decoder_weight: NotNegative = 0.1
    mutual_weight: NotNegative = 0.5
    mutual_power: NotNegative = 2.5  # of √ᾱ, the share of the feature in a noised one
    progressive: bool = True  # whether unseen classes' features are denoised step by step, or else at once


class ZeroDiffLosses(VAEGANLosses):
    """The losses of f-VAEGAN-D2, a second critic that judges steps of the diffusion, and a decoder to attributes.

    The second critic D_t judges x_t beside x_{t+1}, a and t.  Its fake x_t is a draw of the posterior with G's x_0.
    As in the public code, both critics have one λ, and it follows the sum of their penalties.
    """

    def __init__(self, train: TrainSplit, config: ZeroDiffConfig) -> None:
        super().__init__(train, config)
        feature_dim, attribute_dim = train.features.shape[1], train.attributes.shape[1]
        hidden_dim = config.gan.hidden_dim
        self.config = config
        self.step_critic = Critic(feature_dim, feature_dim + attribute_dim + config.diffusion_steps, hidden_dim)
        self.decoder = AttributeDecoder(feature_dim, hidden_dim, attribute_dim)
        self.step_critic.requires_grad_(False)
        self.decoder.requires_grad_(False)

    def make(self, game: Game, rows: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Noise the images by steps at random and denoise them; z is the encoder's.

        Returns G's x_0, x_{t+1}, t, and mean and logarithm of the variance of z.
        """
        generator = _denoising(game)
        real, attributes = game.train.features[rows], game.train.attributes[game.train.labels[rows]]
        of_latents, of_features = generator.parts(noise)
        steps = torch.randint(self.config.diffusion_steps, (len(rows),), device=rows.device)
        noised = generator.diffusion.noised(real, steps, of_features)
        latents = self.encode(real, attributes)
        fake = generator.denoise(attributes, latents.mean + latents.std * of_latents, noised, steps)
        return fake, noised, steps, *latents

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor:
        """Write the gradients of D_t and of the decoder on real features, and add those of the mutual loss."""
        noised, steps, *_ = batch.beside
        diffusion, condition = _denoising(game).diffusion, self._condition(game, batch)
        real, fake = (diffusion.step_back(features, noised, steps) for features in (batch.real, batch.fake))
        mix = torch.rand(len(real), 1, device=real.device)
        loss = self.update_critic(self.step_critic, real, fake, condition, mix, game.config.penalty_weight)
        self.decoder.zero_grad()
        # Constants of critics cancel out of differences, so they do not learn.
        critics = (game.critic, self.step_critic)
        learners = [p for critic in critics for p in critic.parameters() if p is not critic.out.bias]
        with learning(*learners, *self.decoder.parameters()):
            differences = (
                _difference(game.critic, batch.real, batch.fake, game.critic_condition_of[batch.labels]),
                _difference(self.step_critic, real, fake, condition),
            )
            weights = self.config.mutual_weight * diffusion.kept[steps] ** (0.5 * self.config.mutual_power)
            attributes = game.train.attributes[batch.labels]
            added = mutual_loss(*differences, weights) + decoding_loss(self.decoder, batch.real, attributes)
            added.backward()
        return loss + added.detach()

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute D_t's term and the losses of VAE and decoder on G's features, and adapt λ for the next step."""
        self.penalty.adapt(game.config.critic_steps)
        noised, steps, *latents = batch.beside
        attributes = game.train.attributes[batch.labels]
        before = _denoising(game).diffusion.step_back(batch.fake, noised, steps)
        return {
            "step critic": -self.step_critic(before, self._condition(game, batch)).mean(),
            "VAE": self.weight * vae_loss(batch.fake, batch.real, kl_divergence(Gaussians(*latents))),
            "attributes": self.config.decoder_weight * decoding_loss(self.decoder, batch.fake, attributes),
        }

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the parameters of D_t and of the decoder."""
        return (*self.step_critic.parameters(), *self.decoder.parameters())

    def _condition(self, game: Game, batch: Batch) -> Tensor:
        """Return what D_t sees beside x_t [B, D + A + T]."""
        noised, steps, *_ = batch.beside
        return torch.cat([noised, game.train.attributes[batch.labels], _denoising(game).encoded(steps)], dim=1)


def _difference(critic: Critic, real: Tensor, fake: Tensor, condition: Tensor) -> Tensor:
    """Return the scores of real minus those of generated features [B]."""
    of_real, of_fake = critic(torch.cat([real, fake]), condition.repeat(2, 1)).chunk(2)  # one pass is faster than two
    return of_real - of_fake


def _denoising(game: Game) -> DenoisingGenerator:
    assert isinstance(game.generator, DenoisingGenerator)
    return game.generator


@stage
def train_zerodiff(train: TrainSplit, config: ZeroDiffConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train all networks on seen classes; attributes of unseen classes are not used."""
    losses = ZeroDiffLosses(train, config)
    make_generator = partial(DenoisingGenerator, steps=config.diffusion_steps, progressive=config.progressive)
    generator = train_wgan(train, config.gan, lambda *_: losses, log, make_generator=make_generator)
    return GeneratorSynthesizer(train, generator, train.attributes, prepare=TransformedFeatures(losses.decoder))


METHODS = both_forms(
    name="ZeroDiff-lite",
    train=train_zerodiff,
    config=ZeroDiffConfig(),
    rounds=(
        each("mutual_weight", 0.0, 5.0),
        each("vae_weight", 0.01, 1.0),
        each("progressive", False),
    ),
    citation="Ye, Gowda, Chen, Huang, Xu, Khan, Jin, Huang, Jin: ZeroDiff: Solidified Visual-Semantic Correlation in "
    "Zero-Shot Learning, ICLR 2025; without the contrastive table",
)
