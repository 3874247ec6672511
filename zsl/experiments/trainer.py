"""Training of many configurations: each step runs once for all configurations that share its result.

On a CPU, several trainings can run at once, each in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zsl.common.lanes import Lanes
from zsl.common.progress import progress_bar
from zsl.experiments.methods import is_findable
from zsl.features.split import RowsRead, TestSplit, TrainSplit
from zsl.scores.details import Details
from zsl.scores.evaluate import evaluate_details
from zsl.training.journal import Journal, StepsBehind
from zsl.training.log import Entry, Log, LogInMemory, silent
from zsl.training.method import Method, Step

CAPACITY = 16  # results of each step that a Trainer keeps: for five seeds, three folds and several calibration folds
Folds = Mapping[int, tuple[TrainSplit, TestSplit]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Result:
    """The result of a step."""

    value: Any
    log: list[Entry]  # the entries of the log after the step
    reads: list[RowsRead]  # the rows that its stages could read


class Trainer:
    """Trains models.  A step runs once for equal data, seed and part of the configuration.

    So variants of Table III that differ only in their classifiers share one generator, and other fusion weights need no
    training.  The log of a model is the same with and without shared steps.

    lanes: processes that train at the same time; each has a Trainer of its own.  None: all is done here.
    capacity: most results of each step that it keeps.
    """

    def __init__(self, *, lanes: Lanes | None = None, capacity: int = CAPACITY) -> None:
        self.lanes, self.capacity = lanes, capacity
        self.trainings = 0  # how often a first step, the slow one, was run here
        self._results: dict[str, dict[str, _Result]] = {}  # by step, then by content

    @property
    def at_once(self) -> int:
        """How many trainings run at once."""
        return 1 if self.lanes is None else self.lanes.count

    def model(
        self,
        method: Method,
        train: TrainSplit,
        config: Any,
        *,
        seed: int,
        log: Log = silent,
        folder: Path | None = None,
    ) -> Any:
        """Train a model; `folder`, if set, keeps the checkpoints of steps that can resume."""
        value, key = None, ""
        for step in method.steps:
            results = self._results.setdefault(step.name, {})
            before, key = key, _name(step, train, seed, step.part(config), key)
            if key in results:
                log.repeat(results[key].log)
                train.reads.extend(results[key].reads)
            else:
                self.trainings += step is method.steps[0]
                results[key] = _run(step, train, value, config, seed, log, folder, before)
                _forget_oldest(results, self.capacity)
            value = results[key].value
        return value

    def on_folds(self, method: Method, folds: Folds, config: Any, *, seed: int, folder: Path) -> list[Details]:
        """Train a model on each fold; return its answers for the fold's pseudo-test rows, which are trainval rows."""
        calls = [
            _FoldCall(trainer=self, method=method, train=train, test=test, config=config, seed=seed, folder=folder)
            for train, test in folds.values()
        ]
        return self.each(method, calls)

    def each(
        self,
        method: Method,
        calls: Sequence[Callable[[], Any]],
        done: Callable[[int], None] = lambda position: None,
        *,
        left: Sequence[int] | None = None,
    ) -> list[Any]:
        """Do calls that train models of `method`, in the lanes if there are any; return their results.

        All are done here, in all threads, if they are quick, or if no other process could find the method by its name.

        done: gets the position of each call that has ended.  left: the positions of the calls that are left to do;
        None: all.
        """
        left = range(len(calls)) if left is None else left
        if self.lanes is not None and not method.quick and is_findable(method):
            return _in_lanes(self.lanes, calls, done, left, what=method.name)
        results = []
        for position in left:
            results.append(calls[position]())
            done(position)
        return results


def _in_lanes(
    lanes: Lanes, calls: Sequence[Callable[[], Any]], done: Callable[[int], None], left: Sequence[int], *, what: str
) -> list[Any]:
    with progress_bar(total=len(left), what=f"{what} in {lanes.count} processes", unit=" trainings") as bar:

        def count(position: int) -> None:
            bar.update()
            done(position)

        return lanes.each(calls, count, left=left)


@dataclass(frozen=True, kw_only=True, eq=False)
class _FoldCall:
    """The training on one fold, and the answers for its pseudo-test rows."""

    trainer: Trainer
    method: Method
    train: TrainSplit
    test: TestSplit
    config: Any
    seed: int
    folder: Path

    def __call__(self) -> Details:
        model = self.trainer.model(self.method, self.train, self.config, seed=self.seed, folder=self.folder)
        return evaluate_details(model, self.test, lambda note: None)


def _run(
    step: Step, train: TrainSplit, before: Any, config: Any, seed: int, log: Log, folder: Path | None, name_before: str
) -> _Result:
    """Run a step on the result of the step before, which has the name `name_before`."""
    reads = len(train.reads)
    if folder is not None and step.resumes is not None:
        name = _name(step, train, seed, step.resumes(config), name_before)
        value, log = _resume(step, train, before, config, seed, folder, name)
    else:
        log = LogInMemory() if log is silent else log  # whoever shares the result later may keep a log
        value = step.run(train, before, config, seed, log)
    return _Result(value=value, log=log.entries(), reads=train.reads[reads:])


def _resume(
    step: Step, train: TrainSplit, before: Any, config: Any, seed: int, folder: Path, name: str
) -> tuple[Any, Journal]:
    """Run a step from its checkpoint below `folder`, or from the start if the checkpoint has too many steps.

    name: a hash of all that the checkpoint depends on.  Returns the step's result and its log.
    """
    journal = Journal(folder / f"steps-{name[:12]}" / "metrics.jsonl", run=name)
    try:
        return step.run(train, before, config, seed, journal), journal
    except StepsBehind:
        journal.clear()
        return step.run(train, before, config, seed, journal), journal


def _forget_oldest(results: dict[str, _Result], capacity: int) -> None:
    """Keep the newest results only; each can hold a copy of all training features."""
    while len(results) > capacity:
        del results[next(iter(results))]


def _name(step: Step, train: TrainSplit, seed: int, part: Any, before: str) -> str:
    """Compute a hash of step, data, seed, a part of a configuration, and the name of the result of the step before."""
    return hashlib.sha256(f"{step.name} {train.fingerprint} {seed} {key_of(part)} {before}".encode()).hexdigest()


def key_of(config: Any) -> str:
    """Write a configuration as text; equal configurations give equal texts."""
    return json.dumps(asdict(config), sort_keys=True)
