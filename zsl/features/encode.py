"""Encode photos to features with a backbone, which may be compiled, and write batches to part files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from backbones import Backbone, compile_backbone
from shards import Shard
from zsl.features.parts import Part, Parts
from zsl.features.stream import Batch, Failure

Encode = Callable[[Tensor], Tensor]  # from uint8 [B, 3, H, W] or [B, 5, 3, H, W] to fp32 [B, D] on the device

log = logging.getLogger(__name__)


class _Row(NamedTuple):
    """The facts of a sample that a part needs, without the photo."""

    row: int
    label: int
    file: str
    tuned: bool  # whether the backbone was fine-tuned on the photo


def make_encoder(backbone: Backbone, accelerator: Accelerator, batch_size: int, compiled: bool) -> tuple[Encode, bool]:
    """Return the encoder in the precision and on the device of `accelerator`, and whether it is compiled.

    If compiling fails on this machine, the function logs a warning and returns the plain encoder.
    """
    backbone.encoder.to(accelerator.device)
    if compiled:
        encode = _compile(backbone, accelerator, batch_size)
        if encode is not None:
            return encode, True
    return (lambda images: _encode(backbone, accelerator, images)), False


def _encode(backbone: Backbone, accelerator: Accelerator, images: Tensor) -> Tensor:
    with torch.inference_mode(), accelerator.autocast():
        return backbone.encode(images.to(accelerator.device, non_blocking=True)).float()


def _compile(backbone: Backbone, accelerator: Accelerator, batch_size: int) -> Encode | None:
    """Compile the encoder; None if the compiler fails on a first photo."""
    faster = compile_backbone(backbone)

    def encode_padded(images: Tensor) -> Tensor:  # each batch has the same shape, so that nothing compiles twice
        padding = images.new_zeros(batch_size - len(images), *images.shape[1:])
        return _encode(faster, accelerator, torch.cat([images, padding]))[: len(images)]

    crops = () if backbone.transform.crops == 1 else (backbone.transform.crops,)
    try:
        encode_padded(torch.zeros(1, *crops, 3, *backbone.transform.size, dtype=torch.uint8))
    except Exception as error:  # the compiler's errors have no common type, and all of them mean the same here
        log.warning("--compile does not work here (%s); going on without", str(error).strip().splitlines()[0])
        return None
    return encode_padded


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
            self.features.append(self.encode(images))
        self.rows += [
            _Row(sample.row, sample.label, sample.file, bool(self.tuned) and sample.photo_hash in self.tuned)
            for sample in batch.samples
        ]
        self.failures += batch.failures

    def write(self, shard: Shard) -> None:
        """Write the part of the shard, and begin the next one."""
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
