"""The record of a run's reads: the rows of each stage, and each opening of test rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zsl.common.files import append_text, write_json
from zsl.common.records import read_record
from zsl.features.split import RowsFacts, RowsRead, TestSplit
from zsl.scores.evaluate import Note, Record

READS_FILE, ACCESS_FILE = "rows_read.json", "test_access.jsonl"


def record_to(path: Path, seed: int) -> Record:
    """Make a Record that appends a line with time and seed to `path`; lines of earlier tests stay."""

    def record(note: Note) -> None:
        append_text(path, json.dumps({"time": datetime.now(UTC).isoformat(), "seed": seed} | note) + "\n")

    return record


def note_reads(reads: Sequence[RowsRead], test: TestSplit, folder: Path) -> None:
    """Write the rows that each stage could read into `folder`.

    Raises:
        ValueError: a stage could read a test row of the run.
    """
    test_rows = [part.rows for part in (test.seen, test.unseen) if part.rows is not None]
    for read in reads:
        common = np.intersect1d(read.rows.cpu().numpy(), np.concatenate([np.empty(0, np.int64), *test_rows]))
        if len(common):
            raise ValueError(f"{read.stage} was given {len(common)} test rows, the first is {common[0]}; not scored")
    write_json(folder / READS_FILE, {stage: asdict(facts) for stage, facts in _union(reads).items()})


def _union(reads: Sequence[RowsRead]) -> dict[str, RowsFacts]:
    """Join the rows of each stage's calls."""
    rows: dict[str, Tensor] = {}
    for read in reads:
        rows[read.stage] = torch.cat([rows.get(read.stage, read.rows[:0]), read.rows]).unique()
    return {stage: RowsRead(stage, union).facts for stage, union in rows.items()}


def rows_read(folder: Path, seeds: Sequence[int]) -> dict[str, RowsFacts]:
    """Read the rows of the first seed's stages; a seed with other rows adds its own entries."""
    joined: dict[str, RowsFacts] = {}
    for seed in seeds:
        path = folder / f"seed-{seed}" / READS_FILE
        for stage, facts in (_read(path) if path.is_file() else {}).items():
            if joined.setdefault(stage, facts) != facts:
                joined[f"{stage} (seed {seed})"] = facts
    return joined


def _read(path: Path) -> dict[str, RowsFacts]:
    return read_record(path, dict[str, RowsFacts], "delete the folder of this seed and start the command again")
