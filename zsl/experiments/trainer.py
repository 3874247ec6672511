"""Models of configurations, each part trained once however many configurations share it."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from zsl.dcrgan.classifiers import DCRGAN, ClassifierConfig
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import Synthesizer, fit_classifiers, train_synthesizer
from zsl.experiments.methods import Method
from zsl.features.split import TestSplit, TrainSplit
from zsl.scores.details import Details
from zsl.scores.evaluate import evaluate_details
from zsl.scores.model import ZeroShotModel
from zsl.training.journal import Journal, StepsBehind
from zsl.training.log import Log, silent

KEPT = 16  # models and generators that a Trainer keeps: those of five seeds, three folds and several calibration folds
Folds = Mapping[int, tuple[TrainSplit, TestSplit]]


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
