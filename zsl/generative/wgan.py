"""The conditional WGAN-GP of the methods here; its loop is DCR-GAN's (`zsl.dcrgan.wgan`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.dcrgan.networks import Critic, Generator
from zsl.dcrgan.wgan import Batch, Extra, Game, GameConfig, fit_seen_classifier, start_generator
from zsl.features.split import TrainSplit
from zsl.training.log import Log

MakeExtra = Callable[[Generator, Critic], Extra]


@dataclass(frozen=True, kw_only=True)
class WGANConfig(GameConfig):
    """The settings of the game.  The steps suit some thousand images; papers have epochs of many more."""

    critic_sees: Literal["features", "attributes"] = "attributes"  # D(x), or D(x, a)


def train_wgan(
    train: TrainSplit,
    config: WGANConfig,
    make_extra: MakeExtra,
    log: Log,
    *,
    condition_of: Tensor | None = None,
    make_generator: Callable[..., Generator] = Generator,
) -> Generator:
    """Train G against D with a method's losses, and return G after the last step.

    train: in the form that the networks take.  make_extra: makes the losses for G and D of the first step.
    condition_of: G's input beside noise, for each class [C, K]; None: the attributes.  make_generator:
    makes G from the sizes of its layers.
    """
    condition_of = train.attributes if condition_of is None else condition_of
    seen_by_critic = train.attributes if config.critic_sees == "attributes" else train.attributes[:, :0]
    generator = start_generator(train, condition_of, config, make_generator)
    critic = Critic(train.features.shape[1], seen_by_critic.shape[1], config.hidden_dim).to(train.device)
    critic.requires_grad_(False)
    extra = make_extra(generator, critic).to(train.device)
    Game(
        train=train, condition_of=condition_of, critic_condition_of=seen_by_critic, generator=generator, critic=critic,
        extra=extra, config=config, update=extra.update_critic,
    ).play("WGAN", log)  # fmt: skip
    return generator.eval()


class SeenClassification(Extra):
    """The loss of f-CLSWGAN: the cross entropy of a softmax classifier that was trained on real features, then frozen.

    A method with more losses derives from this class.
    """

    def __init__(self, train: TrainSplit, weight: float, log: Log) -> None:
        """Train the classifier; `weight` is that of the loss, and with 0 there is no classifier."""
        super().__init__()
        self.weight = weight
        self.classifier = nn.Linear(train.features.shape[1], len(train.seen)).to(train.device)
        if weight:
            fit_seen_classifier(self.classifier, train, log)

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the weighted cross entropy of G's features."""
        if not self.weight:
            return {}
        return {"classification": self.weight * cross_entropy(self.classifier(batch.fake), batch.targets)}
