"""Everything that is chosen is chosen here, on validation folds, in which no test row occurs.

A search by rounds: each tries some values on the best configuration so far, trained on every fold; then one γ for
calibrated stacking.  Trials are kept, so that a killed search goes on where it was.  The outcome is a file that a run
reads.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from zsl.curves import choose_gamma
from zsl.dcrgan import DCRGANConfig, Synthesizer, fit_classifiers, train_synthesizer
from zsl.evaluate import Details, ZeroShotModel, curve_of, evaluate_details, scores_of
from zsl.features import TestSplit, TrainSplit
from zsl.files import read_json, write_json
from zsl.journal import Journal, StepsBehind
from zsl.methods import Method, flatten, override
from zsl.progress import progress_bar
from zsl.stages import Log, silent
from zsl.stages.classifiers import DCRGAN, ClassifierConfig

SELECTION_FILE, TRIALS_FILE = "selection.json", "trials.jsonl"
Goal = Literal["harmonic", "acc_zsl", "acc_seen"]
Folds = Mapping[int, tuple[TrainSplit, TestSplit]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration on all folds."""

    config: dict[str, Any]
    gamma: float  # the one γ for all folds with the highest mean H
    harmonic: float  # mean over folds at that γ
    acc_seen: float  # mean over folds without γ
    acc_zsl: float  # mean over folds


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the folds chose."""

    method: str
    benchmark: str
    backbone: str
    goal: Goal
    seed: int
    folds: dict[str, dict[str, str]]  # hashes of the rows of each fold's parts
    trials: int
    best: Trial

    def config(self, method: Method) -> Any:
        """The chosen configuration of `method`."""
        return override(method.config, flatten(self.best.config))


def select(
    method: Method,
    folds: Folds,
    folder: Path,
    *,
    benchmark: str,
    backbone: str,
    goal: Goal,
    seed: int,
    budget: int,
    trainer: Trainer | None = None,
) -> Selection:
    """Search the rounds of `method` for the highest mean `goal` over the folds, with at most `budget` trainings a fold.

    A `trainer` that searches share spares them what others have trained.

    Trials that `folder` holds already are not trained again.  Writes `selection.json` there.

    Raises:
        ValueError: the folder holds a search on other folds.
    """
    rows = {
        str(number): {"train": train.rows_hash, "seen": test.seen.facts["hash"], "unseen": test.unseen.facts["hash"]}
        for number, (train, test) in folds.items()
    }
    facts: dict[str, Any] = {
        "method": method.name, "benchmark": benchmark, "backbone": backbone, "goal": goal, "seed": seed, "folds": rows,
    }  # fmt: skip
    trainer = trainer or Trainer()

    def train_and_test(config: Any) -> list[Details]:
        models = [trainer.model(method, train, config, seed=seed, folder=folder) for train, _ in folds.values()]
        tests = [test for _, test in folds.values()]  # pseudo-test rows, all of them trainval rows
        return [evaluate_details(model, test, lambda note: None) for model, test in zip(models, tests, strict=True)]

    trials = _Trials(folder / TRIALS_FILE, facts)
    best = trials.get(method.configured(method.config), train_and_test)
    before = trainer.trainings
    for overrides in progress_bar(_flat_rounds(method), what=f"select {method.name}", unit=" trials"):
        spent = trainer.trainings - before >= budget * len(folds)
        if spent and any(not path.startswith("classifiers.") for path in overrides):
            continue
        base = override(method.config, flatten(best.config))
        trial = trials.get(method.configured(override(base, overrides)), train_and_test)
        if getattr(trial, goal) > getattr(best, goal):
            best = trial
    selection = Selection(**facts, trials=len(trials.known), best=best)
    write_json(folder / SELECTION_FILE, asdict(selection))
    return selection


def read_selection(path: Path, *, benchmark: str, backbone: str) -> Selection:
    """The outcome of a search, for a run on the features that it was made with.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it was made on another benchmark or another backbone.
    """
    path = path / SELECTION_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no selection {path}; scripts/choose.py makes it")
    content = read_json(path)
    for key, given in (("benchmark", benchmark), ("backbone", backbone)):
        if content[key] != given:
            raise ValueError(f"{path} was chosen with {key} {content[key]}, these features are of {given}")
    return Selection(**content | {"best": Trial(**content["best"])})


class _Trials:
    """The trials of one search, kept in a file of JSON lines: facts first, then a trial a line."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self.known: dict[str, Trial] = {}
        facts = json.loads(json.dumps(facts))
        if path.is_file():
            there, *trials = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
            if there != facts:
                different = [key for key in facts if there.get(key) != facts[key]]
                raise ValueError(f"{path.parent} holds a search with other {', '.join(different)}; use another --name")
            self.known = {json.dumps(trial["config"], sort_keys=True): Trial(**trial) for trial in trials}
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(facts) + "\n")

    def get(self, config: Any, train_and_test: Callable[[Any], list[Details]]) -> Trial:
        """The trial of `config`: the one that is known, or a new one."""
        content = json.loads(json.dumps(asdict(config)))
        key = json.dumps(content, sort_keys=True)
        if key not in self.known:
            details = train_and_test(config)
            gamma = choose_gamma([curve_of(detail) for detail in details])
            self.known[key] = Trial(
                config=content,
                gamma=gamma,
                harmonic=sum(curve_of(detail).harmonic_at(gamma) for detail in details) / len(details),
                acc_seen=sum(scores_of(detail).acc_seen for detail in details) / len(details),
                acc_zsl=sum(scores_of(detail).acc_zsl for detail in details) / len(details),
            )
            with self.path.open("a") as stream:
                stream.write(json.dumps(asdict(self.known[key])) + "\n")
        return self.known[key]


class Trainer:
    """Models of configurations; what one shares with an earlier one on the same rows and seed is not trained again.

    Variants of Table III that differ in their classifiers alone have one generator; fusion weights need no training.
    """

    def __init__(self) -> None:
        self.trainings = 0  # times that something slow was trained
        self._synthesizers: dict[tuple[str, int, str], Synthesizer] = {}
        self._models: dict[tuple[str, int, str], DCRGAN] = {}

    def model(
        self,
        method: Method,
        train: TrainSplit,
        config: Any,
        *,
        seed: int,
        log: Log = silent,
        folder: Path | None = None,
    ) -> ZeroShotModel:
        """A trained model; with `folder` the steps of a GAN are kept there for configurations with more of them."""
        if not isinstance(config, DCRGANConfig):
            self.trainings += 1
            return method.train(train, config, seed=seed, log=log)
        made = self._synthesizer(train, config, seed, log, folder)
        unweighted = replace(config.classifiers, weight_vs=1.0, weight_ss=1.0, weight_srs=1.0)
        key = _fingerprint(train), seed, _name(replace(config, classifiers=unweighted))
        if key not in self._models:
            self._models[key] = fit_classifiers(made, config.classifiers, log=log)
        train.reads.extend(read for read in made.train.reads if read not in train.reads)
        model = copy.copy(self._models[key])
        model.config = config.classifiers
        return model

    def _synthesizer(
        self, train: TrainSplit, config: DCRGANConfig, seed: int, log: Log, folder: Path | None
    ) -> Synthesizer:
        config = replace(config, classifiers=ClassifierConfig())
        key = _fingerprint(train), seed, _name(config)
        if key not in self._synthesizers:
            self.trainings += 1
            if folder is None:
                self._synthesizers[key] = train_synthesizer(train, config, seed=seed, log=log)
                return self._synthesizers[key]
            # More steps of the same GAN go on from where fewer have ended: the journal's name leaves them out.
            name = _name(replace(config, gan=replace(config.gan, steps=0)))
            journal = Journal(folder / f"{key[0][:6]}-{name[:12]}" / "metrics.jsonl", run=name)
            try:
                self._synthesizers[key] = train_synthesizer(train, config, seed=seed, log=journal)
            except StepsBehind:
                journal.clear()
                self._synthesizers[key] = train_synthesizer(train, config, seed=seed, log=journal)
        return self._synthesizers[key]


def _name(config: Any) -> str:
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()


def _fingerprint(train: TrainSplit) -> str:
    return hashlib.sha256(train.features.cpu().numpy().tobytes() + train.attributes.cpu().numpy().tobytes()).hexdigest()


def _flat_rounds(method: Method) -> list[Mapping[str, Any]]:
    return [overrides for tried in method.rounds for overrides in tried]
