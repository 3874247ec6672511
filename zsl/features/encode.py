"""Encode batches of photos to features, and write the features of each shard to a part file."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from shards import Shard
from zsl.common.profile import span
from zsl.features.encoder import Encode
from zsl.features.parts import Part, Parts
from zsl.features.stream import Batch, Failure


class _Row(NamedTuple):
    """The facts of a sample that a part needs, without the photo."""

    row: int
    label: int
    file: str
    tuned: bool  # whether the backbone was fine-tuned on the photo


def encode_together(targets: Sequence[Target], batches: Iterator[Batch]) -> Iterator[int]:
    """Write each table's part of a shard after its last batch, and yield the number of images of each batch.

    The transforms of the tables' backbones, in this order, made the `images` and the `others` of each batch.
    """
    for batch in batches:
        views = [None] * len(targets) if batch.images is None else [batch.images, *batch.others]
        for target, images in zip(targets, views, strict=True):
            target.add(batch, images)
        shard, is_last, count = batch.shard, batch.last, len(batch.samples)
        del batch, views, images  # they hold the photos, and memory would grow with the shard
        yield count
        if is_last:
            for target in targets:
                target.write(shard)


@dataclass(kw_only=True)
class Target:
    """The table that the features of one backbone go to, and what is there of the shard that is read."""

    encode: Encode
    parts: Parts
    dim: int
    tuned: Container[str] = ()  # hashes of the photos that the backbone was fine-tuned on
    rows: list[_Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    features: list[Tensor] = field(default_factory=list)

    def add(self, batch: Batch, images: Tensor | None) -> None:
        """Encode the photos of a batch, which the backbone's transform has turned into `images`."""
        if images is not None:
            with span("model"):
                self.features.append(self.encode(images))
        self.rows += [
            _Row(sample.row, sample.label, sample.file, bool(self.tuned) and sample.photo_hash in self.tuned)
            for sample in batch.samples
        ]
        self.failures += batch.failures

    def write(self, shard: Shard) -> None:
        """Write the part of the shard, and begin the next one."""
        with span("writing"):
            self.parts.write(shard, _part(shard, self.rows, self.failures, self.features, self.dim))
        self.rows, self.failures, self.features = [], [], []


def _part(shard: Shard, rows: list[_Row], failures: list[Failure], features: list[Tensor], dim: int) -> Part:
    """Make the part of one shard from its rows and failures, and the features [B, D] of all its batches."""
    of_shard = tuple(failure for failure in failures if failure.row is None)
    if of_shard:  # the shard cannot be read to its end, so nothing of it is kept
        nothing = np.zeros(0, dtype=np.int64)
        return Part(
            rows=nothing, labels=nothing, features=np.zeros((0, dim), np.float32), tuned=nothing.astype(bool),
            failures=of_shard,
        )  # fmt: skip
    stacked = torch.cat(features).cpu().numpy() if features else np.zeros((0, dim), np.float32)
    if not np.isfinite(stacked).all():
        bad = rows[np.flatnonzero(~np.isfinite(stacked).all(axis=1))[0]]
        raise ValueError(
            f"row {bad.row} ({bad.file}) of {shard.file} gave a feature that is not finite; try --precision no"
        )
    return Part(
        rows=np.array([row.row for row in rows], dtype=np.int64),
        labels=np.array([row.label for row in rows], dtype=np.int64),
        features=stacked,
        tuned=np.array([row.tuned for row in rows], dtype=bool),
        failures=tuple(failures),
    )
