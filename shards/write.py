"""Write instances as shards: original bytes, fixed time stamps, no half-written file under a final name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import webdataset as wds

from shards.index import INDEX_FILE, Shard, ShardIndex, file_sha256, rows_sha256

SHARD_SIZE = 256  # samples; about 30 MB of CUB, small enough to share out and to redo


class Instance(Protocol):
    """A row of a benchmark, as `write_shards` takes it."""

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
        """The part of the photo that is the row, x0, y0, x1, y1 in pixels; None: the whole photo."""
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

    Each shard, and at last the index, is written under a temporary name and renamed, so that an interrupted run leaves
    no index.  The function removes shards of an earlier, longer version.  `progress` wraps the iterable of shards.

    Raises:
        FileNotFoundError: a photo is absent.
        ValueError: a photo is empty.
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
    temporary.write_text(index.to_json(), encoding="utf-8")
    temporary.rename(out / INDEX_FILE)
    return index


def _write_shard(instances: Iterable[Instance], images: Path, path: Path) -> Shard:
    """Write one tar file and return its line of the index."""
    rows = []
    temporary = path.with_suffix(".tmp")  # a kill leaves this file, the next start writes over it
    # WebDataset writes the time of day by default; a fixed owner and time give equal bytes for equal input.
    with temporary.open("wb") as stream, wds.TarWriter(stream, user="zsl", group="zsl", mtime=0) as tar:
        for instance in instances:
            tar.write(_members(instance, images))
            rows.append(instance.row)
    temporary.rename(path)
    return Shard(path.name, len(rows), min(rows), max(rows), file_sha256(path), rows_sha256(rows))


def _members(instance: Instance, images: Path) -> dict[str, Any]:
    """The two members of a sample: the photo, and its row, label, class and file."""
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
