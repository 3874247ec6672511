"""A finished run on the tiny drawn benchmark, for tests of what is made from one."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator
from tiny_configs import TINY

from zsl.experiments.calibration import Gamma
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.features.load import load_splits
from zsl.features.split import split_features
from zsl.features.table import read_features


def finish_run(
    data: Path,
    features: Path,
    folder: Path,
    accelerator: Accelerator,
    *,
    method: str = "dcrgan",
    seeds: tuple[int, ...] = (0, 1),
    published: bool = False,
    fold: int | None = None,
    gamma: Gamma = 0.0,
) -> Path:
    """Train and score `method` on the table in `features`, whose benchmark lies below `data`."""
    table = read_features(features)
    splits = load_splits("shapes", data, table, fold=fold)
    train, test = split_features(table, splits)
    made = Experiment(table=table, splits=splits, train=train, test=test, seeds=seeds, accelerator=accelerator)
    found = find_method(method, TINY)
    config = found.configured(found.config)
    if published:
        made.published(found, config, folder, gamma=gamma, every=2)
    else:
        made.honest(found, config, folder, gamma=gamma)
    return folder
