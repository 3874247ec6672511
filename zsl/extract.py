"""Shards to a feature table, every image exactly once, for any number of processes and after any kill.

A shard is the unit of work: whole shards go to ranks, and a finished shard is one part file that appears by renaming.
A restart skips the parts that are whole and fit; the merge proves that each row occurs once before the table appears.
Nothing but the model's arithmetic is Accelerate's: `accelerator.prepare` on an already divided stream of samples loses
or repeats some of them.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from backbones import Backbone, Transform, decode_image
from shards import Sample, Shard, ShardIndex, check_shard, read_shard
from zsl.features import FORMAT, MANIFEST_FILE
from zsl.files import atomic_path, read_json, write_json
from zsl.progress import progress_bar

PARTS_FOLDER = "parts"


def extract_features(
    backbone: Backbone, shards: Path, index: ShardIndex, out: Path, accelerator: Accelerator, *, batch_size: int = 32
) -> dict[str, Any]:
    """Make the feature table `out` from the shards of `index` in the folder `shards`; returns its manifest.

    Every process of `accelerator` calls this; all return when the table is whole.  A table that is there already and
    was made from the same input is left as it is.

    Raises:
        ValueError: `out` holds a table made from other input, a shard is not the index's, or a sample cannot be read
            (its shard, row and file are named).
    """
    origin = _origin(backbone, index, accelerator.mixed_precision)
    if (out / MANIFEST_FILE).is_file():
        return _check_origin(read_json(out / MANIFEST_FILE), origin, out)
    backbone.encoder.to(accelerator.device)
    parts = {shard: _part_path(out, shard, origin) for shard in index.shards}
    mine = index.shards[accelerator.process_index :: accelerator.num_processes]
    todo = [shard for shard in mine if not _is_whole(parts[shard], shard)]
    started = time.perf_counter()
    images = sum(shard.count for shard in todo)
    with progress_bar(
        total=sum(shard.count for shard in mine),
        initial=sum(shard.count for shard in mine) - images,
        what=f"extract {backbone.name}",
        unit=" images",
        show=accelerator.is_main_process,
    ) as bar:
        for shard in todo:
            path = check_shard(shards, shard)
            _write_part(parts[shard], *_encode_shard(backbone, path, accelerator, batch_size, bar))
    seconds = time.perf_counter() - started
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        speed = {"images_per_second": round(images / seconds, 1)} if images else {}
        _merge(parts, index, backbone.dim, out, origin | speed | {"processes": accelerator.num_processes})
    accelerator.wait_for_everyone()
    return read_json(out / MANIFEST_FILE)


def _origin(backbone: Backbone, index: ShardIndex, precision: str) -> dict[str, Any]:
    """All that the numbers in a table depend on, and what a reader wants to know about it."""
    crop = "the row's box" if "shared_photos" in index.source else "none, whole image"
    return {
        "format": FORMAT,
        "benchmark": index.benchmark,
        "source": index.source,
        "shards_sha256": index.sha256,
        "backbone": backbone.name,
        "pretraining": backbone.pretraining,
        "weights_sha256": backbone.weights_sha256,
        "transform": asdict(backbone.transform) | {"crop": crop},
        "precision": precision,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "timm": timm.__version__,
        },
        "count": index.count,
        "dim": backbone.dim,
    }


def _check_origin(manifest: dict[str, Any], origin: dict[str, Any], out: Path) -> dict[str, Any]:
    """The manifest of the table that is there, if it was made from what was given now; versions may differ."""
    for key in sorted(set(origin) - {"versions", "source"}):
        given = json.loads(json.dumps(origin[key]))
        if manifest.get(key) != given:
            raise ValueError(
                f"{out} was made with {key} = {manifest.get(key)!r}, asked for is {given!r}; "
                "delete that folder, or use another --data"
            )
    return manifest


def _part_path(out: Path, shard: Shard, origin: dict[str, Any]) -> Path:
    """A part's name holds the hash of what it is made from, so that a part of other input is never taken for it."""
    key = hashlib.sha256(json.dumps([origin, shard.sha256], sort_keys=True).encode()).hexdigest()[:12]
    return out / PARTS_FOLDER / f"{Path(shard.file).stem}-{key}.safetensors"


def _is_whole(path: Path, shard: Shard) -> bool:
    """The part is there; parts appear by renaming, so a readable one with the right count is whole."""
    if not path.is_file():
        return False
    with safe_open(path, framework="numpy") as part:
        return part.get_slice("rows").get_shape() == [shard.count]


def _write_part(path: Path, rows: np.ndarray, labels: np.ndarray, features: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        save_file({"rows": rows, "labels": labels, "features": features}, temporary)


def _encode_shard(
    backbone: Backbone, path: Path, accelerator: Accelerator, batch_size: int, bar: tqdm
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows [n], labels [n] and features [n, D] of one shard, in stored order."""
    rows, labels, features = [], [], []
    decoded = _decode_ahead(read_shard(path), backbone.transform, path, threads=max(2, torch.get_num_threads()))
    for batch in _batches(decoded, batch_size):
        images = torch.stack([image for _, image in batch])
        if accelerator.device.type == "cuda":
            images = images.pin_memory().to(accelerator.device, non_blocking=True)
        with torch.inference_mode(), accelerator.autocast():
            encoded = backbone.encode(images)
        features.append(encoded.float().cpu().numpy())
        rows += [sample.row for sample, _ in batch]
        labels += [sample.label for sample, _ in batch]
        bar.update(len(batch))
    stacked = np.concatenate(features)
    if not np.isfinite(stacked).all():
        bad = np.flatnonzero(~np.isfinite(stacked).all(axis=1))[0]
        raise ValueError(f"row {rows[bad]} of {path} gave a feature that is not finite; try --precision no")
    return np.array(rows, dtype=np.int64), np.array(labels, dtype=np.int64), stacked


def _decode_ahead(
    samples: Iterable[Sample], transform: Transform, path: Path, threads: int, ahead: int = 64
) -> Iterator[tuple[Sample, Tensor]]:
    """Samples with their images at input size, in order, decoded by threads while the model computes."""

    def decode(sample: Sample) -> Tensor:
        try:
            return transform(decode_image(sample.image, sample.box))
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"row {sample.row} ({sample.file}) in {path} cannot be decoded: {error}") from error

    waiting: deque[tuple[Sample, Future[Tensor]]] = deque()
    # One core a decoding thread: torch would otherwise give each of them a pool of its own, all on the same cores.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for sample in samples:
            waiting.append((sample, pool.submit(decode, sample)))
            if len(waiting) > ahead:
                ready, image = waiting.popleft()
                yield ready, image.result()
        for ready, image in waiting:
            yield ready, image.result()


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items; the last one may be shorter."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _merge(parts: dict[Shard, Path], index: ShardIndex, dim: int, out: Path, manifest: dict[str, Any]) -> None:
    """Put the parts together by row, prove that each row is there once, and let the table appear, manifest last."""
    absent = [shard.file for shard, path in parts.items() if not path.is_file()]
    if absent:
        raise ValueError(
            f"{len(absent)} shards have no part yet, the first is {absent[0]}; start the same command again"
        )
    rows = np.concatenate([load_file(path)["rows"] for path in parts.values()])
    labels = np.concatenate([load_file(path)["labels"] for path in parts.values()])
    values, counts = np.unique(rows, return_counts=True)
    if len(rows) != index.count or (counts > 1).any():
        repeated = values[counts > 1][:3].tolist()
        raise ValueError(
            f"{len(values)} of {index.count} rows were extracted, repeated are {repeated}; shards are damaged"
        )
    order = np.argsort(rows)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    with atomic_path(out / "features.npy") as temporary:
        table = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(len(rows), dim))
        start = 0
        for path in parts.values():
            features = load_file(path)["features"]
            table[place[start : start + len(features)]] = features
            start += len(features)
        table.flush()
    for name, values in (("rows", rows[order]), ("labels", labels[order])):
        with atomic_path(out / f"{name}.npy") as temporary, temporary.open("wb") as stream:
            np.save(stream, values, allow_pickle=False)
    write_json(out / MANIFEST_FILE, manifest)
    shutil.rmtree(out / PARTS_FOLDER)
