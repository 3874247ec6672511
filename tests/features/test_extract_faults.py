"""Extraction where something is wrong or far away: bad photos and shards, full disks, URLs, commands, compilers."""

import csv
import errno
import io
import json
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast
from unittest.mock import Mock

import fsspec
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from command_line import run
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file
from scipy.io import loadmat
from tiny import Rank, assert_same_rows, pack, tiny_instances
from torch import Tensor

from backbones import Backbone
from shards import NoCopy, RemoteError, Shard, open_index, open_shard, read_index, read_samples
from shards.index import file_sha256
from zsl.common.files import write_json
from zsl.datasets.pack import open_shards
from zsl.datasets.places import shards_folder
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.facts import describe_data
from zsl.features.load import load_splits
from zsl.features.manifest import Manifest
from zsl.features.mat import import_mat
from zsl.features.merge import merge_parts
from zsl.features.parts import Part, Parts
from zsl.features.stream import OnError, _prefetch, stream_batches
from zsl.features.table import read_features


@pytest.fixture
def own_data(tiny_shapes: Path, tmp_path: Path) -> Path:
    """A copy of the tiny benchmark that may be spoiled."""
    shutil.copytree(tiny_shapes / "shapes", tmp_path / "shapes", ignore=shutil.ignore_patterns("features"))
    return tmp_path


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shards whose parts are written, in that order."""
    files: list[str] = []
    write = Parts.write

    def note(parts: Parts, shard: Shard, part: Part) -> None:
        files.append(shard.file)
        write(parts, shard, part)

    monkeypatch.setattr(Parts, "write", note)
    return files


def spoil(data: Path, row: int) -> Path:
    """Cut a photo short; returns its path."""
    path = data / "shapes" / "raw" / tiny_instances(data)[row].file
    path.write_bytes(path.read_bytes()[:700])
    return path


# --- quarantine ------------------------------------------------------------------------------------------------------


def read_quarantine(out: Path) -> list[dict[str, str]]:
    with (out / "quarantine.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_quarantine_finishes_the_rest_and_lists_what_is_left_out(
    own_data: Path, tiny_features: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    photos = [spoil(own_data, row) for row in (17, 19, 40)]
    index = pack(own_data, own_data / "shards")
    out = own_data / "out"
    manifest = extract_features(
        tiny_backbone,
        own_data / "shards",
        index,
        out,
        accelerator,
        ExtractSettings(on_error="quarantine", batch_size=4),
    )
    assert (manifest.count, manifest.quarantined) == (69, 3)
    listed = read_quarantine(out)
    assert [int(entry["row"]) for entry in listed] == [17, 19, 40]
    assert [entry["shard"] for entry in listed] == ["shard-000001.tar"] * 2 + ["shard-000004.tar"]
    assert all(str(photo).endswith(entry["file"]) for photo, entry in zip(photos, listed, strict=True))
    assert "700 bytes are not a whole image" in listed[0]["reason"]
    table = read_features(out, allow_incomplete=True)
    whole = read_features(tiny_features)
    assert table.rows.tolist() == [row for row in range(72) if row not in (17, 19, 40)]
    np.testing.assert_allclose(table.features, whole.features[table.rows], atol=1e-3)
    np.testing.assert_array_equal(table.labels, whole.labels[table.rows])


def test_a_table_without_any_photo_is_not_made(
    own_data: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    for row in range(72):
        spoil(own_data, row)
    index = pack(own_data, own_data / "shards")
    with pytest.raises(ValueError, match=r"none of the 72 photos can be read, .* first one: row 0 .*; mend the cause"):
        extract_features(
            tiny_backbone, own_data / "shards", index, own_data / "out", accelerator,
            ExtractSettings(on_error="quarantine"),
        )  # fmt: skip
    assert not (own_data / "out" / "manifest.json").exists()


def test_a_lack_of_memory_is_no_fault_of_a_photo(
    own_data: Path, tiny_backbone: Backbone, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **options: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("backbones.preprocess.resize", fail)
    index = pack(own_data, own_data / "shards")
    with pytest.raises(RuntimeError, match="can't allocate"):
        extract_features(
            tiny_backbone, own_data / "shards", index, own_data / "out", accelerator,
            ExtractSettings(on_error="quarantine"),
        )  # fmt: skip


def test_a_photo_too_narrow_for_a_crop_is_named(
    own_data: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    Image.new("RGB", (1, 60_000)).save(own_data / "shapes" / "raw" / tiny_instances(own_data)[5].file)
    index = pack(own_data, own_data / "shards")
    cropping = replace(tiny_backbone, transform=replace(tiny_backbone.transform, crop_pct=0.875))
    with pytest.raises(ValueError, match=r"row 5 .* 1 x 60,000 pixels are too narrow for --crop-pct"):
        extract_features(cropping, own_data / "shards", index, own_data / "out", accelerator)


def test_training_refuses_an_incomplete_table_unless_told(
    own_data: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    spoil(own_data, 3)
    shards, out = shards_folder(own_data, "shapes"), own_data / "out"
    index = pack(own_data, shards)
    extract_features(tiny_backbone, shards, index, out, accelerator, ExtractSettings(on_error="quarantine"))
    with pytest.raises(ValueError, match=r"lacks 1 photos .* its quarantine\.csv; .*--allow-incomplete"):
        read_features(out)
    table = read_features(out, allow_incomplete=True)
    splits = load_splits("shapes", own_data, table)
    assert 3 not in np.concatenate([splits.trainval_loc, splits.test_seen_loc, splits.test_unseen_loc])
    assert "1 photos QUARANTINED" in describe_data(table, splits).data
    spoil(own_data, 4)
    pack(own_data, shards)
    with pytest.raises(ValueError, match=r"have 71 rows of shards .*; start scripts/extract\.py again"):
        load_splits("shapes", own_data, table)


def test_an_incomplete_table_is_exported_with_its_rows(own_data: Path, tiny_weights: Path) -> None:
    spoil(own_data, 3)
    pack(own_data, shards_folder(own_data, "shapes"))
    words = ("--data", own_data, "--backbone", "test_vit", "--weights", tiny_weights, "--precision", "no")
    file = own_data / "some.mat"
    process = run("extract.py", *words, "--on-error", "quarantine", "--export-mat", file)
    assert process.returncode == 0, process.stderr
    assert loadmat(file)["rows"].ravel().tolist() == [row + 1 for row in range(72) if row != 3]
    folder, _ = import_mat(file, "shapes", own_data)
    assert read_features(folder).rows.tolist() == [row for row in range(72) if row != 3]


def test_mended_photos_complete_the_table_and_only_their_shards_are_computed_again(
    own_data: Path,
    tiny_features: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
    written: list[str],
) -> None:
    photo = own_data / "shapes" / "raw" / tiny_instances(own_data)[17].file
    whole = photo.read_bytes()
    spoil(own_data, 17)
    index = pack(own_data, own_data / "shards")
    out = own_data / "out"
    extract_features(
        tiny_backbone, own_data / "shards", index, out, accelerator, ExtractSettings(on_error="quarantine")
    )
    again = extract_features(
        tiny_backbone, own_data / "shards", index, out, accelerator, ExtractSettings(on_error="quarantine")
    )
    assert again.quarantined == 1  # an incomplete table is what was asked for
    with pytest.raises(ValueError, match=r"row 17 .* cannot be decoded"):
        extract_features(tiny_backbone, own_data / "shards", index, out, accelerator)

    photo.write_bytes(whole)
    mended = pack(own_data, own_data / "shards")
    written.clear()
    manifest = extract_features(tiny_backbone, own_data / "shards", mended, out, accelerator)
    assert written == ["shard-000001.tar"]
    assert (manifest.count, manifest.quarantined) == (72, 0)
    assert_same_rows(read_features(out), read_features(tiny_features))
    assert sorted(path.name for path in out.iterdir()) == [
        "features.npy", "labels.npy", "manifest.json", "rows.npy",
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["absent", "other bytes", "cut short"])
def test_a_damaged_shard_is_refused_and_may_be_quarantined_as_a_whole(
    own_data: Path, tiny_backbone: Backbone, accelerator: Accelerator, damage: str
) -> None:
    index = pack(own_data, own_data / "shards")
    shard = own_data / "shards" / "shard-000002.tar"
    content = shard.read_bytes()
    if damage == "absent":
        shard.unlink()
    else:
        shard.write_bytes(content[:4096] if damage == "cut short" else content[:-1] + b"x")
    given = tiny_backbone, own_data / "shards", index, own_data / "out", accelerator
    with pytest.raises((ValueError, FileNotFoundError), match=r"shard-000002\.tar"):
        extract_features(*given)
    manifest = extract_features(*given, ExtractSettings(on_error="quarantine"))
    assert (manifest.count, manifest.quarantined) == (62, 10)
    assert [(entry["shard"], entry["row"]) for entry in read_quarantine(own_data / "out")] == [("shard-000002.tar", "")]
    assert not set(range(20, 30)) & set(read_features(own_data / "out", allow_incomplete=True).rows.tolist())


def test_a_tar_that_breaks_off_leaves_no_rows_of_its_shard(
    own_data: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    """The index was made of the broken file, so that only reading it tells."""
    index = pack(own_data, own_data / "shards", count=30)
    shard = own_data / "shards" / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[:9000])
    broken = replace(index.shards[1], sha256=file_sha256(shard))
    index = replace(index, shards=(index.shards[0], broken, index.shards[2]))
    given = tiny_backbone, own_data / "shards", index, own_data / "out", accelerator
    manifest = extract_features(*given, ExtractSettings(on_error="quarantine", batch_size=2))
    assert manifest.quarantined == 10
    assert read_features(own_data / "out", allow_incomplete=True).rows.tolist() == [*range(10), *range(20, 30)]


# --- where shards lie ------------------------------------------------------------------------------------------------


def test_shards_at_a_url_give_the_same_table(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    pack(tiny_shapes, tmp_path / "shards")
    bucket = fsspec.filesystem("memory")
    bucket.put(str(tmp_path / "shards"), "/bucket/cub", recursive=True)
    index = open_shards("shapes", tmp_path, "memory://bucket/cub")
    extract_features(tiny_backbone, "memory://bucket/cub", index, tmp_path / "out", accelerator)
    assert_same_rows(read_features(tmp_path / "out"), read_features(tiny_features))

    bucket.pipe_file("/bucket/cub/shard-000003.tar", b"other bytes")
    with pytest.raises(ValueError, match=r"shard-000003\.tar at memory://bucket/cub is not the file"):
        extract_features(tiny_backbone, "memory://bucket/cub", index, tmp_path / "again", accelerator)
    with pytest.raises(ValueError, match=r"are of shapes, asked for is --benchmark cub"):
        open_shards("cub", tmp_path, "memory://bucket/cub")
    with pytest.raises(FileNotFoundError):
        open_index("memory://bucket/nothing")


def test_a_scheme_whose_package_is_absent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ValueError, match=r"s3://bucket/cub cannot be read: .*s3fs"):
        open_index("s3://bucket/cub")


def test_an_unknown_scheme_is_named_with_what_would_be_right() -> None:
    with pytest.raises(ValueError, match=r"foo://x cannot be read: Protocol not known: foo; .*s3://bucket/shards"):
        open_index("foo://x")


def test_a_command_runs_only_when_allowed(tiny_shapes: Path, tmp_path: Path) -> None:
    index = pack(tiny_shapes, tmp_path / "shards")
    location = f"pipe:touch {tmp_path}/ran; cat {tmp_path}/shards/{{file}}"
    with pytest.raises(ValueError, match=r"would run a command on this machine; --allow-pipe permits it"):
        open_index(location)
    with pytest.raises(ValueError, match=r"--allow-pipe"), open_shard(location, index.shards[0]):
        pass
    assert not (tmp_path / "ran").exists()
    assert open_index(location, allow_pipe=True) == index
    with open_shard(location, index.shards[1], allow_pipe=True) as stream:
        assert [sample.row for sample in read_samples(stream, "shard")] == list(range(10, 20))
    assert (tmp_path / "ran").exists()
    with pytest.raises(ValueError, match=r"has no \{file\}"):
        open_index("pipe:cat index.json", allow_pipe=True)


@pytest.mark.parametrize("name", ["pipe:touch pwned", "../secret.tar", "/etc/passwd", "a b.tar", "x;y.tar", "-rf", ""])
def test_an_index_that_names_anything_but_plain_files_is_refused(tiny_shapes: Path, tmp_path: Path, name: str) -> None:
    index = pack(tiny_shapes, tmp_path / "shards")
    spoiled = json.loads(replace(index, shards=(replace(index.shards[0], file=name),)).to_json())
    write_json(tmp_path / "shards" / "index.json", spoiled)
    with pytest.raises(ValueError, match=r"lists the shard .*; a shard is a plain file name beside index\.json"):
        read_index(tmp_path / "shards")


def test_member_names_of_a_tar_are_never_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for suffix, content in (("jpg", b"photo"), ("json", b'{"row": 0, "label": 0, "class": "x", "file": "y"}')):
            member = tarfile.TarInfo(f"../../planted/00000000.{suffix}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    with pytest.raises(ValueError, match="says that it is row 0"):
        list(read_samples(buffer, "shard.tar"))
    assert list(tmp_path.parent.glob("**/planted*")) == []


# --- disks, processes, memory ----------------------------------------------------------------------------------------


def test_a_full_disk_keeps_the_finished_parts_and_says_so(
    tiny_shapes: Path,
    tiny_features: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards")

    def full(content: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        if "shard-000004" in path.name:
            path.write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(content, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr("zsl.common.tensors.save_file", full)
        with pytest.raises(OSError, match=r"no space left for .*out; 4 finished parts are kept: make room") as error:
            extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    assert error.value.errno == errno.ENOSPC
    assert not list((tmp_path / "out" / "parts").glob(".*"))  # nothing half-written is left
    extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    assert_same_rows(read_features(tmp_path / "out"), read_features(tiny_features))


def test_a_part_that_a_crash_of_the_machine_cut_short_is_computed_again(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    spoil_at = pack(tiny_shapes, tmp_path / "shards")
    given = tiny_backbone, tmp_path / "shards", spoil_at, tmp_path / "out", accelerator
    shutil.move(tmp_path / "shards" / "shard-000006.tar", tmp_path / "later.tar")
    with pytest.raises(FileNotFoundError):
        extract_features(*given)
    parts = sorted((tmp_path / "out" / "parts").glob("*.safetensors"))
    parts[0].write_bytes(parts[0].read_bytes()[:-50])
    parts[1].write_bytes(b"")
    shutil.move(tmp_path / "later.tar", tmp_path / "shards" / "shard-000006.tar")
    extract_features(*given)
    assert_same_rows(read_features(tmp_path / "out"), read_features(tiny_features))


def test_what_killed_processes_left_is_cleared_away(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=20)
    given = tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".features.npy.elsewhere.123.tmp").write_bytes(b"half")
    extract_features(*given)
    whole = ["features.npy", "labels.npy", "manifest.json", "rows.npy"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == whole
    (tmp_path / "out" / "parts").mkdir()  # a kill between the manifest and the removal of the parts
    extract_features(*given)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == whole


def test_nvjpeg_without_a_gpu_is_refused(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=10)
    with pytest.raises(ValueError, match="--decoder nvjpeg needs a CUDA device, this process computes on cpu"):
        extract_features(
            tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator, ExtractSettings(decoder="nvjpeg")
        )


def claims(parts: Parts) -> list[int]:
    return [shard.first_row // 10 for shard in parts.claim()]


def test_a_shard_is_claimed_by_one_process_at_a_time(tiny_shapes: Path, tmp_path: Path) -> None:
    index = pack(tiny_shapes, tmp_path / "shards")
    made = [Parts(folder=tmp_path / "parts", index=index, key={}, rank=rank, ranks=2) for rank in (0, 1)]
    first, second = made
    taken = first.claim()
    assert next(taken).file == "shard-000000.tar"
    assert claims(second) == [4, 5, 6, 7, 1, 2, 3]  # begins elsewhere, passes over what is claimed
    assert list(taken) == []
    with second:
        pass  # the process ends
    assert claims(first) == [1, 2, 3, 4, 5, 6, 7]


def test_without_locks_each_rank_has_its_fixed_share(
    tiny_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards")

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    shares = [claims(Parts(folder=tmp_path / "parts", index=index, key={}, rank=rank, ranks=3)) for rank in range(3)]
    assert sorted(shard for share in shares for shard in share) == list(range(8))


def test_unrelated_starts_share_the_work(
    tiny_shapes: Path,
    tiny_features: Path,
    tiny_backbone: Backbone,
    tmp_path: Path,
    written: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", shard_size=5)
    merged: list[Path] = []

    def merge_and_note(parts: Parts, out: Path, manifest: Manifest) -> None:
        merged.append(out)
        merge_parts(parts, out, manifest)

    monkeypatch.setattr("zsl.features.extract.merge_parts", merge_and_note)

    def start(_: int) -> Manifest:
        alone = cast(Accelerator, Rank(0, threading.Barrier(1)))
        return extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", alone)

    with ThreadPoolExecutor(2) as pool:
        manifests = list(pool.map(start, range(2)))
    assert manifests[0].count == manifests[1].count == 72
    assert len(set(written)) == 15
    assert len(merged) == 1
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    assert_same_rows(read_features(tmp_path / "out"), read_features(tiny_features))


MEASURE = """
import resource, sys
from pathlib import Path
import numpy as np
from shards import Shard, ShardIndex
from zsl.features.manifest import Manifest
from zsl.features.merge import merge_parts
from zsl.features.parts import Part, Parts
out, count = Path(sys.argv[1]), int(sys.argv[2])
shards = tuple(Shard(f"shard-{i:06d}.tar", 256, 256 * i, 256 * i + 255, "x") for i in range(count))
parts = Parts(folder=out / "parts", index=ShardIndex("toy", 256 * count, 256 * count, shards), key={})
for i, shard in enumerate(parts.claim()):
    rows = np.arange(256 * i, 256 * (i + 1))
    features, tuned = np.full((256, 2048), i, np.float32), np.zeros(256, bool)
    parts.write(shard, Part(rows=rows, labels=rows, features=features, tuned=tuned))
merge_parts(parts, out, Manifest.in_memory("toy", count=256 * count, dim=2048))
table = np.load(out / "features.npy", mmap_mode="r")
assert all((table[256 * i] == i).all() for i in range(count))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    """40 and 160 parts of 2 MiB: a table held in memory, or written through a map, would add 240 MiB."""
    peaks = [
        int(subprocess.check_output([sys.executable, "-c", MEASURE, str(tmp_path / str(count)), str(count)]))
        for count in (40, 160)
    ]
    assert peaks[1] - peaks[0] < 60 * 1024  # KiB; reading one row of each part maps some pages of it


# --- reading ahead ---------------------------------------------------------------------------------------------------


def test_reading_ahead_keeps_order_items_and_errors() -> None:
    assert list(_prefetch(iter(range(50)), 4)) == list(range(50))
    assert list(_prefetch(iter([]), 4)) == []

    def breaks() -> Iterator[int]:
        yield from range(7)
        raise ValueError("here")

    seen: list[int] = []
    with pytest.raises(ValueError, match="here"):
        seen.extend(_prefetch(breaks(), 3))
    assert seen == list(range(7))


@pytest.mark.parametrize("device", ["cpu", "meta"])  # meta plays a GPU: decoding runs ahead in a thread
def test_each_shard_ends_in_its_last_batch(
    tiny_shapes: Path, tiny_backbone: Backbone, tmp_path: Path, device: str
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=43)
    batches = list(
        stream_batches(
            index.shards, tmp_path / "shards", tiny_backbone.transform, batch_size=5, device=torch.device(device)
        )
    )
    assert [len(batch.samples) for batch in batches] == [5, 5] * 4 + [3]
    assert [batch.last for batch in batches] == [False, True] * 4 + [True]
    assert [sample.row for batch in batches for sample in batch.samples] == list(range(43))


# --- compiling -------------------------------------------------------------------------------------------------------


def test_a_compiled_encoder_gives_the_same_features_and_always_sees_whole_batches(
    tiny_shapes: Path,
    tiny_features: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []
    compiler = torch.compile

    def compile_and_look(encoder: Any, **options: Any) -> Any:
        compiled = compiler(encoder, **options)

        def call(images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return compiled(images)

        return call

    monkeypatch.setattr(torch, "compile", compile_and_look)
    index = pack(tiny_shapes, tmp_path / "shards", count=43)
    given = tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator
    manifest = extract_features(*given, ExtractSettings(compile="on", batch_size=4))
    assert manifest.compute is not None
    assert manifest.compute.compiled
    assert set(sizes) == {4}
    assert_same_rows(read_features(tmp_path / "out"), read_features(tiny_features))


def test_a_compiler_that_does_not_work_costs_only_a_note(
    tiny_shapes: Path,
    tiny_features: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        def call(*_: Any) -> None:
            raise RuntimeError("no C++ compiler\nand a long trace")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    index = pack(tiny_shapes, tmp_path / "shards", count=20)
    given = tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator
    compute = extract_features(*given, ExtractSettings(compile="on")).compute
    assert compute is not None
    assert not compute.compiled
    assert "--compile does not work here (no C++ compiler); going on without" in caplog.text
    assert_same_rows(read_features(tmp_path / "out"), read_features(tiny_features))


class _Answer(Exception):
    """What fsspec's web client raises: an error of its own that has the number of the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answer {status}")
        self.status = status


def _raising(error: Exception, cause: Exception | None) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error from cause

    return fail


NOT_THERE: dict[str, tuple[Exception, Exception | None]] = {
    "no cause": (FileNotFoundError("x"), None),
    "404": (FileNotFoundError("x"), _Answer(404)),
}
FAILURES: dict[str, tuple[Exception, Exception | None]] = {
    "403": (FileNotFoundError("x"), _Answer(403)),
    "503": (FileNotFoundError("x"), _Answer(503)),
    "no server": (FileNotFoundError("x"), ConnectionRefusedError("refused")),
    "no time": (TimeoutError("late"), None),
    "cut in mid-file": (RuntimeError("payload is not completed"), None),
    "odd value": (ValueError("of the client"), None),
}


@pytest.mark.parametrize("on_error", ["stop", "quarantine"])
@pytest.mark.parametrize("kind", [*NOT_THERE, *FAILURES])
def test_only_a_file_that_is_certainly_absent_is_quarantined(
    tiny_shapes: Path, tiny_backbone: Backbone, tmp_path: Path, kind: str, on_error: OnError,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    index = pack(tiny_shapes, tmp_path / "shards", count=10)
    error, cause = (NOT_THERE | FAILURES)[kind]
    monkeypatch.setattr(fsspec.core.OpenFile, "__enter__", _raising(error, cause))
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    batches = stream_batches(
        index.shards, "memory://bucket/x", tiny_backbone.transform, batch_size=4, device=torch.device("cpu"),
        on_error=on_error,
    )  # fmt: skip
    if kind in FAILURES:
        with pytest.raises(RemoteError, match=r"shard-000000\.tar could not be read from memory://bucket/x: .+"):
            list(batches)
        assert waits == ([] if kind == "403" else [1, 5, 20])
    elif on_error == "stop":
        with pytest.raises(FileNotFoundError, match=r"no shard-000000\.tar at"):
            list(batches)
    else:
        assert [len(batch.failures) for batch in batches] == [1]


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(111, "Connection refused"), RuntimeError("400, message:\n  Not enough data")]
)
def test_a_server_that_fails_while_it_is_opened_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(fsspec, "open", Mock(side_effect=error))  # ftp:// connects there
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(
        RemoteError, match=r"^index\.json could not be read from ftp://host/x: .*; start again"
    ) as raised:
        open_index("ftp://host/x")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("fault", ["no server", "503", "cut short", "other bytes"])
def test_a_url_that_fails_twice_is_read_at_the_third_attempt(
    tiny_shapes: Path, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=10)
    path, waits = tmp_path / "shards" / index.shards[0].file, list[float]()
    whole = path.read_bytes()
    bad = {"cut short": whole[: len(whole) // 2], "other bytes": b"x" * len(whole)}
    opened = fsspec.core.OpenFile.__enter__

    def fail(*_: object) -> IO[bytes]:
        if fault in FAILURES:
            error, cause = FAILURES[fault]
            raise error from cause
        return io.BytesIO(bad[fault])

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            monkeypatch.setattr(fsspec.core.OpenFile, "__enter__", opened)

    monkeypatch.setattr(fsspec.core.OpenFile, "__enter__", fail)
    monkeypatch.setattr(time, "sleep", wait)
    with open_shard(f"file://{tmp_path}/shards", index.shards[0]) as stream:
        assert stream.read() == whole
    assert waits == [1, 5]
    assert caplog.text.count("another attempt follows in") == 2


def test_a_full_folder_for_temporary_files_is_named_and_not_the_folder_of_the_table(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    index = pack(tiny_shapes, tmp_path / "shards", count=20)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(NoCopy, match=r"/temporary cannot take a copy of shard-000000.* by TMPDIR$"):
            extract_features(tiny_backbone, f"file://{tmp_path}/shards", index, tmp_path / "out", accelerator)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    given = tiny_backbone, f"file://{tmp_path}/shards", index, tmp_path / "out", accelerator
    assert extract_features(*given).count == 20


@pytest.mark.parametrize("on_error", ["stop", "quarantine"])
def test_a_failing_command_is_an_error_and_never_a_quarantined_shard(
    tiny_shapes: Path, tiny_backbone: Backbone, tmp_path: Path, on_error: OnError
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=10)
    location = f"pipe:head -c 3000 {tmp_path}/shards/{{file}}; exit 255"
    batches = stream_batches(
        index.shards, location, tiny_backbone.transform, batch_size=4, device=torch.device("cpu"), on_error=on_error,
        allow_pipe=True,
    )  # fmt: skip
    with pytest.raises(RemoteError, match=r"shard-000000\.tar could not be read from pipe:.*exit 255"):
        list(batches)
    with pytest.raises(RemoteError, match=r"index\.json could not be read"):
        open_index(location, allow_pipe=True)
