"""The journal of a training run: a file of loss terms, and a checkpoint of each stage."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from zsl.common.files import append_text, read_json_lines, write_text
from zsl.common.profile import span
from zsl.common.progress import progress_bar
from zsl.training.checkpoint import RandomState, Stateful, load_checkpoint, save_checkpoint
from zsl.training.log import Entry, Log
from zsl.training.trackers import Tracker

CHECKPOINTS_FOLDER = "checkpoints"
PATIENCE = 20  # the time between two saves is at least this many times the duration of a save


class StepsBehind(ValueError):
    """Error: a checkpoint is after more steps than the stage should take."""


class Journal(Log):
    """A Log that appends JSON lines to a file, and keeps a checkpoint of each stage in a folder beside the file.

    A checkpoint holds the stage's modules and optimizers, and torch's random state, after a number of steps.  On one
    machine, a run that continues from a checkpoint ends at the same bits as a run that was never killed.  The times of
    the checkpoints make no difference.  A stage that has ended leaves its last checkpoint, so that a restart skips the
    stage.

    run: a text that names all that the run depends on.  Checkpoints of another run are refused.
    tracker: gets all lines, too; after a restart also those that the file has from before.
    """

    def __init__(self, path: Path, run: str = "", *, seconds: float = 10.0, tracker: Tracker | None = None) -> None:
        """Keep lines in the file `path`; at least `seconds` pass between two checkpoints of a stage."""
        self.path, self.run, self.seconds, self.tracker = path, run, seconds, tracker or Tracker()
        self.folder = path.parent / CHECKPOINTS_FOLDER
        self._begun: set[str] = set()  # stages that have lines of this start

    def __call__(self, stage: str, step: int, terms: dict[str, float]) -> None:
        """Append one line with the loss terms of a step; of a stage without `steps` a killed start's lines go first."""
        if stage not in self._begun:
            self._forget(stage, step)
        append_text(self.path, json.dumps({"stage": stage, "step": step} | terms) + "\n")
        self.tracker(stage, step, terms)

    def steps(
        self, stage: str, count: int, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
    ) -> Iterator[int]:
        """Put modules and optimizers into the state of the stage's checkpoint, and yield the steps that remain.

        Raises:
            ValueError: the stage's checkpoint is of another run or version.
            StepsBehind: the checkpoint is after more than `count` steps.
        """
        path = self.folder / f"{stage.replace(' ', '-')}.safetensors"
        parts = _parts(modules, optimizers)
        start = self._resume(path, count, parts) if path.is_file() else 0
        self._forget(stage, start)
        self._track(entry for entry in self.entries() if entry["stage"] == stage)
        due = time.monotonic() + self.seconds
        for step in progress_bar(range(start, count), total=count, initial=start, what=stage, unit=" steps"):
            yield step
            if step + 1 == count or time.monotonic() >= due:
                began = time.monotonic()
                with span("checkpoint"):
                    save_checkpoint(path, parts, run=self.run, step=step + 1)
                due = time.monotonic() + max(self.seconds, PATIENCE * (time.monotonic() - began))

    def entries(self) -> list[Entry]:
        """Read all lines."""
        return read_json_lines(self.path) if self.path.is_file() else []

    def repeat(self, entries: list[Entry]) -> None:
        """Copy the entries of another log that this log lacks; the tracker gets them all."""
        self._begun |= {entry["stage"] for entry in entries}
        super().repeat(entries)
        self._track(entries)

    def clear(self) -> None:
        """Remove all checkpoints, once the run has ended well."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def _resume(self, path: Path, count: int, parts: Mapping[str, Stateful]) -> int:
        """Put `parts` into the state of the checkpoint at `path`, and return the number of its steps."""
        checkpoint = load_checkpoint(path, self.run)
        if checkpoint.step > count:
            raise StepsBehind(f"{path} has {checkpoint.step} steps behind it, asked for are {count}")
        checkpoint.restore(parts)
        return checkpoint.step

    def _track(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            terms = {key: value for key, value in entry.items() if key not in ("stage", "step")}
            self.tracker(entry["stage"], entry["step"], terms)

    def _forget(self, stage: str, start: int) -> None:
        """Begin the stage: remove the lines of its steps from `start` on, and a line that a kill cut short."""
        self._begun.add(stage)
        if not self.path.is_file():
            return
        entries = [e for e in self.entries() if e["stage"] != stage or e["step"] < start]
        write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in entries))


def _parts(modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> dict[str, Stateful]:
    """Collect the parts of a stage's checkpoint.  The random state is last, so that no other part draws from it."""
    return {
        **{f"module/{name}": module for name, module in modules.items()},
        **{f"optimizer/{name}": optimizer for name, optimizer in optimizers.items()},
        "random": RandomState(),
    }
