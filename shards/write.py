"""From instances to shards: original bytes, fixed time stamps, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import webdataset as wds

from shards.index import INDEX_FILE, Shard, ShardIndex, file_sha256

SHARD_SIZE = 256  # samples; about 30 MB of CUB, small enough to share out and to redo


class Instance(Protocol):
    """What is written: a row of a benchmark."""

    @property
    def row(self) -> int:
        """0-based official row."""
        ...

    @property
    def label(self) -> int:
        """Class id in [0, C)."""
        ...

    @property
    def class_name(self) -> str:
        """The class in words."""
        ...

    @property
    def file(self) -> str:
        """Path below the folder of raw photos."""
        ...

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """The part of the photo that counts; None: all of it."""
        ...


def write_shards(
    instances: Sequence[Instance],
    images: Path,
    out: Path,
    *,
    benchmark: str,
    total: int,
    source: dict[str, Any],
    shard_size: int = SHARD_SIZE,
    progress: Any = iter,
) -> ShardIndex:
    """Write `instances`, whose files lie below `images`, to `out` and return the index.

    Each shard and at last the index appear by renaming a finished temporary file, so an interrupted run leaves no
    index.  Shards of an earlier, longer version are removed.  `progress` wraps the iterable of shards.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / INDEX_FILE).unlink(missing_ok=True)
    groups = [instances[start : start + shard_size] for start in range(0, len(instances), shard_size)]
    shards = tuple(
        _write_shard(group, images, out / f"shard-{number:06d}.tar") for number, group in enumerate(progress(groups))
    )
    for stale in set(out.glob("shard-*.tar")) - {out / shard.file for shard in shards}:
        stale.unlink()
    index = ShardIndex(benchmark, len(instances), total, shards, source)
    temporary = out / f"{INDEX_FILE}.tmp"
    temporary.write_text(index.to_json())
    temporary.rename(out / INDEX_FILE)
    return index


def _write_shard(instances: Iterable[Instance], images: Path, path: Path) -> Shard:
    rows = []
    temporary = path.with_suffix(".tmp")  # left behind by a kill, written over by the next start
    # WebDataset stamps the clock unless told otherwise; owner and time are fixed so that equal input gives equal bytes.
    with temporary.open("wb") as stream, wds.TarWriter(stream, user="zsl", group="zsl", mtime=0) as tar:
        for instance in instances:
            tar.write(_members(instance, images))
            rows.append(instance.row)
    temporary.rename(path)
    return Shard(path.name, len(rows), rows[0], rows[-1], file_sha256(path))


def _members(instance: Instance, images: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "row": instance.row,
        "label": instance.label,
        "class": instance.class_name,
        "file": instance.file,
    }
    if instance.box is not None:
        facts["box"] = list(instance.box)
    image = (images / instance.file).read_bytes()
    if not image:
        raise ValueError(f"{images / instance.file} is empty (row {instance.row})")
    return {"__key__": f"{instance.row:08d}", "jpg": image, "json": json.dumps(facts, sort_keys=True).encode()}
