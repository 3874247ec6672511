"""A finished run on the tiny drawn benchmark, for tests of what is made from one."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator
from test_dcrgan import TINY

from zsl.data import load_splits
from zsl.experiment import Experiment
from zsl.features import read_features, split_features
from zsl.methods import find_method
from zsl.select import Trainer


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
) -> Path:
    """Train and score `method` on the table in `features`, whose benchmark lies below `data`."""
    table = read_features(features)
    splits = load_splits("shapes", data, table, fold=fold)
    train, test = split_features(table, splits)
    made = Experiment(table=table, splits=splits, train=train, test=test, seeds=seeds, accelerator=accelerator)
    found = find_method(method, TINY)
    config = found.configured(found.config)
    if published:
        made.published(found, config, folder, every=2)
    else:
        made.honest(found, config, folder, trainer=Trainer())
    return folder
