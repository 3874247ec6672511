"""Runs on the toy problem: its experiment, and the facts of a run that is not made by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from accelerate import Accelerator
from toy import toy_manifest, toy_splits, toy_table

from zsl.experiments.experiment import Experiment
from zsl.experiments.results import GammaFacts, RunFacts
from zsl.features.facts import describe_features

NO_GAMMA = GammaFacts(value=0.0, source="--gamma")
FACTS = RunFacts(
    benchmark="toy", backbone="b", pretraining="none", unseen_classes="unknown", data="toy", missing_photos=0,
    quarantined_photos=0, splits="toy", attributes="att", attributes_hash="a", rows={"trainval_loc": 240},
    classes={"seen": 16, "unseen": 4}, method="dcrgan", method_version=2,
    features=describe_features(toy_manifest()).features,
    protocol="honest: a fixed recipe, nothing chosen on a test row", inductive=True, gamma_asked=0.0, selection=None,
    config={"gan": {"steps": 5}},
)  # fmt: skip


def toy_experiment(accelerator: Accelerator, *, seeds: tuple[int, ...] = (0, 1), **manifest: Any) -> Experiment:
    """Both parts of the toy problem behind a feature table; `manifest` has other values for some of its fields."""
    table, splits = toy_table()
    train, test = toy_splits()
    whole = replace(table, manifest=toy_manifest(**manifest))
    return Experiment(table=whole, splits=splits, train=train, test=test, seeds=seeds, accelerator=accelerator)
