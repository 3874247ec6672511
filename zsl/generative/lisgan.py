"""LisGAN (Li et al. 2019): features lie near a soul of their class, that is a centre of one of a few clusters.

The paper has a second classifier, which learns from the test images that the first one is sure of.  It is left out: no
model here learns from test rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zsl.common.ranges import Count, NotNegative
from zsl.dcrgan.wgan import Batch, Game
from zsl.features.class_statistics import kmeans
from zsl.features.split import TrainSplit
from zsl.generative.method import AdversarialConfig, both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.wgan import SeenClassification, train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class LisGANConfig(AdversarialConfig):
    """The settings of LisGAN; weights and souls are the public code's for CUB."""

    classification_weight: NotNegative = 0.01
    souls: Count = 3  # of each class
    soul_weight: NotNegative = 0.001  # of the distance of each feature to its nearest soul
    centre_weight: NotNegative = 0.01  # of the distance of each class mean to its nearest soul
    images_per_mean: Count = 5  # that G makes of each seen class in a step, for the class means


def soul_loss(features: Tensor, souls: Tensor) -> Tensor:
    """Mean of ‖x̃ - nearest soul‖² (Li et al. 2019).  features: [B, D].  souls: of the class of each one [B, k, D]."""
    return (features[:, None] - souls).square().sum(dim=2).amin(dim=1).mean()


def class_souls(train: TrainSplit, count: int) -> Tensor:
    """Return the souls of each seen class [S, count, D]: k-means centres of its trainval features."""
    return torch.stack([kmeans(train.features[train.labels == label], count) for label in train.seen])


class _Losses(SeenClassification):
    def __init__(self, train: TrainSplit, config: LisGANConfig, log: Log) -> None:
        super().__init__(train, config.classification_weight, log)
        self.config, self.souls = config, class_souls(train, config.souls)

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the classification loss and both losses of the souls."""
        count = self.config.images_per_mean
        features, _ = game.generate(game.train.seen, count)
        means = features.unflatten(0, (-1, count)).mean(dim=1)
        return super().terms(game, batch) | {
            "souls": self.config.soul_weight * soul_loss(batch.fake, self.souls[batch.targets]),
            "centres": self.config.centre_weight * soul_loss(means, self.souls),
        }


@stage
def train_lisgan(train: TrainSplit, config: LisGANConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train G; unseen attributes are not used."""
    generator = train_wgan(train, config.gan, lambda *_: _Losses(train, config, log), log)
    return GeneratorSynthesizer(train, generator, train.attributes)


METHODS = both_forms(
    name="LisGAN",
    train=train_lisgan,
    config=LisGANConfig(),
    rounds=(
        tuple({"soul_weight": 0.1 * weight, "centre_weight": weight} for weight in (0.1, 1.0)),
        each("souls", 1, 5),
    ),
    citation="Li, Jing, Lu, Ding, Zhu, Huang: Leveraging the Invariant Side of Generative ZSL, CVPR 2019",
)
