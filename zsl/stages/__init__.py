"""The stages of the method: functions from a TrainSplit and a config to a trained module.

`stage` gives each one its own random state, refuses anything but a TrainSplit as its data, and notes in it which rows
were read.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zsl.determinism import seeded
from zsl.features import RowsRead, TrainSplit
from zsl.progress import progress_bar

Params = ParamSpec("Params")
Result = TypeVar("Result")


class Log:
    """Where a stage says how it goes, and from where it goes on after a kill; this one keeps nothing."""

    def __call__(self, stage: str, step: int, terms: dict[str, float]) -> None:
        """Note the loss terms of one step."""

    def steps(
        self, stage: str, count: int, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
    ) -> Iterator[int]:
        """The steps of `stage` that are left to do; between them all of its state is in what is given here."""
        yield from progress_bar(range(count), what=stage, unit=" steps")

    def entries(self) -> list[dict[str, Any]]:
        """What was noted and is kept: {"stage", "step", term: value, …} of each note."""
        return []

    def repeat(self, entries: list[dict[str, Any]]) -> None:
        """Note what another log has and this one lacks, for a stage whose result both share."""
        there = self.entries()
        for entry in entries:
            if entry not in there:
                terms = {key: value for key, value in entry.items() if key not in ("stage", "step")}
                self(entry["stage"], entry["step"], terms)


silent = Log()


def stage(
    function: Callable[Concatenate[TrainSplit, Params], Result],
) -> Callable[..., Result]:
    """Run `function(train, …)` under a random state that depends on the run's `seed` and the stage's name only.

    The decorated function takes `seed` as one more keyword.  A stage's result is thus the same whether the stages
    before it ran now or came from a checkpoint.  That the stage was given these rows is noted in `train.reads`.

    Raises:
        TypeError: the data is not a TrainSplit, for example a TestSplit.
    """

    @functools.wraps(function)
    def run(train: TrainSplit, *args: Any, seed: int, **kwargs: Any) -> Result:
        if type(train) is not TrainSplit:
            raise TypeError(
                f"{function.__name__} takes a TrainSplit; a {type(train).__name__} holds rows it may not see"
            )
        train.reads.append(RowsRead(function.__name__, train.rows))
        with seeded(seed, function.__name__, train.device):
            return function(train, *args, **kwargs)

    return run


def penalised_adam(
    module: nn.Module, weight_decay: float, *, lr: float, betas: tuple[float, float]
) -> torch.optim.Adam:
    """Adam on the loss plus `weight_decay` * ‖θ‖² over the weights, biases left out (eq. 3, 4).

    The penalty's gradient, 2 * weight_decay * θ, is what torch adds for its own `weight_decay` twice as large; so no
    step spends time on a sum over millions of squares.
    """
    weights = [p for p in module.parameters() if p.dim() > 1]
    biases = [p for p in module.parameters() if p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": 2 * weight_decay}, {"params": biases}]
    return torch.optim.Adam(groups, lr=lr, betas=betas, fused=True)


def watch(log: Log, name: str, step: int, terms: dict[str, Tensor]) -> None:
    """Log the loss terms of one step, and stop where one is not finite.

    Reading a value waits for the device, so stages call this every so many steps.

    Raises:
        FloatingPointError: names the stage, the step and the term.
    """
    values = {term: value.item() for term, value in terms.items()}
    for term, value in values.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} stage, step {step}: {term!r} is {value}; try a smaller learning rate")
    log(name, step, values)
