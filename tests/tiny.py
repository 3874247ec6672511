"""Shards of the tiny drawn benchmark, a rank played by a thread, and what it means that two tables are the same."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch

from shards import ShardIndex, read_index, write_shards
from zsl.datasets.benchmark import read_benchmark
from zsl.datasets.instances import Instance
from zsl.datasets.places import shards_folder
from zsl.features.table import FeatureTable


def tiny_instances(data: Path) -> list[Instance]:
    return read_benchmark("shapes", data / "shapes" / "raw", data / "shapes" / "raw").instances


def pack(data: Path, out: Path, count: int = 72, shard_size: int = 10) -> ShardIndex:
    """The first `count` photos of the tiny benchmark in many shards."""
    return write_shards(
        tiny_instances(data)[:count],
        data / "shapes" / "raw",
        out,
        benchmark="shapes",
        total=72,
        source=read_index(shards_folder(data, "shapes")).source,
        shard_size=shard_size,
    )


def assert_same_rows(table: FeatureTable, expected: FeatureTable) -> None:
    """Equal rows and labels; features equal to 1e-3 of their size.  Features of other photos are much farther apart."""
    count = len(table.rows)
    np.testing.assert_array_equal(table.rows, expected.rows[:count])
    np.testing.assert_array_equal(table.labels, expected.labels[:count])
    assert_close(np.asarray(table.features), np.asarray(expected.features[:count]))


def assert_close(features: np.ndarray, expected: np.ndarray) -> None:
    assert features.shape == expected.shape
    error = np.linalg.norm(features - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() < 1e-3


class Rank:
    """What `extract_features` asks of an Accelerator, for one of several processes that a thread plays."""

    mixed_precision = "no"
    device = torch.device("cpu")

    def __init__(self, index: int, barrier: threading.Barrier) -> None:
        self.process_index, self.num_processes = index, barrier.parties
        self.is_main_process = index == 0
        self.wait_for_everyone = barrier.wait

    def autocast(self) -> AbstractContextManager[None]:
        return nullcontext()
