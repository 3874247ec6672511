"""A method: an object that trains models.  All methods have the same abilities.

`scripts/train_dcrgan.py`, `choose.py`, `table.py`, `study.py` and `sweep.py` use methods through this type alone.  A
user's own method is a file with such an object (docs/own-method.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, Literal, Protocol

from zsl.common.config import Overrides, override
from zsl.features.split import TrainSplit
from zsl.scores.model import ZeroShotModel
from zsl.training.log import Log, silent

Goal = Literal["harmonic", "acc_zsl", "acc_seen", "ausuc"]
Part = Callable[[Any], Any]  # maps a configuration to the part of it that a result depends on


class TrainModel(Protocol):
    """A function that trains a model in one step, such as `train_eszsl`."""

    __name__: str

    def __call__(self, train: TrainSplit, config: Any, *, seed: int, log: Log) -> Any:
        """Train a model on `train`."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A part of training whose result several configurations can share.

    Equal `part(config)`, data and seed, and one result of the step before, give equal results.  So a `Trainer` runs the
    step once for all of them.  It leaves the result of the step before as it is, or works on a copy, as the step of a
    user's own method does.
    """

    name: str  # unique among all steps of all methods; `load_own_method` sees to it for a user's own ones
    run: Callable[[TrainSplit, Any, Any, int, Log], Any]  # split, result of the step before, config, seed, log
    part: Part = lambda config: config
    resumes: Part | None = None  # the part of the config that the step's checkpoints depend on; None: no checkpoints


def one_step(train_model: TrainModel) -> tuple[Step, ...]:
    """Make the steps of a method that trains its model in one step.

    Raises:
        ValueError: the function does not take `seed` or `log`.
    """
    # `stage` takes the seed itself, and passes the log on to the function that it decorates.
    if not _takes("seed", signature(train_model, follow_wrapped=False)):
        raise ValueError(f"{train_model.__name__} does not take seed; put @stage above it, which does")
    if not _takes("log", signature(train_model)):
        raise ValueError(f"{train_model.__name__} does not take log; add the parameter `log: Log = silent`")

    def run(train: TrainSplit, _: Any, config: Any, seed: int, log: Log) -> Any:
        return train_model(train, config, seed=seed, log=log)

    return (Step(name=f"{train_model.__module__}.{train_model.__name__}", run=run),)


def _takes(word: str, of_function: Signature) -> bool:
    """Whether a function takes a keyword of this name."""
    return any(name == word or item.kind is Parameter.VAR_KEYWORD for name, item in of_function.parameters.items())


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """The models of one training with its classifiers after any of their epochs."""

    counts: tuple[int, ...]  # number of epochs of each classifier
    model: Callable[[Sequence[int]], Any]
    """Makes the model from an epoch of each classifier, from 0; the last ones make the trained model."""


def never(_: Any) -> bool:
    """Return False: no configuration of the method trains on attributes of unseen classes."""
    return False


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: how it trains a ZeroShotModel on a TrainSplit, how it is tuned, and what its models can do."""

    name: str
    steps: tuple[Step, ...]  # the result of the last step is the model
    config: Any  # a frozen dataclass: the configuration of a run, or the start of a search
    rounds: tuple[tuple[Overrides, ...], ...] = ()  # settings that folds try, each round on the best so far
    settings: Overrides = field(default_factory=dict)  # settings that make a variant; no choice changes them
    goal: Goal = "ausuc"  # the score on folds by which `rounds` choose
    budget: int | None = None  # most configurations for which a table's search trains something; None: all
    shares: str | None = None  # the method whose search also serves this method; None: it has its own search
    citation: str = ""
    form: str = ""  # in words: which of several forms of a published method it is
    takes_recipe: bool = False  # whether its configuration comes from a recipe of DCR-GAN
    version: str | None = None  # hash of the file of a user's own method
    quick: bool = False  # whether a training is done before another process would have started, as a closed form is
    source: str | None = None  # FILE.py:NAME of a user's own method
    transductive: Callable[[Any], bool] = never  # whether training with a config uses attributes of unseen classes
    looks: Callable[[Any, int | None], Sequence[tuple[int, Any]]] | None = None
    """Lists (steps, config) of each look at the test rows by the published protocol; None: the method has no looks."""
    epochs: Callable[[Any], Epochs] | None = None
    """Trains the classifiers of a model once more, and keeps them after each epoch; None: the method has no epochs."""
    oracle: Callable[[Any], tuple[ZeroShotModel, ZeroShotModel]] | None = None
    """Makes the models with the literature's weights for seen test images, and with those for unseen test images."""
    keep: Callable[[Any, Path], None] | None = None
    """Writes the parts of a model that prediction needs into a folder; None: the method does not predict."""

    def train(self, train: TrainSplit, config: Any, *, seed: int, log: Log = silent) -> Any:
        """Run all steps, and return the model."""
        result = None
        for step in self.steps:
            result = step.run(train, result, config, seed, log)
        return result

    def configured(self, config: Any) -> Any:
        """Return `config` with the settings of this variant."""
        return override(config, self.settings)

    @property
    def selected_as(self) -> str:
        """The name of the method whose search serves this method."""
        return self.shares or self.name


def candidates(*configs: Any) -> tuple[Mapping[str, Any], ...]:
    """Make a round of `Method.rounds` that tries these configurations."""
    return tuple({item.name: getattr(config, item.name) for item in fields(config)} for config in configs)


def each(path: str, *values: object) -> tuple[Overrides, ...]:
    """Make a round of `Method.rounds` that tries these values of one field, named by its dotted path."""
    return tuple({path: value} for value in values)
