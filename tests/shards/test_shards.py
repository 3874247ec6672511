"""Shards: the original bytes and facts come back, equal input gives equal bytes, damage is never silent."""

import errno
import hashlib
import io
import json
import os
import resource
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from shards import Sample, ShardIndex, read_index, read_shard, shard_samples, write_shards
from zsl.datasets.instances import Instance

ROWS = [0, 1, 4, 7, 8, 9, 123_456]  # a benchmark with missing photos has gaps


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Files of random bytes: what is packed is never decoded."""
    folder = tmp_path / "raw"
    rng = np.random.default_rng(0)
    for row in ROWS:
        path = folder / f"some class/photo.v{row}.JPG"  # a dot, a space and capitals must not matter
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.bytes(int(rng.integers(300, 3000))))
    return folder


def instances() -> list[Instance]:
    boxes = {4: (0, 2, 30, 41)}
    return [Instance(row, row % 5, "some class", f"some class/photo.v{row}.JPG", boxes.get(row)) for row in ROWS]


def pack(photos: Path, out: Path, wanted: list[Instance] | None = None, shard_size: int = 3) -> ShardIndex:
    return write_shards(
        instances() if wanted is None else wanted,
        photos,
        out,
        benchmark="toy",
        total=200_000,
        source={"verdict": "toy", "missing": 3},
        shard_size=shard_size,
    )


def unpack(folder: Path) -> list[Sample]:
    return [sample for shard in read_index(folder).shards for sample in read_shard(folder / shard.file)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_samples_come_back_byte_for_byte_and_fact_for_fact(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "shards")
    expected = [
        Sample(instance.row, instance.label, instance.file, (photos / instance.file).read_bytes(), instance.box)
        for instance in instances()
    ]
    assert unpack(tmp_path / "shards") == expected


def test_a_box_is_kept_and_its_absence_too(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "shards")
    assert [sample.box for sample in unpack(tmp_path / "shards")] == [
        None,
        None,
        (0, 2, 30, 41),
        None,
        None,
        None,
        None,
    ]


def test_any_tar_reader_finds_the_documented_members(photos: Path, tmp_path: Path) -> None:
    index = pack(photos, tmp_path / "shards")
    names: list[str] = []
    facts: list[bytes] = []
    images: list[bytes] = []
    for shard in index.shards:
        with tarfile.open(tmp_path / "shards" / shard.file) as tar:
            for member in tar.getmembers():
                content = (tar.extractfile(member) or pytest.fail(member.name)).read()
                names.append(member.name)
                assert member.mtime == 0
                (facts if member.name.endswith(".json") else images).append(content)
    assert names == [f"{row:08d}.{suffix}" for row in ROWS for suffix in ("jpg", "json")]
    assert images == [(photos / instance.file).read_bytes() for instance in instances()]
    for text, instance in zip(facts, instances(), strict=True):
        box = {"box": list(instance.box)} if instance.box else {}
        expected = {"row": instance.row, "label": instance.label, "class": instance.class_name, "file": instance.file}
        assert json.loads(text) == expected | box


def test_the_index_counts_and_hashes_what_is_there(photos: Path, tmp_path: Path) -> None:
    made = pack(photos, tmp_path / "shards")
    index = read_index(tmp_path / "shards")
    assert index == made
    assert (index.benchmark, index.count, index.total) == ("toy", 7, 200_000)
    assert index.source == {"verdict": "toy", "missing": 3}
    assert [(shard.file, shard.count, shard.first_row, shard.last_row) for shard in index.shards] == [
        ("shard-000000.tar", 3, 0, 4),
        ("shard-000001.tar", 3, 7, 9),
        ("shard-000002.tar", 1, 123_456, 123_456),
    ]
    for shard in index.shards:
        assert shard.sha256 == hashlib.sha256((tmp_path / "shards" / shard.file).read_bytes()).hexdigest()


def test_equal_input_gives_equal_bytes_whenever_and_by_whomever(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "once")
    for number, path in enumerate(sorted(photos.rglob("*.JPG"))):
        os.utime(path, (number * 1e8, number * 1e8))
        path.chmod(0o600)
    pack(photos, tmp_path / "again")
    assert contents(tmp_path / "once") == contents(tmp_path / "again")


def test_a_changed_photo_changes_only_its_shard_and_the_hash_of_all(photos: Path, tmp_path: Path) -> None:
    before = pack(photos, tmp_path / "once")
    (photos / instances()[3].file).write_bytes(b"other")
    after = pack(photos, tmp_path / "again")
    changed = [a.file for a, b in zip(before.shards, after.shards, strict=True) if a != b]
    assert changed == ["shard-000001.tar"]
    assert before.sha256 != after.sha256


def test_the_hash_of_all_depends_on_the_bytes_only(photos: Path, tmp_path: Path) -> None:
    made = pack(photos, tmp_path / "shards")
    assert replace(made, source={"made": "elsewhere"}).sha256 == made.sha256


def test_an_interrupted_run_leaves_no_index_and_no_half_shard(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    pack(photos, out)  # a whole earlier run, which must not vouch for what comes
    whole = contents(out)
    (photos / instances()[4].file).unlink()
    with pytest.raises(FileNotFoundError, match=r"photo\.v8"):
        pack(photos, out)
    with pytest.raises(FileNotFoundError, match=r"no index\.json in .*make_shards"):
        read_index(out)
    left = contents(out)
    assert left == {name: whole[name] for name in left}


@pytest.mark.parametrize("limit", [2_000, 10_240, 30_720])  # bytes a file: the first shard, a later one, the index
def test_a_full_disk_names_the_file_and_leaves_nothing_half_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    out = tmp_path / "shards"
    if limit == 30_720:  # no index is so large, but a disk may be full by then
        monkeypatch.setattr(Path, "write_text", Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match=r"(File too large|No space left).*shards/(shard-00000\d\.tar|index\.json)'$"):
            pack(photos, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [name for name in contents(out) if not name.endswith(".tar")]


def test_what_a_killed_packing_left_is_removed_by_the_next(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "shard-000007.tmp").write_bytes(b"half a shard of a longer packing")
    pack(photos, tmp_path / "shards", shard_size=4)
    assert sorted(contents(tmp_path / "shards")) == ["index.json", "shard-000000.tar", "shard-000001.tar"]


def test_a_photo_that_the_disk_does_not_give_is_named(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=OSError(errno.EIO, os.strerror(errno.EIO))))
    with pytest.raises(OSError, match=r"Input/output error: .*some class/photo\.v0\.JPG"):
        pack(photos, tmp_path / "shards")


def test_shards_of_an_earlier_longer_run_are_removed(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "shards", shard_size=1)
    pack(photos, tmp_path / "shards", shard_size=4)
    assert sorted(contents(tmp_path / "shards")) == ["index.json", "shard-000000.tar", "shard-000001.tar"]


def test_an_empty_photo_is_refused_by_name(photos: Path, tmp_path: Path) -> None:
    (photos / instances()[2].file).write_bytes(b"")
    with pytest.raises(ValueError, match=r"photo\.v4\.JPG is empty \(row 4\)"):
        pack(photos, tmp_path / "shards")


def test_an_index_of_another_format_is_refused(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "shards")
    path = tmp_path / "shards" / "index.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match="has format 99, this version reads 1"):
        read_index(tmp_path / "shards")


# --- damage ----------------------------------------------------------------------------------------------------------


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def facts(row: int, **changes: Any) -> bytes:
    return json.dumps({"row": row, "label": 0, "class": "c", "file": "f.jpg"} | changes).encode()


@pytest.mark.parametrize("absent", ["jpg", "json"])
def test_a_sample_that_lacks_a_member_is_an_error(tmp_path: Path, absent: str) -> None:
    members = {"00000001.jpg": b"x", "00000001.json": facts(1), "00000002.jpg": b"y", "00000002.json": facts(2)}
    del members[f"00000002.{absent}"]
    with pytest.raises(ValueError, match=rf"sample 00000002 in .*shard\.tar has no \.{absent}"):
        list(read_shard(write_tar(tmp_path / "shard.tar", members)))


def test_a_row_that_contradicts_its_key_is_an_error(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "shard.tar", {"00000001.jpg": b"x", "00000001.json": facts(7)})
    with pytest.raises(ValueError, match=r"sample 00000001 in .*shard\.tar says that it is row 7"):
        list(read_shard(shard))


def cut_in_a_photo(tar: bytes, offset: int) -> bytes:
    return tar[: offset + 512 + 100]


def cut_in_a_header(tar: bytes, offset: int) -> bytes:
    return tar[: offset + 256]


def cut_between_samples(tar: bytes, offset: int) -> bytes:
    return tar[:offset]


def flip_a_header_byte(tar: bytes, offset: int) -> bytes:
    return tar[:offset] + bytes([tar[offset] ^ 0xFF]) + tar[offset + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        cut_in_a_photo,
        cut_in_a_header,
        cut_between_samples,
        flip_a_header_byte,
    ],
)
def test_a_damaged_shard_never_looks_like_a_shorter_one(
    photos: Path, tmp_path: Path, damage: Callable[[bytes, int], bytes]
) -> None:
    index = pack(photos, tmp_path / "shards")
    shard = tmp_path / "shards" / index.shards[0].file
    with tarfile.open(shard) as tar:
        third = tar.getmember(f"{ROWS[2]:08d}.jpg").offset
    shard.write_bytes(damage(shard.read_bytes(), third))
    with pytest.raises(ValueError, match=r"shard-000000\.tar is not the file that index\.json describes"):
        list(shard_samples(tmp_path / "shards", index.shards[0]))


def test_a_file_that_is_no_tar_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(ValueError, match=r"shard\.tar is damaged"):
        list(read_shard(tmp_path / "shard.tar"))


def test_the_name_of_a_shard_is_never_run_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        list(read_shard(Path("pipe:touch pwned")))
    assert not (tmp_path / "pwned").exists()
