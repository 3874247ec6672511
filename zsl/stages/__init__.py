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
NEVER, MOST_TERMS = 2**62, 64


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


def at_least_one(config: Any, *names: str) -> None:
    """Refuse a configuration in which one of these fields is below 1.

    Raises:
        ValueError: it is; the message has the field's name.
    """
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{type(config).__name__}: {name} is {getattr(config, name)}; it is at least 1")


def stage(
    function: Callable[Concatenate[TrainSplit, Params], Result],
) -> Callable[..., Result]:
    """Run `function(train, …)` under a random state that depends on the run's `seed` and the stage's name only.

    The decorated function takes `seed` as one more keyword.  A stage's result is thus the same whether the stages
    before it ran now or came from a checkpoint.  That the stage was given these rows is noted in `train.reads`.

    Raises:
        TypeError: the data is not a TrainSplit, for example a TestSplit.
        FloatingPointError: the data or the result hold values that are not finite.
    """

    @functools.wraps(function)
    def run(train: TrainSplit, *args: Any, seed: int, **kwargs: Any) -> Result:
        if type(train) is not TrainSplit:
            raise TypeError(
                f"{function.__name__} takes a TrainSplit; a {type(train).__name__} holds rows it may not see"
            )
        train.reads.append(RowsRead(function.__name__, train.rows))
        _check_data(train, function.__name__)
        with seeded(seed, function.__name__, train.device):
            result = function(train, *args, **kwargs)
        for part in result if isinstance(result, tuple) else (result,):
            _check_weights(part, function.__name__)
        return result

    return run


def _check_data(train: TrainSplit, stage: str) -> None:
    """Closed forms would spread such a value, or end in an error of linear algebra that says nothing of it."""
    for what, values in (("features", train.features), ("attributes", train.attributes)):
        fine = values.isfinite().all(dim=1)
        if not fine.all():
            first = int((~fine).nonzero()[0])
            whose = f"of row {int(train.rows[first])}" if what == "features" else f"of class {train.class_names[first]}"
            raise FloatingPointError(f"{stage}: the {what} {whose} are not finite; make them anew")


def _check_weights(result: Any, stage: str) -> None:
    for name, value in result.state_dict().items() if isinstance(result, nn.Module) else ():
        if not value.isfinite().all():
            raise FloatingPointError(f"{stage}: {name!r} of its result is not finite; try a smaller learning rate")


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


class Watch(nn.Module):
    """The loss terms of a stage's steps: looked at in every step, read, checked and logged in every so many.

    Reading a value waits for the device.  So the device itself keeps which value was the first that was not finite, and
    that is read at times and in the last step.  A module, so that the stage's checkpoints keep it too.
    """

    first: Tensor  # step * MOST_TERMS + position among the terms of the first value that was not finite

    def __init__(self, log: Log, name: str, *, steps: int, every: int, device: torch.device) -> None:
        """`steps`: how many the stage `name` takes."""
        super().__init__()
        self.log, self.name, self.steps, self.every = log, name, steps, every
        self.register_buffer("first", torch.tensor(NEVER, device=device))

    @torch.no_grad()
    def forward(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """Look at the terms of one step, which are in the order in which they were computed.

        Raises:
            FloatingPointError: names the stage, and the first step and term that were not finite.
        """
        values = torch.stack(tuple(terms.values()))
        codes = torch.arange(len(values), device=values.device) + step * MOST_TERMS
        self.first = torch.minimum(self.first, torch.where(values.isfinite(), NEVER, codes).amin())
        if step % self.every == 0 or step + 1 == self.steps:
            if (first := int(self.first)) != NEVER:
                step, position = divmod(first, MOST_TERMS)
                _refuse(self.name, step, list(terms)[position], "not finite")
            if step % self.every == 0:
                self.log(self.name, step, dict(zip(terms, values.tolist(), strict=True)))


def watch(log: Log, name: str, step: int, terms: dict[str, Tensor]) -> None:
    """Log the loss terms of one step, and stop where one is not finite: `Watch` for what ends after it.

    Raises:
        FloatingPointError: names the stage, the step and the term.
    """
    values = {term: value.item() for term, value in terms.items()}
    for term, value in values.items():
        if not math.isfinite(value):
            _refuse(name, step, term, value)
    log(name, step, values)


def _refuse(name: str, step: int, term: str, value: Any) -> None:
    raise FloatingPointError(f"{name} stage, step {step}: {term!r} is {value}; try a smaller learning rate")
