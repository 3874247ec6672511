"""Everything that is chosen is chosen here, on validation folds, in which no test row occurs.

A search by rounds: each tries some values on the best configuration so far, trained on every fold; then one γ for
calibrated stacking.  Trials are kept, so that a killed search goes on where it was.  The outcome is a file that a run
reads.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from zsl.common.config import Settings, flatten, override
from zsl.common.files import read_json_lines, write_text
from zsl.common.progress import progress_bar
from zsl.common.records import as_record, write_record
from zsl.datasets.splits import attributes_hash
from zsl.experiments.methods import version_of
from zsl.experiments.selection import SELECTION_FILE, FoldHashes, Selection, Trial
from zsl.experiments.trainer import Folds, Trainer, key_of
from zsl.features.facts import describe_features
from zsl.features.manifest import Manifest
from zsl.scores.details import Details
from zsl.scores.folds import score_folds
from zsl.training.method import Goal, Method

TRIALS_FILE, CALIBRATION_FILE = "trials.jsonl", "calibration.jsonl"


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
    """Search the rounds of `method` for the highest mean `goal` over the folds, with at most `budget` trainings a fold.

    `manifest`: that of the feature table of which runs with the outcome are made.  `budget` None: no limit.
    `calibration`: folds that choose γ for the best configuration, by default `folds`.  A `trainer` that searches share
    spares them what others have trained.

    Trials that `folder` holds already are not trained again, and count as they did.  Writes `selection.json` there.

    Raises:
        ValueError: the folder holds a search on other folds or features.
    """
    facts = describe_trials(method, manifest, folds, seed) | {"goal": goal}
    trainer = trainer or Trainer()
    trials = Trials(folder / TRIALS_FILE, facts)
    on_folds = partial(trainer.on_folds, method, folds, seed=seed, folder=folder)
    best, count = _search(method, trials, on_folds, goal, budget)
    calibrated = None
    if calibration:
        config = override(method.configured(method.config), flatten(best.config))
        calibrated = calibrate(method, config, calibration, folder, manifest=manifest, seed=seed, trainer=trainer)
    selection = Selection(
        **facts, trials=count, best=best, gamma=(calibrated or best).scores.gamma,
        calibration_folds=describe_folds(calibration or {}), calibration=calibrated,
    )  # fmt: skip
    write_record(folder / SELECTION_FILE, selection)
    clear_steps(folder)
    return selection


def calibrate(
    method: Method, config: Any, folds: Folds, folder: Path, *, manifest: Manifest, seed: int, trainer: Trainer
) -> Trial:
    """The trial of one configuration on calibration folds, whose γ is the one to use; kept in `folder`."""
    trials = Trials(folder / CALIBRATION_FILE, describe_trials(method, manifest, folds, seed))
    return trials.get(config, partial(trainer.on_folds, method, folds, seed=seed, folder=folder))


def _search(
    method: Method, trials: Trials, on_folds: Callable[[Any], list[Details]], goal: Goal, budget: int | None
) -> tuple[Trial, int]:
    """The best trial, and how many were considered."""
    part = method.steps[0].part
    start = method.configured(method.config)
    best = trials.get(start, on_folds)
    considered = {key_of(start)}
    trained = {key_of(part(start))}  # in this search's order, whether now or before a kill
    rounds = [overrides for tried in method.rounds for overrides in tried]
    for overrides in progress_bar(rounds, what=f"select {method.name}", unit=" trials"):
        config = method.configured(override(override(start, flatten(best.config)), overrides))
        if budget is not None and len(trained) >= budget and key_of(part(config)) not in trained:
            continue
        trained.add(key_of(part(config)))
        considered.add(key_of(config))
        trial = trials.get(config, on_folds)
        if getattr(trial.scores, goal) > getattr(best.scores, goal):
            best = trial
    return best, len(considered)


def describe_trials(method: Method, manifest: Manifest, folds: Folds, seed: int) -> Settings:
    """What the trials of a search depend on, beside their configurations."""
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
    """Remove the checkpoints of a search that has ended: trials tell all that is needed, and generators are large."""
    for path in folder.glob("steps-*"):
        shutil.rmtree(path)


def describe_folds(folds: Folds) -> FoldHashes:
    """Hashes of each fold's rows, and of all numbers that it trains on."""
    return {
        str(number): {
            "train": train.rows_hash,
            "seen": str(test.seen.facts.hash),
            "unseen": str(test.unseen.facts.hash),
            "features": train.fingerprint[:12],
        }
        for number, (train, test) in folds.items()
    }


class Trials:
    """The trials of one search, kept in a file of JSON lines: facts first, then a trial a line.

    Raises:
        ValueError: the file holds trials with other facts.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        lines = read_json_lines(path) if path.is_file() else []
        self.lines = lines or [json.loads(json.dumps(facts))]
        self._check_facts(json.loads(json.dumps(facts)))
        trials = (as_record(line, Trial, str(path), "use another --name") for line in self.lines[1:])
        self.trials = {json.dumps(trial.config, sort_keys=True): trial for trial in trials}

    def get(self, config: Any, train_and_test: Callable[[Any], list[Details]]) -> Trial:
        """The trial of `config`: the one that the file holds, or a new one."""
        key = key_of(config)
        if key not in self.trials:
            trial = Trial(config=json.loads(json.dumps(asdict(config))), scores=score_folds(train_and_test(config)))
            self.trials[key] = trial
            self.lines.append(asdict(trial))
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in self.lines))
        return self.trials[key]

    def _check_facts(self, facts: Settings) -> None:
        different = [key for key in facts if self.lines[0].get(key) != facts[key]]
        if different:
            raise ValueError(f"{self.path.parent} holds a search with other {', '.join(different)}; use another --name")
