"""The log of a stage's loss terms, and the watch for terms that are not finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zsl.common.progress import progress_bar

Entry = dict[str, Any]  # {"stage", "step", term: value, …}
NEVER = -1  # stands for the first step with a term that is not finite, while all terms are finite


class Log:
    """A log that keeps nothing; the Log of `zsl.training.journal` keeps lines and checkpoints in files."""

    def __call__(self, stage: str, step: int, terms: dict[str, float]) -> None:
        """Note the loss terms of one step."""

    def steps(
        self, stage: str, count: int, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
    ) -> Iterator[int]:
        """Yield the remaining steps of `stage`; `modules` and `optimizers` hold all of its state between two steps."""
        yield from progress_bar(range(count), what=stage, unit=" steps")

    def entries(self) -> list[Entry]:
        """Return all entries that the log keeps."""
        return []

    def repeat(self, entries: list[Entry]) -> None:
        """Copy the entries of another log that this log lacks, for a stage whose result both share."""
        present = self.entries()
        for entry in entries:
            if entry not in present:
                terms = {key: value for key, value in entry.items() if key not in ("stage", "step")}
                self(entry["stage"], entry["step"], terms)


silent = Log()


class LogInMemory(Log):
    """A log that keeps its lines, and no checkpoints."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def __call__(self, stage: str, step: int, terms: dict[str, float]) -> None:
        """Keep the loss terms of one step."""
        self._entries.append({"stage": stage, "step": step} | terms)

    def entries(self) -> list[Entry]:
        """Return all lines."""
        return list(self._entries)


class Watch(nn.Module):
    """A watch for loss terms of a stage that are not finite; it also logs the terms of every `every`-th step.

    The program waits for the device whenever it reads a value from it.  So the device itself keeps the first step and
    term that were not finite.  The program reads them every `every` steps and in the last step.  A Watch is a module,
    so that checkpoints of the stage keep them.
    """

    first_step: Tensor  # NEVER, or the first step with a term that was not finite
    first_term: Tensor  # the position of that term

    def __init__(self, log: Log, stage: str, *, steps: int, every: int, device: torch.device) -> None:
        """Watch a stage of `steps` steps."""
        super().__init__()
        self.log, self.stage, self.steps, self.every = log, stage, steps, every
        self.register_buffer("first_step", torch.tensor(NEVER, device=device))
        self.register_buffer("first_term", torch.tensor(0, device=device))

    @torch.no_grad()
    def forward(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """Check the terms of one step, in the order of their computation.

        Raises:
            FloatingPointError: a term is not finite; the message names the stage, the first such step and its term.
        """
        values = torch.stack(tuple(terms.values()))
        broken = ~values.isfinite()
        is_first = broken.any() & (self.first_step == NEVER)
        self.first_step = torch.where(is_first, step, self.first_step)
        self.first_term = torch.where(is_first, broken.int().argmax(), self.first_term)
        if step % self.every == 0 or step + 1 == self.steps:
            self._check(list(terms))
            if step % self.every == 0:
                self.log(self.stage, step, dict(zip(terms, values.tolist(), strict=True)))

    def _check(self, names: list[str]) -> None:
        if (step := int(self.first_step)) != NEVER:
            raise FloatingPointError(
                f"{self.stage} stage, step {step}: {names[int(self.first_term)]!r} is not finite; "
                "try a smaller learning rate"
            )
