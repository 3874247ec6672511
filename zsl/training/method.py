"""A method: one object with the same abilities, whichever method it is.

`scripts/train_dcrgan.py`, `choose.py`, `table.py`, `study.py` and `sweep.py` know methods by this type alone.  A method
of one's own is a file with such an object (docs/own-method.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

from zsl.common.config import Overrides, override
from zsl.features.split import TrainSplit
from zsl.scores.model import ZeroShotModel
from zsl.training.log import Log, silent

Goal = Literal["harmonic", "acc_zsl", "acc_seen"]
Part = Callable[[Any], Any]  # a configuration to the part of it that something depends on


class TrainModel(Protocol):
    """Training in one step, such as `train_eszsl`."""

    __name__: str

    def __call__(self, train: TrainSplit, config: Any, *, seed: int, log: Log) -> Any:
        """A trained model."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A part of training whose result several configurations can share.

    Equal `part(config)`, data and seed give equal results, so that a `Trainer` runs it once for all of them.
    """

    name: str  # unique among all steps of all methods
    run: Callable[[TrainSplit, Any, Any, int, Log], Any]  # split, result of the step before, config, seed, log
    part: Part = lambda config: config
    resumes: Part | None = None  # the part of the config on which the step's checkpoints depend; None: it keeps none


def one_step(train_model: TrainModel) -> tuple[Step, ...]:
    """The steps of a method that trains its model at once."""

    def run(train: TrainSplit, _: Any, config: Any, seed: int, log: Log) -> Any:
        return train_model(train, config, seed=seed, log=log)

    return (Step(name=f"{train_model.__module__}.{train_model.__name__}", run=run),)


def never(_: Any) -> bool:
    """No configuration of the method trains on attributes of unseen classes."""
    return False


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way from a TrainSplit to a ZeroShotModel, and what may be done with it."""

    name: str
    steps: tuple[Step, ...]  # the last one's result is the model
    config: Any  # a frozen dataclass: where a search starts, and what a run without one has
    rounds: tuple[tuple[Overrides, ...], ...] = ()  # what folds may try: each round on the best of those before
    settings: Overrides = field(default_factory=dict)  # fixed, whatever was chosen: they make a variant
    goal: Goal = "harmonic"  # the score on folds by which `rounds` choose
    budget: int | None = None  # configurations for which a table's search trains something, at most; None: all
    shares: str | None = None  # the method whose search serves this one, too; None: it has its own
    citation: str = ""
    takes_recipe: bool = False  # whether its configuration is that of a recipe of DCR-GAN
    version: str | None = None  # of a method of one's own: the hash of its file
    transductive: Callable[[Any], bool] = never  # whether training with a config sees attributes of unseen classes
    looks: Callable[[Any, int | None], Sequence[tuple[int, Any]]] | None = None
    """(steps, config) of each look at the test rows by the published protocol, each so many steps; None: no looks."""
    oracle: Callable[[Any], tuple[ZeroShotModel, ZeroShotModel]] | None = None
    """The models for seen and for unseen test images where the literature's weights know which is which."""
    keep: Callable[[Any, Path], None] | None = None
    """Writes what prediction and new classes need of a model into its folder; None: the method does not predict."""

    def train(self, train: TrainSplit, config: Any, *, seed: int, log: Log = silent) -> Any:
        """The model after all steps."""
        result = None
        for step in self.steps:
            result = step.run(train, result, config, seed, log)
        return result

    def configured(self, config: Any) -> Any:
        """`config` with what makes this variant."""
        return override(config, self.settings)

    @property
    def selected_as(self) -> str:
        """The method whose search serves this one."""
        return self.shares or self.name


def candidates(*configs: Any) -> tuple[Mapping[str, Any], ...]:
    """A round that tries whole configurations, for `Method.rounds`."""
    return tuple({item.name: getattr(config, item.name) for item in fields(config)} for config in configs)
