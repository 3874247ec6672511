"""Everything that is chosen is chosen here, on validation folds, in which no test row occurs.

A search by rounds: each tries some values on the best configuration so far, trained on every fold; then one γ for
calibrated stacking.  Trials are kept, so that a killed search goes on where it was.  The outcome is a file that a run
reads.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from zsl.curves import choose_gamma
from zsl.data import describe_features
from zsl.dcrgan import DCRGANConfig, Synthesizer, fit_classifiers, train_synthesizer
from zsl.evaluate import Details, ZeroShotModel, curve_of, evaluate_details, scores_of
from zsl.features import TestSplit, TrainSplit
from zsl.files import read_json, read_json_lines, write_json, write_text
from zsl.journal import Journal, StepsBehind
from zsl.methods import METHOD_VERSION, Method, flatten, override
from zsl.progress import progress_bar
from zsl.run import first_difference
from zsl.splits import attributes_hash
from zsl.stages import Log, silent
from zsl.stages.classifiers import DCRGAN, ClassifierConfig

SELECTION_FILE, TRIALS_FILE, CALIBRATION_FILE = "selection.json", "trials.jsonl", "calibration.jsonl"
KEPT = 16  # models and generators that a Trainer keeps: those of five seeds, three folds and several calibration folds
Goal = Literal["harmonic", "acc_zsl", "acc_seen"]
Folds = Mapping[int, tuple[TrainSplit, TestSplit]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration on all folds."""

    config: dict[str, Any]  # without γ
    gamma: float  # the one γ for all folds with the highest mean H; all of it, whatever γ a recipe has
    harmonic: float  # mean over folds at that γ
    acc_seen: float  # mean over folds without γ
    acc_zsl: float  # mean over folds


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the folds chose."""

    method: str
    method_version: int
    benchmark: str
    backbone: str
    features: dict[str, Any]  # what tells the feature table from another of the same backbone
    attributes_hash: str
    goal: Goal
    seed: int
    folds: dict[str, dict[str, str]]  # hashes of the rows of each fold's parts, and of what it trains on
    trials: int
    best: Trial
    gamma: float  # to be taken off the scores of seen classes
    calibration_folds: dict[str, dict[str, str]]  # those that chose γ; none: `folds` did
    calibration: Trial | None  # the best configuration on them

    def config(self, method: Method) -> Any:
        """The chosen configuration of `method`, without γ: that is `gamma`."""
        return override(method.config, flatten(self.best.config))


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


def read_selection(path: Path, method: Method, manifest: Mapping[str, Any], attributes: Tensor) -> Selection:
    """The outcome of a search for `method`, for a run on the features and class attributes that it was made with.

    Variants of DCR-GAN take what was chosen for `dcrgan` too, unless they have a search, or need a γ, of their own.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it was made on other features or attributes, for another method, or by another version of it.
    """
    path = path / SELECTION_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no selection {path}; scripts/choose.py makes it")
    content = read_json(path)
    of_attributes = {"attributes_hash": attributes_hash(attributes.cpu().numpy())}
    for key, given in (describe_features(manifest) | of_attributes).items():
        if content.get(key) != given:
            what, difference = key.split("_")[0], first_difference(content.get(key), given, key)
            raise ValueError(f"{path} was chosen on other {what} ({difference}); choose on these with another --name")
    if content.get("method_version") != METHOD_VERSION:
        raise ValueError(f"{path} was chosen by another version of this program; choose anew with another --name")
    fitting = {method.name} | (set() if method.own_search or method.own_scale else {"dcrgan"})
    if content["method"] not in fitting:
        raise ValueError(
            f"{path} was chosen for {content['method']}, this run is of {method.name}; it takes a selection of "
            f"{' or '.join(sorted(fitting))}"
        )
    calibration = content["calibration"]
    return Selection(
        **content | {"best": Trial(**content["best"]), "calibration": calibration and Trial(**calibration)}
    )


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


class Trainer:
    """Models of configurations; what one shares with an earlier one on the same rows and seed is not trained again.

    Variants of Table III that differ in their classifiers alone have one generator; fusion weights need no training.
    The log of a model is the same whether it shares something or not.
    """

    def __init__(self) -> None:
        self.trainings = 0  # times that something slow was trained
        self._synthesizers: dict[str, Synthesizer] = {}
        self._models: dict[str, DCRGAN] = {}
        self._logs: dict[str, list[dict[str, Any]]] = {}  # what a log had once a synthesizer or a model was trained
        self._data: dict[str, tuple[TrainSplit, str]] = {}  # splits that were seen, and their fingerprints

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
        if str(id(train)) not in self._data:  # the split is kept, so that its id stays its own
            _put(self._data, str(id(train)), (train, fingerprint(train)))
        data = self._data[str(id(train))][1]
        made = self._synthesizer(train, config, data, seed, log, folder)
        unweighted = replace(config.classifiers, weight_vs=1.0, weight_ss=1.0, weight_srs=1.0)
        key = _name(data, seed, replace(config, classifiers=unweighted))
        if key in self._models:
            log.repeat(self._logs[key])
        else:
            _put(self._models, key, fit_classifiers(made, config.classifiers, log=log))
            self._logs[key] = log.entries()
        train.reads.extend(read for read in made.train.reads if read not in train.reads)
        model = copy.copy(self._models[key])
        model.config = config.classifiers
        return model

    def on_folds(self, method: Method, folds: Folds, config: Any, *, seed: int, folder: Path) -> list[Details]:
        """What a model trained on each fold says about its pseudo-test rows, all of which are trainval rows."""
        models = [self.model(method, train, config, seed=seed, folder=folder) for train, _ in folds.values()]
        tests = [test for _, test in folds.values()]
        return [evaluate_details(model, test, lambda note: None) for model, test in zip(models, tests, strict=True)]

    def _synthesizer(
        self, train: TrainSplit, config: DCRGANConfig, data: str, seed: int, log: Log, folder: Path | None
    ) -> Synthesizer:
        config = replace(config, classifiers=ClassifierConfig())
        key = _name(data, seed, config)
        if key in self._synthesizers:
            log.repeat(self._logs[key])
            return self._synthesizers[key]
        self.trainings += 1
        # More steps of the same GAN go on from where fewer have ended: the journal's name leaves them out.
        name = _name(data, seed, replace(config, gan=replace(config.gan, steps=0)))
        kept = log if folder is None else Journal(folder / f"steps-{name[:12]}" / "metrics.jsonl", run=name)
        try:
            made = train_synthesizer(train, config, seed=seed, log=kept)
        except StepsBehind:
            if not isinstance(kept, Journal) or folder is None:
                raise
            kept.clear()
            made = train_synthesizer(train, config, seed=seed, log=kept)
        _put(self._synthesizers, key, made)
        self._logs[key] = log.entries()
        return made


def _put(kept: dict[str, Any], key: str, value: Any) -> None:
    """Keep the newest: each may hold a copy of all training features."""
    kept[key] = value
    while len(kept) > KEPT:
        del kept[next(iter(kept))]


def fingerprint(train: TrainSplit) -> str:
    """A hash of all numbers that training sees: features, labels, attributes, and which classes are seen."""
    digest = hashlib.sha256()
    for tensor in (train.features, train.labels, train.attributes, train.seen, train.unseen):
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().cpu().numpy().data)
    return digest.hexdigest()


def _trained_part(config: Any) -> str:
    """Equal for configurations of which one training does for all."""
    return _key(asdict(replace(config, classifiers=ClassifierConfig()) if isinstance(config, DCRGANConfig) else config))


def _key(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)


def _name(data: str, seed: int, config: DCRGANConfig) -> str:
    return hashlib.sha256(f"{data} {seed} {_key(asdict(config))}".encode()).hexdigest()


def _flat_rounds(method: Method) -> list[Mapping[str, Any]]:
    return [overrides for tried in method.rounds for overrides in tried]
