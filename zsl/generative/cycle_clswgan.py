"""cycle-CLSWGAN (Felix et al. 2018): f-CLSWGAN whose features lead back to their attributes."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from zsl.common.ranges import NotNegative
from zsl.dcrgan.wgan import Batch, Game
from zsl.features.split import TrainSplit
from zsl.generative.losses import squared_distance
from zsl.generative.method import AdversarialConfig, both_forms
from zsl.generative.regressor import RegressionConfig, fit_regressor
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.wgan import SeenClassification, train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class CycleConfig(AdversarialConfig):
    """The settings of cycle-CLSWGAN; both weights are those of the public code.

    That code's cycle loss is a mean over the dimensions of attributes, where the paper has ‖R(x̃) - a‖², as here.
    That code trains for 285 to 985 epochs with the rates 1e-4 (G) and 1e-3 (D), and the regressor for 40 epochs with
    1e-4.  Numbers of steps and rates are our choices.
    """

    classification_weight: NotNegative = 0.01
    cycle_weight: NotNegative = 0.01
    regression: RegressionConfig = field(default_factory=RegressionConfig)


class _Losses(SeenClassification):
    def __init__(self, train: TrainSplit, config: CycleConfig, log: Log) -> None:
        super().__init__(train, config.classification_weight, log)
        linear = nn.Linear(train.features.shape[1], train.attributes.shape[1])
        self.cycle_weight, self.regressor = config.cycle_weight, fit_regressor(linear, train, config.regression, log)

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the classification loss and the cycle loss ‖R(x̃) - a‖²."""
        cycle = squared_distance(self.regressor(batch.fake), game.train.attributes[batch.labels])
        return super().terms(game, batch) | {"cycle": self.cycle_weight * cycle}


@stage
def train_cycle_clswgan(train: TrainSplit, config: CycleConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train the linear regressor R on real features, then G with its help; unseen attributes are not used."""
    generator = train_wgan(train, config.gan, lambda *_: _Losses(train, config, log), log)
    return GeneratorSynthesizer(train, generator, train.attributes)


METHODS = both_forms(
    name="cycle-CLSWGAN",
    train=train_cycle_clswgan,
    config=CycleConfig(),
    rounds=(each("cycle_weight", 0.1, 1.0, 10.0),),
    citation="Felix, Kumar, Reid, Carneiro: Multi-modal Cycle-consistent Generalized Zero-Shot Learning, ECCV 2018",
)
