"""FREE (Chen et al. 2021): f-VAEGAN-D2 with a refinement of features that centres of classes and attributes guide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from zsl.common.ranges import NotNegative, Positive, Share
from zsl.dcrgan.wgan import Batch, Game
from zsl.features.split import TrainSplit
from zsl.generative.attribute_decoder import attribute_loss
from zsl.generative.f_vaegan import FVAEGANConfig
from zsl.generative.losses import another_class
from zsl.generative.method import both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.vae import Encoder, Gaussians, reparametrise
from zsl.generative.vaegan import SigmoidGenerator, VAEGANLosses
from zsl.generative.wgan import WGANConfig, train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class FREEConfig(FVAEGANConfig):
    """The settings of FREE; margin, balance, both weights and one update of D in a step are the public code's for CUB.

    There the weight of the centre loss is 0.5, and that of the attributes 0.001; as in f-VAEGAN-D2, all weights are
    divided by γ_G = 10 here.  The code compares σ(latent) with attributes between 0 and 1.  Here attributes are
    centred, so the latent itself is compared with them.
    """

    gan: WGANConfig = field(default_factory=lambda: WGANConfig(steps=1350, critic_steps=1))
    margin: Positive = 200.0  # M, in units of squared distances
    balance: Share = 0.8  # w: of the distance from the own centre against that from another one
    centre_weight: NotNegative = 0.05
    attribute_weight: NotNegative = 1e-4


class Refinement(nn.Module):
    """FR: it maps features to hidden units and to latents of the attributes' length, and owns the classes' centres."""

    def __init__(self, train: TrainSplit, hidden_dim: int) -> None:
        super().__init__()
        attribute_dim = train.attributes.shape[1]
        self.encoder = Encoder(train.features.shape[1], hidden_dim, attribute_dim, negative_slope=0.2)
        self.centres = nn.Parameter(torch.randn(len(train.seen), attribute_dim))  # [S, A]

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, D] to the inputs of the classifier, [x; h; σ(mean latent)] [B, D + hidden_dim + A]."""
        hidden = self.encoder.hidden(features)
        return torch.cat([features, hidden, self.encoder.mean(hidden).sigmoid()], dim=1)


def centre_loss(points: Tensor, centres: Tensor, own: Tensor, other: Tensor, margin: float, balance: float) -> Tensor:
    """Mean over the batch of max(0, M + w d(m, c_y) - (1 - w) d(m, c_o)), d the squared distance (Chen et al. 2021).

    points: m [B, A].  centres: [S, A].  own, other: positions of the own class y and of another class o [B].
    """
    # A product with one-hot rows, because the gradient of indexing adds in any order, so that equal seeds would differ.
    of_classes = (one_hot(which, len(centres)).to(centres) @ centres for which in (own, other))
    to_own, to_other = ((points - of_class).square().sum(dim=1) for of_class in of_classes)
    return (margin + balance * to_own - (1 - balance) * to_other).clamp(min=0).mean()


class FREELosses(VAEGANLosses):
    """The losses of f-VAEGAN-D2 and of the refinement.

    On real features, in D's updates, the refinement has both of its losses; on G's features that of the attributes.
    """

    def __init__(self, train: TrainSplit, config: FREEConfig) -> None:
        super().__init__(train, config, encoded_noise=config.encoded_noise)
        self.config = config
        self.refinement = Refinement(train, config.gan.hidden_dim)

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of VAE and refinement."""
        refining = self._of_attributes(game, self.refinement.encoder(batch.fake), batch)
        return super().terms(game, batch) | {"refinement": refining}

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor:
        """Write the gradients of the refinement's losses on real features; the other class is a random one."""
        self.refinement.zero_grad()
        config, latents = self.config, self.refinement.encoder(batch.real)
        other = another_class(batch.targets, len(game.train.seen))
        of_centres = centre_loss(
            latents.mean, self.refinement.centres, batch.targets, other, config.margin, config.balance
        )
        loss = config.centre_weight * of_centres + self._of_attributes(game, latents, batch)
        loss.backward()
        return loss.detach()

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the refinement's parameters, which also learn with G."""
        return self.refinement.parameters()

    def with_generator(self) -> Iterable[nn.Parameter]:
        """Return the parameters of encoder and refinement."""
        return (*super().with_generator(), *self.refinement.parameters())

    def _of_attributes(self, game: Game, latents: Gaussians, batch: Batch) -> Tensor:
        """Compute the weighted loss of latents against the attributes of the batch's classes."""
        attributes = game.train.attributes[batch.labels]
        return self.config.attribute_weight * attribute_loss(reparametrise(latents), attributes)


@stage
def train_free(train: TrainSplit, config: FREEConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train all networks on seen classes; attributes of unseen classes are not used."""
    losses = FREELosses(train, config)
    generator = train_wgan(train, config.gan, lambda *_: losses, log, make_generator=SigmoidGenerator)
    return GeneratorSynthesizer(train, generator, train.attributes, prepare=losses.refinement)


METHODS = both_forms(
    name="FREE",
    train=train_free,
    config=FREEConfig(),
    rounds=(
        each("centre_weight", 0.005, 0.5),
        each("margin", 50.0),
    ),
    citation="Chen, Wang, Xia, Peng, You, Zheng, Shao: FREE: Feature Refinement for Generalized Zero-Shot Learning, "
    "ICCV 2021",
)
