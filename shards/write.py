"""Write instances as shards, with original bytes, fixed time stamps, and no half-written file under a final name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import webdataset as wds

from shards.index import INDEX_FILE, Shard, ShardIndex, file_sha256, rows_sha256

SHARD_SIZE = 256  # samples; 30 MB of CUB are small enough to give to several processes, and to repeat after a kill


class Instance(Protocol):
    """A row of a benchmark, with the facts that `write_shards` needs."""

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
        """The name of the class."""
        ...

    @property
    def file(self) -> str:
        """Path below the folder of raw photos."""
        ...

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """The part of the photo that belongs to the row, x0, y0, x1, y1 in pixels; None: the whole photo."""
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
    """Write `instances`, whose files are below `images`, to `out`, and return the index.

    The function writes each shard, and then the index, under a temporary name and renames it, so that an interrupted
    run leaves no index, and nothing half-written under a final name.  It removes shards of an earlier, longer version.
    `progress` wraps the iterable of shards.

    Raises:
        FileNotFoundError: a photo is absent.
        OSError: the disk is full, a photo cannot be read, or the like; the error names the file.
        ValueError: a photo is empty.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / INDEX_FILE).unlink(missing_ok=True)
    for unfinished in out.glob("*.tmp"):  # of a killed process
        unfinished.unlink()
    groups = [instances[start : start + shard_size] for start in range(0, len(instances), shard_size)]
    shards = tuple(
        _write_shard(group, images, out / f"shard-{number:06d}.tar") for number, group in enumerate(progress(groups))
    )
    for stale in set(out.glob("shard-*.tar")) - {out / shard.file for shard in shards}:
        stale.unlink()
    index = ShardIndex(benchmark, len(instances), total, shards, source)
    with _whole_or_absent(out / INDEX_FILE) as temporary:
        temporary.write_text(index.to_json(), encoding="utf-8")
    return index


@contextmanager
def _whole_or_absent(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which gets this name after the block, or is removed after an error.

    Raises:
        OSError: of the block; an error without a file, such as that of a full disk, names `path`.
    """
    temporary = path.with_suffix(".tmp")
    with _naming(path):
        try:
            yield temporary
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an OSError of the block name `path`, if it names no file."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _write_shard(instances: Iterable[Instance], images: Path, path: Path) -> Shard:
    """Write one tar file and return its line of the index."""
    rows = []
    # WebDataset writes the current time by default; a fixed owner and time give equal bytes for equal input.
    with (
        _whole_or_absent(path) as temporary,
        temporary.open("wb") as stream,
        wds.TarWriter(stream, user="zsl", group="zsl", mtime=0) as tar,
    ):
        for instance in instances:
            tar.write(_members(instance, images))
            rows.append(instance.row)
    return Shard(path.name, len(rows), min(rows), max(rows), file_sha256(path), rows_sha256(rows))


def _members(instance: Instance, images: Path) -> dict[str, Any]:
    """Make the two members of a sample: the photo, and its row, label, class and file."""
    facts: dict[str, Any] = {
        "row": instance.row,
        "label": instance.label,
        "class": instance.class_name,
        "file": instance.file,
    }
    if instance.box is not None:
        facts["box"] = list(instance.box)
    with _naming(images / instance.file):  # a disk's error while reading
        image = (images / instance.file).read_bytes()
    if not image:
        raise ValueError(f"{images / instance.file} is empty (row {instance.row})")
    return {"__key__": f"{instance.row:08d}", "jpg": image, "json": json.dumps(facts, sort_keys=True).encode()}
