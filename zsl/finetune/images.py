"""Photos of trainval rows, decoded once and kept.  Photos of other rows are never decoded."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

import backbones
from shards import Location, Sample, ShardIndex, shard_samples
from zsl.common.progress import progress_bar
from zsl.common.room import reserve
from zsl.datasets.split_file import rows_hash
from zsl.datasets.splits import Splits
from zsl.features.manifest import Manifest, Source
from zsl.features.table import FeatureTable

EVALUATION_BATCH = 64  # photos that are encoded at a time where nothing is trained


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainImages:
    """The photos of all trainval rows, each in several sizes, and their class ids."""

    rows: np.ndarray  # [N] official rows, rising
    labels: np.ndarray  # [N] class ids
    photo_hashes: tuple[str, ...]  # of N photos
    sizes: tuple[Tensor, ...]  # uint8 [N, 3, h, w], one a transform

    @property
    def rows_hash(self) -> str:
        """Six hex digits of the rows that were read, comparable with the trainval hash of a split file."""
        return rows_hash(self.rows)

    def position(self, rows: np.ndarray) -> np.ndarray:
        """The place of each of `rows` [n] among these photos [n].

        Raises:
            ValueError: a row is not one of these.
        """
        if not np.isin(rows, self.rows).all():
            raise ValueError(f"row {int(np.setdiff1d(rows, self.rows)[0])} is no trainval row; its photo was not read")
        return np.searchsorted(self.rows, rows)


def read_rows(
    location: Location, index: ShardIndex, backbone: backbones.Backbone | None = None, *, allow_pipe: bool = False
) -> tuple[FeatureTable, dict[int, str]]:
    """Rows and labels of all photos in the shards, and the hash of each photo by row; nothing is decoded.

    Rows and labels are a table without features, from which `load_splits` makes splits.

    backbone: the encoder to start from, if any.  By the facts of its fine-tuning, if it had one, `load_splits` refuses
    test rows and validation classes that it knows.
    """
    rows, labels, hashes = list[int](), list[int](), dict[int, str]()
    known = backbone.tuned_photos if backbone else frozenset()
    facts = backbone.finetuned if backbone else None
    for sample in _samples(location, index, first=0, last=index.total, allow_pipe=allow_pipe):
        rows.append(sample.row)
        labels.append(sample.label)
        hashes[sample.row] = sample.photo_hash
    source = Source.read(index.source, f"the index of the shards of {index.benchmark}: source")
    order = np.argsort(rows)
    manifest = Manifest.in_memory(index.benchmark, source=source, finetuned=facts, count=len(rows), dim=0)
    tuned_rows = sorted(row for row, photo_hash in hashes.items() if photo_hash in known)
    table = FeatureTable(
        features=np.zeros((len(rows), 0), np.float32),
        labels=np.array(labels)[order],
        rows=np.array(rows)[order],
        manifest=manifest,
        tuned_rows=np.array(tuned_rows, dtype=np.int64) if known else None,
    )
    return table, hashes


def load_train_images(
    location: Location, index: ShardIndex, splits: Splits, transforms: Sequence[backbones.Transform], *,
    memory: float = 4e9, allow_pipe: bool = False,
) -> TrainImages:  # fmt: skip
    """Decode each trainval photo of `splits` once, and keep it in the size of each of `transforms`.

    memory: photos of more bytes than this lie in an unnamed temporary file, which ends with the process.

    Raises:
        ValueError: a trainval row is not in the shards, or its photo cannot be decoded.
        OSError: the folder for temporary files has no room.
    """
    rows = splits.trainval_loc
    need = sum(3 * t.size[0] * t.size[1] for t in transforms) * len(rows)
    stores = tuple(_store((len(rows), 3, *t.size), in_memory=need <= memory) for t in transforms)
    labels, photo_hashes = np.full(len(rows), -1), [""] * len(rows)
    threads = max(1, torch.get_num_threads())
    wanted = set(rows.tolist())

    def decode(sample: Sample) -> list[Tensor]:
        try:
            image = backbones.decode_image(sample.image, sample.box)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"row {sample.row} ({sample.file}) cannot be decoded: {error}") from error
        return [transform(image) for transform in transforms]

    everything = _samples(location, index, int(rows[0]), int(rows[-1]), allow_pipe=allow_pipe)
    samples = (sample for sample in everything if sample.row in wanted)
    with (
        progress_bar(total=len(rows), what="photos of seen classes", unit=" images") as bar,
        ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        while some := list(islice(samples, 16 * threads)):
            for sample, views in zip(some, pool.map(decode, some), strict=True):
                at = int(np.searchsorted(rows, sample.row))
                labels[at], photo_hashes[at] = sample.label, sample.photo_hash
                for store, view in zip(stores, views, strict=True):
                    store[at] = view
            bar.update(len(some))
    if (labels < 0).any():
        raise ValueError(
            f"the shards have no row {rows[labels < 0][0]} ({int((labels < 0).sum())} trainval rows absent)"
        )
    return TrainImages(rows=rows, labels=labels, photo_hashes=tuple(photo_hashes), sizes=stores)


def _store(shape: tuple[int, ...], *, in_memory: bool) -> Tensor:
    if in_memory:
        return torch.empty(shape, dtype=torch.uint8)
    with tempfile.TemporaryFile() as file:  # the mapping outlives the handle
        reserve(file, math.prod(shape))
        return torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=shape))


def _samples(location: Location, index: ShardIndex, first: int, last: int, *, allow_pipe: bool) -> Iterator[Sample]:
    """Samples of all shards that may hold a row from `first` to `last`."""
    for shard in index.shards:
        if shard.first_row <= last and shard.last_row >= first:
            yield from shard_samples(location, shard, allow_pipe=allow_pipe)
