"""GAZSL (Zhu et al. 2018): a critic that also names the class, and G's class means at the real ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.common.ranges import NotNegative
from zsl.dcrgan.gradients import learning
from zsl.dcrgan.networks import Critic
from zsl.dcrgan.wgan import Batch, Extra, Game
from zsl.features.class_statistics import class_means
from zsl.features.split import TrainSplit
from zsl.generative.heads import HeadsConfig
from zsl.generative.losses import centroid_loss, mean_of_classes
from zsl.generative.method import AdversarialConfig, both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.wgan import WGANConfig, train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class GAZSLConfig(AdversarialConfig):
    """The settings of GAZSL; weights, betas, neighbours and their metric are the public code's.

    That code takes 3,000 steps of batches of 1,024 with the rate 1e-4, and noise of length 100.  Here the noise is as
    long as the attributes, and there are fewer and smaller batches with a higher rate.
    """

    classification_weight: NotNegative = 1.0
    centroid_weight: NotNegative = 5.0
    weight_penalty: NotNegative = 1e-3  # of the squares of the weights of G's layers
    gan: WGANConfig = field(
        default_factory=lambda: WGANConfig(critic_sees="features", batch_size=128, betas=(0.5, 0.9))
    )
    heads: HeadsConfig = field(
        default_factory=lambda: HeadsConfig(
            images_per_unseen_class=60, neighbours=20, metric="cosine", neighbours_of_seen="synthetic"
        )
    )


class _Losses(Extra):
    def __init__(self, train: TrainSplit, config: GAZSLConfig, critic: Critic) -> None:
        super().__init__()
        self.config = config
        self.head = nn.Linear(critic.hidden.out_features, len(train.seen))
        self.prototypes = class_means(train.features, train.seen_labels, len(train.seen))

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the class head on the critic's hidden layer."""
        return self.head.parameters()

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor:
        """Add the gradients of the head's cross entropy on real features and on G's to those of the hidden layer."""
        self.head.zero_grad()
        with learning(*game.critic.hidden.parameters()):
            loss = self._classification(game, batch.real, batch) + self._classification(game, batch.fake, batch)
            loss.backward()
        return loss

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the head's loss, of which real features are the other half, the visual pivots', and G's weights'."""
        means, classes = mean_of_classes(batch.fake, batch.labels)
        pivots = self.prototypes[torch.searchsorted(game.train.seen, classes)]
        return {
            "classification": 0.5 * self._classification(game, batch.fake, batch),
            "pivots": self.config.centroid_weight * centroid_loss(means, pivots),
            "weights": self.config.weight_penalty * _squared_weights(game.generator),
        }

    def _classification(self, game: Game, features: Tensor, batch: Batch) -> Tensor:
        hidden = game.critic.hidden_units(features, game.critic_condition_of[batch.labels])
        return self.config.classification_weight * cross_entropy(self.head(hidden), batch.targets)


def _squared_weights(generator: nn.Module) -> Tensor:
    """Sum the squares of the weights of all linear layers."""
    weights = [layer.weight for layer in generator.modules() if isinstance(layer, nn.Linear)]
    return torch.stack([weight.square().sum() for weight in weights]).sum()


@stage
def train_gazsl(train: TrainSplit, config: GAZSLConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train G; unseen attributes are not used."""
    generator = train_wgan(train, config.gan, lambda _, critic: _Losses(train, config, critic), log)
    return GeneratorSynthesizer(train, generator, train.attributes)


METHODS = both_forms(
    name="GAZSL",
    train=train_gazsl,
    config=GAZSLConfig(),
    rounds=(each("centroid_weight", 1.0, 20.0),),
    citation="Zhu, Elhoseiny, Liu, Peng, Elgammal: A Generative Adversarial Approach for ZSL, CVPR 2018",
)
