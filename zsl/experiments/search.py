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

from zsl.common.config import flatten, override
from zsl.common.files import read_json_lines, write_json, write_text
from zsl.common.progress import progress_bar
from zsl.datasets.splits import attributes_hash
from zsl.dcrgan.config import DCRGANConfig
from zsl.experiments.methods import METHOD_VERSION, Method
from zsl.experiments.selection import SELECTION_FILE, Goal, Selection, Trial
from zsl.experiments.trainer import Folds, Trainer, _key, _trained_part, fingerprint
from zsl.features.load import describe_features
from zsl.scores.curves import choose_gamma
from zsl.scores.details import Details
from zsl.scores.summary import curve_of, scores_of

TRIALS_FILE, CALIBRATION_FILE = "trials.jsonl", "calibration.jsonl"


def select(
    method: Method,
    folds: Folds,
    folder: Path,
    *,
    manifest: Mapping[str, Any],
    goal: Goal,
    seed: int,
    budget: int,
    calibration: Folds | None = None,
    trainer: Trainer | None = None,
) -> Selection:
    """Search the rounds of `method` for the highest mean `goal` over the folds, with at most `budget` trainings a fold.

    `manifest`: that of the feature table of which runs with the outcome are made.  `calibration`: folds that choose γ
    for the best configuration, by default `folds`.  A `trainer` that searches share spares them what others have
    trained.

    Trials that `folder` holds already are not trained again, and count as they did.  Writes `selection.json` there.

    Raises:
        ValueError: the folder holds a search on other folds or features.
    """
    facts = describe_trials(method, manifest, folds, seed) | {"goal": goal}
    trainer = trainer or Trainer()
    train_and_test = partial(trainer.on_folds, method, folds, seed=seed, folder=folder)
    trials = Trials(folder / TRIALS_FILE, facts)
    start = without_gamma(method.configured(method.config))
    best = trials.get(start, train_and_test)
    considered = {_key(asdict(start))}
    trained = {_trained_part(start)}  # in this search's order, whether now or before a kill
    for overrides in progress_bar(_flat_rounds(method), what=f"select {method.name}", unit=" trials"):
        base = override(start, flatten(best.config))
        config = without_gamma(method.configured(override(base, overrides)))
        if len(trained) >= budget and _trained_part(config) not in trained:
            continue
        trained.add(_trained_part(config))
        considered.add(_key(asdict(config)))
        trial = trials.get(config, train_and_test)
        if getattr(trial, goal) > getattr(best, goal):
            best = trial
    calibrated, of_calibration = None, describe_folds(calibration or {})
    if calibration:
        known = Trials(folder / CALIBRATION_FILE, facts | {"folds": of_calibration})
        on_calibration = partial(trainer.on_folds, method, calibration, seed=seed, folder=folder)
        calibrated = known.get(override(start, flatten(best.config)), on_calibration)
    selection = Selection(
        **facts, trials=len(considered), best=best, gamma=(calibrated or best).gamma,
        calibration_folds=of_calibration, calibration=calibrated,
    )  # fmt: skip
    write_json(folder / SELECTION_FILE, asdict(selection))
    clear_steps(folder)
    return selection


def describe_trials(method: Method, manifest: Mapping[str, Any], folds: Folds, seed: int) -> dict[str, Any]:
    """What the trials of a search depend on, beside their configurations."""
    train, _ = next(iter(folds.values()))
    return {
        "method": method.name,
        "method_version": METHOD_VERSION,
        **describe_features(manifest),
        "attributes_hash": attributes_hash(train.attributes.cpu().numpy()),
        "seed": seed,
        "folds": describe_folds(folds),
    }


def clear_steps(folder: Path) -> None:
    """Remove the checkpoints of a search that has ended: trials tell all that is needed, and generators are large."""
    for path in folder.glob("steps-*"):
        shutil.rmtree(path)


def describe_folds(folds: Folds) -> dict[str, dict[str, str]]:
    """Hashes of each fold's rows, and of all numbers that it trains on."""
    return {
        str(number): {
            "train": train.rows_hash,
            "seen": test.seen.facts["hash"],
            "unseen": test.unseen.facts["hash"],
            "features": fingerprint(train)[:12],
        }
        for number, (train, test) in folds.items()
    }


def without_gamma(config: Any) -> Any:
    """The configuration with a γ of 0, so that the folds choose all of it; baselines' have none."""
    return override(config, {"classifiers.gamma": 0.0}) if isinstance(config, DCRGANConfig) else config


class Trials:
    """The trials of one search, kept in a file of JSON lines: facts first, then a trial a line.

    Raises:
        ValueError: the file holds trials with other facts.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        facts = json.loads(json.dumps(facts))
        self.lines = read_json_lines(path) if path.is_file() else []
        if not self.lines:
            self.lines = [facts]
        there, *trials = self.lines
        if there != facts:
            different = [key for key in facts if there.get(key) != facts[key]]
            raise ValueError(f"{path.parent} holds a search with other {', '.join(different)}; use another --name")
        self.known = {_key(trial["config"]): Trial(**trial) for trial in trials}

    def get(self, config: Any, train_and_test: Callable[[Any], list[Details]]) -> Trial:
        """The trial of `config`: the one that is known, or a new one."""
        content = json.loads(json.dumps(asdict(config)))
        key = _key(content)
        if key not in self.known:
            details = train_and_test(config)
            curves = [curve_of(detail) for detail in details]
            gamma = choose_gamma(curves)
            self.known[key] = Trial(
                config=content,
                gamma=gamma,
                harmonic=sum(curve.harmonic_at(gamma) for curve in curves) / len(details),
                acc_seen=sum(scores_of(detail).acc_seen for detail in details) / len(details),
                acc_zsl=sum(scores_of(detail).acc_zsl for detail in details) / len(details),
            )
            self.lines.append(asdict(self.known[key]))
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in self.lines))
        return self.known[key]


def _flat_rounds(method: Method) -> list[Mapping[str, Any]]:
    return [overrides for tried in method.rounds for overrides in tried]
