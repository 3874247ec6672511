"""DASCN (Ni et al. 2019): a primal GAN from attributes to features, and a dual GAN back from features to attributes.

No code of it is public, and its equations are known to us in words alone: two WGAN-GPs, a classification loss, class
means of G's features at the real ones, and features that stay as they are when they go to attributes and back.  That
the dual critic judges attributes beside their feature, the networks and all weights are our choices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zsl.common.ranges import NotNegative
from zsl.dcrgan.gradients import critic_gradients
from zsl.dcrgan.networks import Critic, Regressor
from zsl.dcrgan.wgan import Batch, Game
from zsl.features.class_statistics import class_means
from zsl.features.split import TrainSplit
from zsl.generative.losses import mean_of_classes, squared_distance
from zsl.generative.method import AdversarialConfig, both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.wgan import SeenClassification, train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class DASCNConfig(AdversarialConfig):
    """The settings of DASCN."""

    classification_weight: NotNegative = 0.01
    centroid_weight: NotNegative = 0.1
    dual_weight: NotNegative = 0.1  # of the dual critic's score
    consistency_weight: NotNegative = 0.1


class _Losses(SeenClassification):
    def __init__(self, train: TrainSplit, config: DASCNConfig, log: Log) -> None:
        super().__init__(train, config.classification_weight, log)
        feature_dim, attribute_dim, hidden_dim = (
            train.features.shape[1],
            train.attributes.shape[1],
            config.gan.hidden_dim,
        )
        self.config = config
        self.dual = Regressor(feature_dim, hidden_dim, attribute_dim)  # features to attributes
        self.dual_critic = Critic(attribute_dim, feature_dim, hidden_dim).requires_grad_(False)
        self.prototypes = class_means(train.features, train.seen_labels, len(train.seen))

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the dual critic."""
        return self.dual_critic.parameters()

    def with_generator(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the dual generator."""
        return self.dual.parameters()

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor:
        """Write the gradients of the dual critic: true attributes of a real feature against the dual generator's."""
        with torch.no_grad():
            fake = self.dual(batch.real)
        mix = torch.rand(len(fake), 1, device=fake.device)
        real = game.train.attributes[batch.labels]
        return critic_gradients(self.dual_critic, real, fake, batch.real, mix, game.config.penalty_weight)

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of both directions."""
        config = self.config
        of_real, of_fake = self.dual(batch.real), self.dual(batch.fake)
        dual = -(self.dual_critic(of_real, batch.real).mean() + self.dual_critic(of_fake, batch.fake).mean())
        means, classes = mean_of_classes(batch.fake, batch.targets)
        again = game.generator(of_fake, game.noise(len(of_fake)))
        return super().terms(game, batch) | {
            "dual critic": config.dual_weight * dual,
            "centroid": config.centroid_weight * squared_distance(means, self.prototypes[classes]),
            "consistency": config.consistency_weight * squared_distance(again, batch.fake),
        }


@stage
def train_dascn(train: TrainSplit, config: DASCNConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train both GANs at once; unseen attributes are not used."""
    generator = train_wgan(train, config.gan, lambda *_: _Losses(train, config, log), log)
    return GeneratorSynthesizer(train, generator, train.attributes)


METHODS = both_forms(
    name="DASCN",
    train=train_dascn,
    config=DASCNConfig(),
    rounds=(
        each("centroid_weight", 0.01, 1.0),
        each("consistency_weight", 0.0, 1.0),
    ),
    citation="Ni, Zhang, Xie: Dual Adversarial Semantics-Consistent Network for Generalized Zero-Shot Learning, 2019",
)
