"""The search for a configuration and its γ, on validation folds, which hold no test row.  All choices are made here.

A search has rounds.  Each round tries some values on the best configuration so far, trained on every fold.  Then
calibration folds choose one γ.  Trials are kept, so that a killed search continues.  The result is a file that a run
reads.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from zsl.common.config import Settings, flatten, override
from zsl.common.files import read_json_lines, read_object, write_text
from zsl.common.long_work import PROGRESS_FILE, LongWork
from zsl.common.records import as_record, write_record
from zsl.datasets.splits import attributes_hash
from zsl.experiments.methods import version_of
from zsl.experiments.selection import REMEDY, SELECTION_FILE, FoldHashes, Selection, Trial
from zsl.experiments.trainer import Folds, Trainer, key_of
from zsl.features.facts import describe_features, with_parts
from zsl.features.manifest import Manifest
from zsl.scores.details import Details
from zsl.scores.folds import score_folds
from zsl.scores.model import DIVERGED, DivergedMethod
from zsl.training.method import Goal, Method

TRIALS_FILE, CALIBRATION_FILE = "trials.jsonl", "calibration.jsonl"
DIVERGED_FIELD = "diverged"  # of a trial's line: the message of its training

log = logging.getLogger(__name__)


def select(
    method: Method,
    folds: Folds,
    folder: Path,
    *,
    manifest: Manifest,
    goal: Goal,
    seed: int,
    budget: int | None,
    calibration: Folds | None = None,
    trainer: Trainer | None = None,
) -> Selection:
    """Search the rounds of `method` for the highest mean `goal` over the folds, and write `selection.json`.

    Trials in `folder` are not trained again; they count towards the budget as before.

    manifest: the manifest of the feature table of later runs.  budget: most trainings on each fold; None: no limit.
    calibration: the folds that choose γ for the best configuration; None: `folds`.  trainer: shares trained parts with
    other searches.

    Raises:
        ValueError: the folder holds a search on other folds or features, or the choice of a longer search.
    """
    facts = describe_trials(method, manifest, folds, seed) | {"goal": goal}
    trainer = trainer or Trainer()
    trials = Trials(folder / TRIALS_FILE, facts)
    on_folds = partial(trainer.on_folds, method, folds, seed=seed, folder=folder)
    best, count = _search(method, trials, on_folds, goal, budget)
    _check_not_shorter(folder / SELECTION_FILE, count, goal)
    calibration_trial = None
    if calibration:
        config = override(method.configured(method.config), flatten(best.config))
        calibration_trial = calibrate(
            method, config, calibration, folder, manifest=manifest, seed=seed, trainer=trainer
        )
    selection = Selection(
        **facts | {"features": describe_features(manifest).features}, trials=count, best=best,
        gamma=(calibration_trial or best).scores.gamma, calibration_folds=describe_folds(calibration or {}),
        calibration=calibration_trial,
    )  # fmt: skip
    write_record(folder / SELECTION_FILE, selection)
    clear_steps(folder)
    return selection


def _check_not_shorter(path: Path, count: int, goal: Goal) -> None:
    """Refuse to replace the choice in the file `path` by that of `count` trials, if it was made of more."""
    before = read_object(path, REMEDY) if path.is_file() else {}
    trials = before.get("trials")
    if isinstance(trials, int) and trials > count and before.get("goal") == goal:
        raise ValueError(
            f"{path} is the best of {trials} trials, and this budget allows {count}; give the search that budget, or "
            "another --name"
        )


def calibrate(
    method: Method, config: Any, folds: Folds, folder: Path, *, manifest: Manifest, seed: int, trainer: Trainer
) -> Trial:
    """Try one configuration on calibration folds, which choose its γ; `folder` keeps the trial."""
    trials = Trials(folder / CALIBRATION_FILE, describe_trials(method, manifest, folds, seed))
    return trials.get(config, partial(trainer.on_folds, method, folds, seed=seed, folder=folder))


def _search(
    method: Method, trials: Trials, on_folds: Callable[[Any], list[Details]], goal: Goal, budget: int | None
) -> tuple[Trial, int]:
    """Return the best trial, and the number of configurations that were tried.

    A configuration whose training diverges is not chosen, and the search goes on; that of the start is to be sound.
    """
    part = method.steps[0].part
    start = method.configured(method.config)
    rounds = [overrides for trials_of_round in method.rounds for overrides in trials_of_round]
    names = [str(number) for number in range(len(rounds) + 1)]
    work = LongWork(trials.path.parent / PROGRESS_FILE, dict.fromkeys(names, 1), what=f"trials of {method.name}")
    with work.piece(names[0]):
        best = trials.get(start, on_folds)
    considered = {key_of(start)}
    trained = {key_of(part(start))}  # trained now or before a kill
    for name, overrides in zip(names[1:], rounds, strict=True):
        with work.piece(name):
            config = method.configured(override(override(start, flatten(best.config)), overrides))
            if budget is not None and len(trained) >= budget and key_of(part(config)) not in trained:
                continue
            trained.add(key_of(part(config)))
            considered.add(key_of(config))
            try:
                trial = trials.get(config, on_folds)
            except Diverged as error:
                log.warning("%s with %s is not chosen: %s", method.name, dict(overrides), error)
                continue
            if getattr(trial.scores, goal) > getattr(best.scores, goal):
                best = trial
    return best, len(considered)


def describe_trials(method: Method, manifest: Manifest, folds: Folds, seed: int) -> Settings:
    """Return the facts that a search's trials depend on, beside their configurations."""
    train, _ = next(iter(folds.values()))
    return {
        "method": method.name,
        "method_version": version_of(method),
        **describe_features(manifest).as_json,
        "attributes_hash": attributes_hash(train.attributes.cpu().numpy()),
        "seed": seed,
        "folds": describe_folds(folds),
    }


def clear_steps(folder: Path) -> None:
    """Remove the checkpoints of a search that has ended; generators are large, and the trials are enough."""
    for path in folder.glob("steps-*"):
        shutil.rmtree(path)


def describe_folds(folds: Folds) -> FoldHashes:
    """Compute the hashes of each fold's rows, and of the numbers in its training data."""
    return {
        str(number): {
            "train": train.rows_hash,
            "seen": str(test.seen.facts.hash),
            "unseen": str(test.unseen.facts.hash),
            "features": train.fingerprint[:12],
        }
        for number, (train, test) in folds.items()
    }


class Diverged(FloatingPointError):
    """Error: the training of a trial diverges; the message is that of the training."""


class Trials:
    """The trials of one search in a file of JSON lines: first the facts, then one trial in each line.

    The line of a trial that diverged has the message, so that it is not trained again after a kill.

    Raises:
        ValueError: the file holds trials with other facts.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        lines = read_json_lines(path) if path.is_file() else []
        self.lines = lines or [json.loads(json.dumps(facts))]
        self._check_facts(json.loads(json.dumps(facts)))
        sound = [line for line in self.lines[1:] if DIVERGED_FIELD not in line]
        trials = (as_record(line, Trial, str(path), "use another --name") for line in sound)
        self.trials = {_text(trial.config): trial for trial in trials}
        self.diverged = {
            _text(line.get("config")): str(line[DIVERGED_FIELD]) for line in self.lines[1:] if DIVERGED_FIELD in line
        }

    def get(self, config: Any, train_and_test: Callable[[Any], list[Details]]) -> Trial:
        """Return the trial of `config` from the file, or run it and add it to the file.

        Raises:
            Diverged: the training diverges, or did so when the file was written.
        """
        key = key_of(config)
        if key in self.diverged:
            raise Diverged(self.diverged[key])
        if key not in self.trials:
            settings = json.loads(json.dumps(asdict(config)))
            try:
                trial = Trial(config=settings, scores=score_folds(train_and_test(config)))
            except (*DIVERGED, DivergedMethod) as error:
                self.diverged[key] = str(error)
                self._add({"config": settings, DIVERGED_FIELD: str(error)})
                raise Diverged(str(error)) from error
            self.trials[key] = trial
            self._add(asdict(trial))
        return self.trials[key]

    def _add(self, line: Settings) -> None:
        self.lines.append(line)
        write_text(self.path, "".join(json.dumps(each) + "\n" for each in self.lines))

    def _check_facts(self, facts: Settings) -> None:
        head = with_parts(self.lines[0])
        different = [key for key in facts if head.get(key) != facts[key]]
        if different:
            raise ValueError(f"{self.path.parent} holds a search with other {', '.join(different)}; use another --name")


def _text(settings: Any) -> str:
    """Write the settings of a line as `key_of` writes a configuration."""
    return json.dumps(settings, sort_keys=True)
