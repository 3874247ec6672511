"""Photos to features: a backbone as a function, compiled where that is wanted and works; and batches to part files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from backbones import Backbone, compile_backbone
from zsl.features.parts import Part, Parts
from zsl.features.stream import Batch

Encode = Callable[[Tensor], Tensor]  # uint8 [B, 3, H, W] or [B, 5, 3, H, W] to fp32 features [B, D] on the device

log = logging.getLogger(__name__)


def make_encoder(backbone: Backbone, accelerator: Accelerator, batch_size: int, compiled: bool) -> tuple[Encode, bool]:
    """The encoder in the precision of `accelerator`, on its device; and whether it is compiled.

    A compiler that does not work here costs a warning only: the encoder is then the plain one.
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
    """The compiled encoder; None where the compiler fails on a first photo."""
    faster = compile_backbone(backbone)

    def encode_padded(images: Tensor) -> Tensor:  # one shape, so that nothing is compiled twice
        padding = images.new_zeros(batch_size - len(images), *images.shape[1:])
        return _encode(faster, accelerator, torch.cat([images, padding]))[: len(images)]

    crops = () if backbone.transform.crops == 1 else (backbone.transform.crops,)
    try:
        encode_padded(torch.zeros(1, *crops, 3, *backbone.transform.size, dtype=torch.uint8))
    except Exception as error:  # a compiler's failures have no common type, and each of them means the same here
        log.warning("--compile does not work here (%s); going on without", str(error).strip().splitlines()[0])
        return None
    return encode_padded


def encode_shards(encode: Encode, batches: Iterator[Batch], parts: Parts, dim: int) -> Iterator[int]:
    """Write the part of each shard after its last batch; yields the number of images of each batch."""
    of_shard: list[Batch] = []
    features: list[Tensor] = []
    for batch in batches:
        if batch.images is not None:
            features.append(encode(batch.images))
        of_shard.append(batch)
        yield len(batch.samples)
        if batch.last:
            parts.write(batch.shard, _part(of_shard, features, dim))
            of_shard, features = [], []


def _part(batches: list[Batch], features: list[Tensor], dim: int) -> Part:
    """The part of one shard, from all its batches and their features [B, D]."""
    failures = tuple(failure for batch in batches for failure in batch.failures)
    of_shard = tuple(failure for failure in failures if failure.row is None)
    if of_shard:  # of a shard that cannot be read to its end nothing is kept
        nothing = np.zeros(0, dtype=np.int64)
        return Part(rows=nothing, labels=nothing, features=np.zeros((0, dim), np.float32), failures=of_shard)
    samples = [sample for batch in batches for sample in batch.samples]
    stacked = torch.cat(features).cpu().numpy() if features else np.zeros((0, dim), np.float32)
    if not np.isfinite(stacked).all():
        bad = samples[np.flatnonzero(~np.isfinite(stacked).all(axis=1))[0]]
        raise ValueError(
            f"row {bad.row} ({bad.file}) of {batches[0].shard.file} gave a feature that is not finite; "
            "try --precision no"
        )
    return Part(
        rows=np.array([sample.row for sample in samples], dtype=np.int64),
        labels=np.array([sample.label for sample in samples], dtype=np.int64),
        features=stacked,
        failures=failures,
    )
