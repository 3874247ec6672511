"""AFC-GAN (Li et al. 2019): features lead back to attributes, and are on no side of the boundary of seen and unseen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from zsl.common.ranges import Count, NotNegative
from zsl.dcrgan.networks import Regressor
from zsl.dcrgan.wgan import Batch, Game
from zsl.features.split import TrainSplit
from zsl.generative.heads import SemanticHeadsConfig
from zsl.generative.method import AdversarialConfig, both_forms
from zsl.generative.regressor import RegressionConfig, fit_regressor
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.wgan import SeenClassification, train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class AFCGANConfig(AdversarialConfig):
    """The settings of AFC-GAN; weights and images of a step are the public code's for CUB.

    That code weighs the boundary loss with uniform random numbers in the place of the paper's 1/2; here it is 1/2.
    """

    classification_weight: NotNegative = 0.01
    cycle_weight: NotNegative = 1.0
    regressor_dim: Count = 512  # hidden units of S
    unseen: bool = True  # whether G is trained on attributes of unseen classes, too; False: the inductive form
    unseen_cycle_weight: NotNegative = 1.0
    boundary_weight: NotNegative = 0.01
    unseen_images: Count = 5  # generated in a step for each unseen class
    regression: RegressionConfig = field(default_factory=RegressionConfig)
    heads: SemanticHeadsConfig = field(default_factory=SemanticHeadsConfig)


def boundary_loss(logits: Tensor) -> Tensor:
    """Cross entropy of p(seen), p(unseen) [B, 2 logits] with 1/2, 1/2; least where the domain cannot be told."""
    return -logits.log_softmax(dim=1).mean()


class _Losses(SeenClassification):
    def __init__(self, train: TrainSplit, regressor: nn.Module, config: AFCGANConfig, log: Log) -> None:
        super().__init__(train, config.classification_weight, log)
        self.config, self.regressor = config, regressor
        self.domain = nn.Linear(train.features.shape[1], 2)  # tells real features from G's of unseen classes

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the classifier of the domain."""
        return self.domain.parameters() if self.config.unseen else ()

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor | None:
        """Write the gradients of the domain's cross entropy."""
        if not self.config.unseen:
            return None
        with torch.no_grad():
            fake, _ = game.generate(game.train.unseen, self.config.unseen_images)
        self.domain.zero_grad()
        loss = sum(
            cross_entropy(self.domain(features), torch.full((len(features),), domain, device=features.device))
            for domain, features in enumerate((batch.real, fake))
        )
        assert isinstance(loss, Tensor)
        loss.backward()
        return loss

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of seen classes and, if it is to be, those of unseen classes."""
        config, attributes = self.config, game.train.attributes
        cycle = mse_loss(self.regressor(batch.fake), attributes[batch.labels])
        terms = super().terms(game, batch) | {"cycle": config.cycle_weight * cycle}
        if config.unseen:
            fake, labels = game.generate(game.train.unseen, config.unseen_images)
            unseen_cycle = mse_loss(self.regressor(fake), attributes[labels])
            terms["unseen cycle"] = config.unseen_cycle_weight * unseen_cycle
            terms["boundary"] = config.boundary_weight * boundary_loss(self.domain(fake))
        return terms


@stage
def train_afcgan(train: TrainSplit, config: AFCGANConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train S on real features, then G; the attributes of unseen classes are used unless `config.unseen` is False."""
    network = Regressor(train.features.shape[1], config.regressor_dim, train.attributes.shape[1])
    regressor = fit_regressor(network, train, config.regression, log)
    generator = train_wgan(train, config.gan, lambda *_: _Losses(train, regressor, config, log), log)
    return GeneratorSynthesizer(train, generator, train.attributes, semantic=regressor)


METHODS = both_forms(
    name="AFC-GAN",
    train=train_afcgan,
    config=AFCGANConfig(),
    rounds=(
        tuple({"cycle_weight": weight, "unseen_cycle_weight": weight} for weight in (0.1, 10.0)),
        each("boundary_weight", 0.001, 0.1),
    ),
    citation="Li, Jing, Lu, Zhu, Yang, Huang: Alleviating Feature Confusion for Generative Zero-shot Learning, MM 2019",
    transductive=lambda config: config.unseen,
)
