"""TF-VAEGAN (Narayan et al. 2020): f-VAEGAN-D2 with a decoder to attributes, whose hidden units G gets as feedback."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from zsl.common.ranges import NotNegative
from zsl.dcrgan.networks import Critic, Generator
from zsl.dcrgan.wgan import Batch, Game
from zsl.features.split import TrainSplit
from zsl.generative.attribute_decoder import AttributeDecoder, TransformedFeatures, decoding_loss
from zsl.generative.f_vaegan import FVAEGANConfig
from zsl.generative.method import both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.vaegan import SigmoidGenerator, VAEGANLosses
from zsl.generative.wgan import train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class TFVAEGANConfig(FVAEGANConfig):
    """The settings of TF-VAEGAN; strengths and weight are those of the public code for CUB.

    `decoder_weight` is divided by γ_G, as `vae_weight`.  The code updates D and G without and with feedback in turn;
    here every other image of a batch has feedback.  It has a rate of 1e-5 for F; here F has G's rate.
    """

    decoder_weight: NotNegative = 0.001
    feedback_in_training: NotNegative = 1.0  # a1
    feedback_in_synthesis: NotNegative = 1.0  # a2


class FeedbackGenerator(SigmoidGenerator):
    """G, whose hidden units get F(h) in a second pass; h are the decoder's hidden units for the first pass's features.

    In training every other row has feedback.
    """

    def __init__(
        self, attribute_dim: int, noise_dim: int, hidden_dim: int, feature_dim: int, *, shortcut: bool,
        in_training: float, in_synthesis: float,
    ) -> None:  # fmt: skip
        super().__init__(attribute_dim, noise_dim, hidden_dim, feature_dim, shortcut=shortcut)
        self.in_training, self.in_synthesis = in_training, in_synthesis
        self.decoder = AttributeDecoder(feature_dim, hidden_dim, attribute_dim)
        self.feedback = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim), nn.LeakyReLU(0.2), nn.Linear(hidden_dim, hidden_dim), nn.LeakyReLU(0.2)
        )

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Map attributes [B, A] and noise [B, Z] to features [B, D]."""
        hidden = self.layers[:-1](torch.cat([condition, noise], dim=1))
        # The decoder learns from its own loss alone, so its hidden units are a constant here.
        feedback = self.feedback(self.decoder.hidden(self.decode(hidden, condition)).detach())
        return self.decode(hidden + self._strength(hidden) * feedback, condition)

    def _strength(self, hidden: Tensor) -> Tensor:
        """Return the weight of each row's feedback [B, 1]."""
        rows = torch.arange(len(hidden), device=hidden.device)[:, None]
        return self.in_training * (rows % 2) if self.training else self.in_synthesis * torch.ones_like(rows)


class TFVAEGANLosses(VAEGANLosses):
    """The losses of f-VAEGAN-D2, and the decoder's on real features (in D's updates) and on G's features."""

    def __init__(self, train: TrainSplit, config: TFVAEGANConfig, generator: FeedbackGenerator) -> None:
        super().__init__(train, config, encoded_noise=config.encoded_noise)
        self.decoder_weight = config.decoder_weight
        self.shared = (generator.decoder,)  # in a tuple, because the decoder's owner is G

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of VAE and decoder."""
        attributes = game.train.attributes[batch.labels]
        return super().terms(game, batch) | {
            "attributes": self.decoder_weight * decoding_loss(*self.shared, batch.fake, attributes)
        }

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor:
        """Write the gradients of the decoder's loss on real features."""
        (decoder,) = self.shared
        decoder.zero_grad()
        loss = decoding_loss(decoder, batch.real, game.train.attributes[batch.labels])
        loss.backward()
        return loss.detach()

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the decoder's parameters, which also learn with G."""
        (decoder,) = self.shared
        return decoder.parameters()


@stage
def train_tf_vaegan(train: TrainSplit, config: TFVAEGANConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train all networks on seen classes; attributes of unseen classes are not used."""
    make_generator = partial(
        FeedbackGenerator, in_training=config.feedback_in_training, in_synthesis=config.feedback_in_synthesis
    )

    def make_losses(generator: Generator, _: Critic) -> TFVAEGANLosses:
        assert isinstance(generator, FeedbackGenerator)
        return TFVAEGANLosses(train, config, generator)

    generator = train_wgan(train, config.gan, make_losses, log, make_generator=make_generator)
    assert isinstance(generator, FeedbackGenerator)
    return GeneratorSynthesizer(train, generator, train.attributes, prepare=TransformedFeatures(generator.decoder))


METHODS = both_forms(
    name="TF-VAEGAN",
    train=train_tf_vaegan,
    config=TFVAEGANConfig(),
    rounds=(
        each("decoder_weight", 0.01, 0.1),
        each("feedback_in_synthesis", 0.1),
    ),
    citation="Narayan, Gupta, Khan, Snoek, Shao: Latent Embedding Feedback and Discriminative Features for Zero-Shot "
    "Classification, ECCV 2020",
)
