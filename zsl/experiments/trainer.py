"""Models of configurations, each part trained once however many configurations share it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zsl.features.split import RowsRead, TestSplit, TrainSplit
from zsl.scores.details import Details
from zsl.scores.evaluate import evaluate_details
from zsl.training.journal import Journal, StepsBehind
from zsl.training.log import Entry, Log, silent
from zsl.training.method import Method, Step

KEPT = 16  # results that a Trainer keeps of each step: five seeds, three folds and several calibration folds
Folds = Mapping[int, tuple[TrainSplit, TestSplit]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Result:
    """What a step came to."""

    value: Any
    log: list[Entry]  # what the log had once the step was done
    reads: list[RowsRead]  # what its stages were given


class Trainer:
    """Trains models; a step runs once for equal numbers, seed and part of the configuration.

    Variants of Table III that differ in their classifiers alone have one generator; fusion weights need no training.
    The log of a model is the same whether it shares something or not.
    """

    def __init__(self) -> None:
        self.trainings = 0  # times that a first step, which is the slow one, was run
        self._results: dict[str, dict[str, _Result]] = {}  # by step, then by content

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
        """A trained model; with `folder` the checkpoints of steps that can resume are kept there."""
        value = None
        for step in method.steps:
            results = self._results.setdefault(step.name, {})
            key = _name(train, seed, step.part(config))
            if key in results:
                log.repeat(results[key].log)
                train.reads.extend(results[key].reads)
            else:
                self.trainings += step is method.steps[0]
                results[key] = _run(step, train, value, config, seed, log, folder)
                _forget_oldest(results)
            value = results[key].value
        return value

    def on_folds(self, method: Method, folds: Folds, config: Any, *, seed: int, folder: Path) -> list[Details]:
        """What a model trained on each fold says about its pseudo-test rows, all of which are trainval rows."""
        models = [self.model(method, train, config, seed=seed, folder=folder) for train, _ in folds.values()]
        tests = [test for _, test in folds.values()]
        return [evaluate_details(model, test, lambda note: None) for model, test in zip(models, tests, strict=True)]


def _run(step: Step, train: TrainSplit, before: Any, config: Any, seed: int, log: Log, folder: Path | None) -> _Result:
    reads = len(train.reads)
    if folder is None or step.resumes is None:
        value = step.run(train, before, config, seed, log)
    else:
        value = _resume(step, train, before, config, seed, folder)
    return _Result(value=value, log=log.entries(), reads=train.reads[reads:])


def _resume(step: Step, train: TrainSplit, before: Any, config: Any, seed: int, folder: Path) -> Any:
    """Run a step on from its checkpoints below `folder`; anew where they are past the steps that are asked for."""
    assert step.resumes is not None
    name = _name(train, seed, step.resumes(config))
    journal = Journal(folder / f"steps-{name[:12]}" / "metrics.jsonl", run=name)
    try:
        return step.run(train, before, config, seed, journal)
    except StepsBehind:
        journal.clear()
        return step.run(train, before, config, seed, journal)


def _forget_oldest(results: dict[str, _Result]) -> None:
    """Keep the newest: each may hold a copy of all training features."""
    while len(results) > KEPT:
        del results[next(iter(results))]


def _name(train: TrainSplit, seed: int, part: Any) -> str:
    """Equal for equal numbers, seed and part of a configuration."""
    return hashlib.sha256(f"{train.fingerprint} {seed} {key_of(part)}".encode()).hexdigest()


def key_of(config: Any) -> str:
    """A text that is equal for equal configurations."""
    return json.dumps(asdict(config), sort_keys=True)
