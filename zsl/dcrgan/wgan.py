"""The loop of a conditional WGAN-GP: the game of a generator against a critic, in DCR-GAN and in other methods.

A method adds its losses as an `Extra`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam

from zsl.common.profile import span
from zsl.common.ranges import Count, Decay, NotNegative, Positive, Whole, check_ranges
from zsl.dcrgan.gradients import critic_gradients, gradient_memory
from zsl.dcrgan.networks import Critic, Generator
from zsl.features.class_statistics import class_means
from zsl.features.split import TrainSplit
from zsl.training.log import Log, Watch


@dataclass(frozen=True, kw_only=True)
class GameConfig:
    """The settings of the loop; one step is `critic_steps` updates of the critic and one update of the generator."""

    hidden_dim: Count = 1024
    steps: Whole = 450
    batch_size: Count = 64
    critic_steps: Count = 5
    penalty_weight: NotNegative = 10.0  # λ
    shortcut_ridge: Positive | None = None  # of the regression where G's linear shortcut starts; None: no shortcut
    lr_critic: Positive = 5e-4
    lr_generator: Positive = 5e-4
    betas: tuple[Decay, Decay] = (0.5, 0.999)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """A batch of trainval images, and features that G made for their classes."""

    real: Tensor  # [B, D]
    fake: Tensor  # [B, D]
    labels: Tensor  # [B] class ids
    targets: Tensor  # [B] positions of the labels in `seen`
    beside: tuple[Tensor, ...] = ()  # what else the method made for each image, see `Extra.make`


class Extra(nn.Module):
    """What a method adds to the game.  This class adds nothing: the game is then a conditional WGAN-GP.

    The module's children are the networks that learn beside G and D; checkpoints keep them by name.
    """

    def make(self, game: Game, rows: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Make G's features for the images of these rows [B, D], and what the method needs beside them for each image.

        rows: positions of trainval features [B].  noise: [B, Z].
        """
        return (game.generator(game.condition_of[game.train.labels[rows]], noise),)

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the method's terms of G's loss, by name."""
        return {}

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor | None:
        """Write the gradients of the method's terms of D's loss to `.grad`, and return their sum; None: there are none.

        The gradients of WGAN-GP are in the `.grad` of D's parameters already.  Those of the learners beside D are old.
        """
        return None

    def update_critic(
        self, critic: Critic, real: Tensor, fake: Tensor, condition: Tensor, mix: Tensor, weight: float
    ) -> Tensor:
        """Write the gradients of WGAN-GP's loss to D's `.grad`, and return the loss, as `critic_gradients`."""
        return critic_gradients(critic, real, fake, condition, mix, weight)

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the parameters that learn in D's updates."""
        return ()

    def with_generator(self) -> Iterable[nn.Parameter]:
        """Return the parameters that learn in G's updates."""
        return ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Game:
    """The networks of the game of G against D, and their data."""

    train: TrainSplit
    condition_of: Tensor  # G's input beside noise, for each class [C, K]
    critic_condition_of: Tensor  # D's input beside a feature, for each class; [C, 0]: D sees the feature alone
    generator: Generator
    critic: Critic
    extra: Extra
    config: GameConfig
    update: Callable[..., Tensor] = critic_gradients  # writes the gradients of D

    def play(self, name: str, log: Log) -> None:
        """Train all networks; `name` is that of the stage in the log."""
        critic_optimizer, generator_optimizer = self.optimizers()
        watch = Watch(log, name, steps=self.config.steps, every=20, device=self.train.device)
        state = {
            "generator": self.generator,
            "critic": self.critic,
            **dict(self.extra.named_children()),
            "watch": watch,
        }
        optimizers = {"generator": generator_optimizer, "critic": critic_optimizer}
        with gradient_memory(self.generator, self.extra):
            for step in log.steps(name, self.config.steps, state, optimizers):
                with span("critic"):
                    critic_loss = self.update_critic(critic_optimizer)
                with span("generator"):
                    terms = self.generator_terms()
                    generator_optimizer.zero_grad()
                    reduce(torch.add, terms.values()).backward()
                    generator_optimizer.step()
                watch(step, {"critic loss": critic_loss} | terms)

    def optimizers(self) -> tuple[Adam, Adam]:
        """Make D's optimizer and G's optimizer, each with the learners beside it."""
        config = self.config
        critic_learners = [*self.critic.parameters(), *self.extra.with_critic()]
        generator_learners = [*self.generator.parameters(), *self.extra.with_generator()]
        return (
            Adam(critic_learners, lr=config.lr_critic, betas=config.betas, fused=True),
            Adam(generator_learners, lr=config.lr_generator, betas=config.betas, fused=True),
        )

    @cached_property
    def seen_labels(self) -> Tensor:
        """The labels of all trainval rows as positions in `train.seen` [N]."""
        return self.train.seen_labels

    def draw(self) -> tuple[Tensor, Tensor]:
        """Draw the positions of a batch of trainval features [B], and noise [B, Z]."""
        size, device = self.config.batch_size, self.train.device
        return torch.randint(len(self.train.features), (size,), device=device), self.noise(size)

    def noise(self, count: int) -> Tensor:
        """Draw noise [count, Z]."""
        return torch.randn(count, self.generator.noise_dim, device=self.train.device)

    def batch(self, rows: Tensor, fake: Tensor, *beside: Tensor) -> Batch:
        """Return the batch of these rows [B], with features of G for them [B, D] and what the method made beside."""
        train, labels, targets = self.train, self.train.labels[rows], self.seen_labels[rows]
        return Batch(real=train.features[rows], fake=fake, labels=labels, targets=targets, beside=beside)

    def update_critic(self, optimizer: Adam) -> Tensor:
        """Do all updates of D of one step, and return the loss of the last update."""
        config, train = self.config, self.train
        # G is fixed while D learns, so it makes the features for all of D's updates at once.
        with span("sampling"):
            draws = [
                (*self.draw(), torch.rand(config.batch_size, 1, device=train.device))
                for _ in range(config.critic_steps)
            ]
            rows_of, noises, mixes = (torch.stack(values) for values in zip(*draws, strict=True))
        with torch.no_grad():
            made = self.extra.make(self, rows_of.flatten(), noises.flatten(0, 1))
        parts = (part.split(config.batch_size) for part in made)
        for rows, mix, *of_rows in zip(rows_of, mixes, *parts, strict=True):
            with span("sampling"):
                batch = self.batch(rows, *of_rows)
                condition = self.critic_condition_of[batch.labels]
            loss = self.update(self.critic, batch.real, batch.fake, condition, mix, config.penalty_weight)
            of_method = self.extra.critic_gradients(self, batch)
            loss = loss if of_method is None else loss + of_method
            optimizer.step()
        return loss

    def generator_terms(self) -> dict[str, Tensor]:
        """Compute the terms of G's loss on a new batch."""
        with span("sampling"):
            rows, noise = self.draw()
        batch = self.batch(rows, *self.extra.make(self, rows, noise))
        score = self.critic(batch.fake, self.critic_condition_of[batch.labels])
        return {"critic": -score.mean()} | self.extra.terms(self, batch)

    def generate(self, classes: Tensor, per_class: int) -> tuple[Tensor, Tensor]:
        """Generate `per_class` features of each of `classes` [n, D], and return their labels [n], too."""
        labels = classes.repeat_interleave(per_class)
        return self.generator(self.condition_of[labels], self.noise(len(labels))), labels


class GeneratorSettings(Protocol):
    """The settings of a generator; a `GameConfig` has them."""

    @property
    def hidden_dim(self) -> int:
        """The number of hidden units."""

    @property
    def shortcut_ridge(self) -> float | None:
        """The ridge of the regression where the shortcut starts; None: there is no shortcut."""


def start_generator(
    train: TrainSplit, condition_of: Tensor, config: GeneratorSettings, make: Callable[..., Generator] = Generator
) -> Generator:
    """Make G for conditions [C, K] by `make`; its noise is as long as the attributes.

    With `shortcut_ridge`, its shortcut starts at the ridge regression of the seen classes' mean features.
    """
    sizes = condition_of.shape[1], train.attributes.shape[1], config.hidden_dim, train.features.shape[1]
    generator = make(*sizes, shortcut=config.shortcut_ridge is not None).to(train.device)
    if config.shortcut_ridge is not None:
        _start_from_class_means(generator, train, condition_of, config.shortcut_ridge)
    return generator


@torch.no_grad()
def _start_from_class_means(generator: Generator, train: TrainSplit, condition_of: Tensor, ridge: float) -> None:
    """Set G's shortcut to the ridge regression of the seen classes' mean features [S, D] on their conditions [S, K]."""
    conditions = condition_of[train.seen]
    means = generator.before_activation(class_means(train.features, train.seen_labels, len(train.seen)))
    centre = conditions.mean(0)
    left = (conditions - centre).T @ (conditions - centre)
    left += ridge * torch.eye(len(left), device=left.device)
    weight = torch.linalg.solve(left, (conditions - centre).T @ (means - means.mean(0)))  # [K, D]
    assert generator.shortcut is not None
    generator.shortcut.weight.copy_(weight.T)
    generator.shortcut.bias.copy_(means.mean(0) - centre @ weight)


def fit_seen_classifier(classifier: nn.Linear, train: TrainSplit, log: Log, *, steps: int = 100) -> None:
    """Train the softmax classifier of the seen classes on all real features at once, then freeze it, as f-CLSWGAN."""
    optimizer = Adam(classifier.parameters(), lr=1e-2, fused=True)
    labels, name = train.seen_labels, "classifier"
    watch = Watch(log, name, steps=steps, every=20, device=train.device)
    for step in log.steps(name, steps, {"classifier": classifier, "watch": watch}, {"classifier": optimizer}):
        loss = cross_entropy(classifier(train.features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch(step, {"cross entropy": loss})
    classifier.requires_grad_(False)
