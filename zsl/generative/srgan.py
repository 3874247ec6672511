"""SRGAN (Ye et al. 2019): G also sees attributes that are rectified, so that classes lie as their features do.

Only the abstract's words are public to us.  From it are: a network R that rectifies attributes under the guidance of
the visual space, a GAN on them, and a reconstruction.  The two terms of R's loss, their weights, the scale of R(a), the
one reconstruction (of attributes from G's features), networks and steps are our choices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from zsl.common.ranges import NotNegative, Positive, Whole, check_ranges
from zsl.dcrgan.networks import SRN, Regressor
from zsl.dcrgan.wgan import Batch, Game
from zsl.features.class_statistics import class_means
from zsl.features.split import TrainSplit
from zsl.generative.losses import cosines, squared_distance
from zsl.generative.method import AdversarialConfig, both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.wgan import SeenClassification, train_wgan
from zsl.training.log import Log, silent
from zsl.training.loop import Terms, minimise
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class RectifierConfig:
    """The settings of R; every step uses all seen classes."""

    steps: Whole = 500
    lr: Positive = 2e-3
    similarity_weight: NotNegative = 1.0

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class SRGANConfig(AdversarialConfig):
    """The settings of SRGAN."""

    classification_weight: NotNegative = 0.01
    reconstruction_weight: NotNegative = 1.0
    srn: RectifierConfig = field(default_factory=RectifierConfig)


def rectifying_loss(rectified: Tensor, prototypes: Tensor, similarity_weight: float) -> Tensor:
    """Mean of ‖R(a_c) - μ_c‖², plus the weighted mean over pairs of (cos(R(a_c), R(a_k)) - cos(μ_c, μ_k))².

    rectified, prototypes: R(a_c) and μ_c of the seen classes, both [S, D].
    """
    pairs = (cosines(rectified, rectified) - cosines(prototypes, prototypes)).square().mean()
    return squared_distance(rectified, prototypes) + similarity_weight * pairs


def _fit_rectifier(train: TrainSplit, config: RectifierConfig, log: Log) -> SRN:
    """Train R towards the seen classes' mean features, centred and with a mean norm of 1, as attributes are."""
    means = class_means(train.features, train.seen_labels, len(train.seen))
    prototypes = means - means.mean(0)
    prototypes = prototypes / prototypes.norm(dim=1).mean()
    rectifier, seen = SRN(train.attributes.shape[1], means.shape[1]).to(train.device), train.attributes[train.seen]
    optimizer = torch.optim.Adam(rectifier.parameters(), lr=config.lr, fused=True)

    def error(_: int) -> Terms:
        return {"rectifying": rectifying_loss(rectifier(seen), prototypes, config.similarity_weight)}

    minimise("rectifier", config.steps, rectifier, optimizer, error, log, every=100)
    return rectifier.eval()


class _Losses(SeenClassification):
    def __init__(self, train: TrainSplit, config: SRGANConfig, log: Log) -> None:
        super().__init__(train, config.classification_weight, log)
        self.weight_of_attributes = config.reconstruction_weight
        self.regressor = Regressor(train.features.shape[1], config.gan.hidden_dim // 2, train.attributes.shape[1])

    def with_generator(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the regressor, which learns on G's features."""
        return self.regressor.parameters()

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the classification loss and the reconstruction of attributes."""
        loss = squared_distance(self.regressor(batch.fake), game.train.attributes[batch.labels])
        return super().terms(game, batch) | {"reconstruction": self.weight_of_attributes * loss}


@stage
def train_srgan(train: TrainSplit, config: SRGANConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train R, then G on (a, R(a)); unseen attributes are not used."""
    rectifier = _fit_rectifier(train, config.srn, log)
    condition_of = torch.cat([train.attributes, rectifier(train.attributes).detach()], dim=1)
    generator = train_wgan(train, config.gan, lambda *_: _Losses(train, config, log), log, condition_of=condition_of)
    return GeneratorSynthesizer(train, generator, condition_of)


METHODS = both_forms(
    name="SRGAN",
    train=train_srgan,
    config=SRGANConfig(),
    rounds=(each("reconstruction_weight", 0.1, 10.0),),
    citation="Ye, Lyu, Huang, Gong, Wang: SR-GAN: Semantic Rectifying GAN for Zero-Shot Learning, ICME 2019",
)
