"""Where a stage says how it goes: a log of loss terms, and a watch for values that are not finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zsl.common.progress import progress_bar

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
