"""Extraction: each image exactly once at its row, for any number of processes, after any kill, or an error in words."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, cast
from unittest.mock import Mock

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from scipy.io import loadmat
from tiny import Rank, assert_close, assert_same_rows, pack, tiny_instances

import zsl.features.merge
from backbones import Backbone, decode_image, load_backbone
from backbones.tuned import Rows, TunedFacts, TunedGamma
from shards import Shard, read_index, write_shards
from zsl.datasets.instances import Instance
from zsl.datasets.places import features_folder, shards_folder
from zsl.features import extract
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.load import find_features, load_folds, load_splits
from zsl.features.manifest import Manifest, read_manifest
from zsl.features.parts import Part, Parts
from zsl.features.table import FeatureTable, read_features

REPOSITORY = Path(__file__).resolve().parents[2]


# --- one process -----------------------------------------------------------------------------------------------------


def test_the_table_holds_each_photo_at_its_official_row(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone
) -> None:
    raw = tiny_shapes / "shapes" / "raw"
    names = [str(cell[0]) for cell in loadmat(raw / "att_splits.mat")["allclasses_names"].ravel()]
    photos = sorted((raw / "images").glob("*/*.jpg"))  # the official order of this benchmark
    loop = []
    for path in photos:  # the definition: one photo at a time, from the raw folder
        image = tiny_backbone.transform(decode_image(path.read_bytes()))
        with torch.inference_mode():
            loop.append(tiny_backbone.encode(image[None])[0].numpy())
    table = read_features(tiny_features)
    assert table.rows.tolist() == list(range(72))
    assert table.labels.tolist() == [names.index(path.parent.name) for path in photos]
    assert table.features.dtype == np.float32
    assert_close(np.asarray(table.features), np.stack(loop))


def test_features_of_other_photos_are_much_farther_apart_than_the_tolerance(tiny_features: Path) -> None:
    features = np.asarray(read_features(tiny_features).features)
    distance = np.linalg.norm(features[:, None] - features[None], axis=-1) / np.linalg.norm(features, axis=1)
    assert (distance + np.eye(len(features))).min() > 0.02


def test_the_manifest_says_what_the_table_was_made_from(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone
) -> None:
    index = read_index(shards_folder(tiny_shapes, "shapes"))
    manifest = json.loads((tiny_features / "manifest.json").read_text())
    expected = {
        "benchmark": "shapes",
        "backbone": tiny_backbone.name,
        "weights_sha256": tiny_backbone.weights_sha256,
        "shards_sha256": index.sha256,
        "source": index.source,
        "precision": "no",
        "count": 72,
        "dim": 64,
        "quarantined": 0,
        "compute": {"compiled": False, "batch_size": 16, "device": "cpu", "processes": 1, "threads": 1},
    }
    assert {key: manifest[key] for key in expected} == expected
    assert manifest["transform"]["size"] == [160, 160]
    assert manifest["versions"]["torch"] == torch.__version__
    assert not (tiny_features / "parts").exists()


def test_a_table_is_found_by_full_name_and_belongs_to_its_splits(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    assert find_features(tiny_shapes, "shapes", tiny_backbone.name) == tiny_features
    splits = load_splits("shapes", tiny_shapes, read_features(tiny_features))
    assert (len(splits.seen), len(splits.unseen)) == (6, 3)
    with pytest.raises(FileNotFoundError, match=rf"no features of resnet101\.tv_in1k .*there are {tiny_features.name}"):
        find_features(tiny_shapes, "shapes", "resnet101")
    (tmp_path / "meine Tiere").mkdir()
    with pytest.raises(FileNotFoundError, match=r"extract\.py --benchmark 'meine Tiere' --backbone resnet101$"):
        find_features(tmp_path, "meine Tiere", "resnet101")


def test_a_box_is_cropped_before_encoding(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    photo = tiny_instances(tiny_shapes)[0]
    box = (5, 10, 50, 41)
    boxed = [Instance(0, photo.label, photo.class_name, photo.file, box)]
    raw = tiny_shapes / "shapes" / "raw"
    index = write_shards(boxed, raw, tmp_path / "shards", benchmark="toy", total=1, source={})
    extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    crop = decode_image((raw / photo.file).read_bytes())[:, 10:41, 5:50]
    with torch.inference_mode():
        expected = tiny_backbone.encode(tiny_backbone.transform(crop)[None]).numpy()
    assert_close(np.asarray(read_features(tmp_path / "out").features), expected)


def test_the_table_is_put_together_by_row_whatever_the_order_in_the_shards(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    mixed = [tiny_instances(tiny_shapes)[row] for row in np.random.default_rng(0).permutation(31)]
    raw = tiny_shapes / "shapes" / "raw"
    index = write_shards(mixed, raw, tmp_path / "shards", benchmark="toy", total=31, source={}, shard_size=8)
    extract_features(
        tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator, ExtractSettings(batch_size=3)
    )
    assert_same_rows(read_features(tmp_path / "out"), read_features(tiny_features))


# --- several processes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3, 9])  # 5 shards: 9 ranks are more than there is work for
def test_any_number_of_ranks_gives_each_row_once(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone, tmp_path: Path, ranks: int
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=43)
    assert len(index.shards) == 5
    barrier = threading.Barrier(ranks, timeout=100)

    def work(rank: int) -> Manifest:
        accelerator = cast(Accelerator, Rank(rank, barrier))
        try:
            return extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(ranks) as pool:
        manifests = list(pool.map(work, range(ranks)))
    table = read_features(tmp_path / "out")
    assert table.rows.tolist() == list(range(43))
    assert_same_rows(table, read_features(tiny_features))
    assert manifests == [table.manifest] * ranks
    assert table.manifest.compute is not None
    assert table.manifest.compute.processes == ranks


def test_two_gloo_processes_give_each_row_once(
    tiny_shapes: Path, tiny_features: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    pack(tiny_shapes, shards_folder(tmp_path, "shapes"))
    script = [str(REPOSITORY / "scripts" / "extract.py"), "--data", str(tmp_path), "--precision", "no"]
    script += ["--backbone", "test_vit", "--weights", str(tiny_weights)]
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *script],
        env=os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("72 images x 64 from test_vit.tiny-") == 1  # one process speaks
    table = read_features(features_folder(tmp_path, "shapes", tiny_features.name))
    assert table.manifest.compute is not None
    assert table.manifest.compute.processes == 2
    assert table.rows.tolist() == list(range(72))
    assert_same_rows(table, read_features(tiny_features))


# --- kills and restarts ----------------------------------------------------------------------------------------------


class Killed(Exception):
    """The process ends here."""


class PartWriter:
    """`Parts.write` that counts its calls and ends the process at one of them."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.kill_at = kill_at

    def __call__(self, parts: Parts, shard: Shard, part: Part) -> None:
        if len(self.calls) == self.kill_at:
            raise Killed
        self.calls.append(shard.file)
        WRITE(parts, shard, part)


WRITE = Parts.write


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., PartWriter]:
    """Installs a PartWriter and returns it."""

    def install(kill_at: int | None = None) -> PartWriter:
        counting = PartWriter(kill_at)
        monkeypatch.setattr(Parts, "write", lambda *given: counting(*given))
        return counting

    return install


def other_backbone(folder: Path) -> Backbone:
    """The same architecture with other random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        save_file(timm.create_model("test_vit", pretrained=False).state_dict(), folder / "other.safetensors")
    return load_backbone("test_vit", folder / "other.safetensors")


@pytest.mark.parametrize("kill_at", [0, 2, 4])
def test_a_restart_computes_only_what_is_left(
    tiny_shapes: Path,
    tiny_features: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
    tmp_path: Path,
    writer: Callable[..., PartWriter],
    kill_at: int,
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=43)
    files = [shard.file for shard in index.shards]
    killed = writer(kill_at)
    with pytest.raises(Killed):
        extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    assert killed.calls == files[:kill_at]
    with pytest.raises(FileNotFoundError, match="no whole feature table in"):
        read_features(tmp_path / "out")

    restarted = writer()
    extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    assert restarted.calls == files[kill_at:]
    assert_same_rows(read_features(tmp_path / "out"), read_features(tiny_features))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "features.npy",
        "labels.npy",
        "manifest.json",
        "rows.npy",
    ]


def test_a_kill_while_merging_costs_no_part(
    tiny_shapes: Path,
    tiny_features: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
    tmp_path: Path,
    writer: Callable[..., PartWriter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=23)

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(zsl.features.merge, "write_manifest", kill)
        with pytest.raises(Killed):
            extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    with pytest.raises(FileNotFoundError, match="no whole feature table"):
        read_features(tmp_path / "out")
    restarted = writer()
    extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    assert restarted.calls == []
    assert_same_rows(read_features(tmp_path / "out"), read_features(tiny_features))


@pytest.mark.parametrize("file", ["features.npy", "rows.npy"])
def test_a_finished_table_that_lacks_a_file_is_made_again(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path, file: str
) -> None:
    table = shutil.copytree(tiny_features, tmp_path / "table")
    (table / file).unlink()
    shards = shards_folder(tiny_shapes, "shapes")
    settings = ExtractSettings(batch_size=16)
    extract_features(tiny_backbone, shards, read_index(shards), table, accelerator, settings)
    assert (table / file).read_bytes() == (tiny_features / file).read_bytes()


def test_a_finished_table_is_left_as_it_is(
    tiny_shapes: Path,
    tiny_features: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
    writer: Callable[..., PartWriter],
) -> None:
    shards = shards_folder(tiny_shapes, "shapes")
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tiny_features.iterdir()}
    again = writer()
    manifest = extract_features(tiny_backbone, shards, read_index(shards), tiny_features, accelerator)
    assert again.calls == []
    assert manifest.as_json == json.loads((tiny_features / "manifest.json").read_text())
    assert before == {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tiny_features.iterdir()}


def test_a_finished_table_gets_the_gamma_of_a_later_fine_tuning_that_gave_equal_weights(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    facts = TunedFacts(
        benchmark="shapes", fold=None, trainval=Rows(count=1, hash="a"), split_hashes=(), classes=("a",),
        started_from=None,
    )  # fmt: skip
    gamma = TunedGamma(method="eszsl", config_sha256="c", unit="alg", value=0.5, folds=3, harmonic=0.6)
    shards, out = shards_folder(tiny_shapes, "shapes"), tmp_path / "table"

    def extract(tuned: TunedFacts) -> Manifest:
        backbone = replace(tiny_backbone, finetuned=tuned)
        extract_features(backbone, shards, read_index(shards), out, accelerator, ExtractSettings(batch_size=16))
        return read_manifest(out / "manifest.json")

    first = extract(facts)
    written = (out / "features.npy").stat().st_mtime_ns
    with_gamma = replace(first, finetuned=replace(facts, gamma=gamma))
    assert extract(replace(facts, gamma=gamma)) == with_gamma
    assert extract(facts) == with_gamma  # it stays, where a later one chose none
    assert (out / "features.npy").stat().st_mtime_ns == written


def test_a_part_made_with_other_weights_is_not_reused(
    tiny_shapes: Path,
    tiny_features: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
    tmp_path: Path,
    writer: Callable[..., PartWriter],
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=30)
    writer(kill_at=2)
    with pytest.raises(Killed):
        extract_features(other_backbone(tmp_path), tmp_path / "shards", index, tmp_path / "out", accelerator)
    assert len(list((tmp_path / "out" / "parts").glob("*.safetensors"))) == 2
    restarted = writer()
    extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    assert restarted.calls == [shard.file for shard in index.shards]
    assert_same_rows(read_features(tmp_path / "out"), read_features(tiny_features))


def test_a_part_made_from_other_photos_is_not_reused(
    tiny_shapes: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
    tmp_path: Path,
    writer: Callable[..., PartWriter],
) -> None:
    shutil.copytree(tiny_shapes / "shapes" / "raw", tmp_path / "shapes" / "raw")
    shutil.copytree(shards_folder(tiny_shapes, "shapes"), shards_folder(tmp_path, "shapes"))
    index = pack(tmp_path, tmp_path / "shards", count=30)
    writer(kill_at=2)
    with pytest.raises(Killed):
        extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    first, last = (tmp_path / "shapes" / "raw" / tiny_instances(tmp_path)[row].file for row in (0, 71))
    first.write_bytes(last.read_bytes())
    changed = pack(tmp_path, tmp_path / "shards", count=30)
    restarted = writer()
    extract_features(tiny_backbone, tmp_path / "shards", changed, tmp_path / "out", accelerator)
    assert index.shards[0].file in restarted.calls
    with torch.inference_mode():
        expected = tiny_backbone.encode(tiny_backbone.transform(decode_image(last.read_bytes()))[None]).numpy()
    assert_close(np.asarray(read_features(tmp_path / "out").features[:1]), expected)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_table_of_another_precision_or_other_weights_is_not_overwritten(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    shards = shards_folder(tiny_shapes, "shapes")
    index = read_index(shards)
    rank = Rank(0, threading.Barrier(1))
    rank.mixed_precision = "bf16"
    with pytest.raises(ValueError, match=r"was made with precision = 'no', asked for is 'bf16'; delete that folder"):
        extract_features(tiny_backbone, shards, index, tiny_features, cast(Accelerator, rank))
    with pytest.raises(ValueError, match=r"was made with backbone = 'test_vit\.tiny-.*asked for is 'test_vit\.other-"):
        extract_features(other_backbone(tmp_path), shards, index, tiny_features, accelerator)


def test_a_table_of_other_shards_is_not_overwritten(
    tiny_shapes: Path, tiny_features: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards")
    with pytest.raises(ValueError, match=r"was made with shards_sha256 = "):
        extract_features(tiny_backbone, tmp_path / "shards", index, tiny_features, accelerator)


def test_a_corrupt_photo_is_named_by_shard_row_and_file(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    shutil.copytree(tiny_shapes / "shapes" / "raw", tmp_path / "shapes" / "raw")
    shutil.copytree(shards_folder(tiny_shapes, "shapes"), shards_folder(tmp_path, "shapes"))
    bad = tiny_instances(tmp_path)[17]
    path = tmp_path / "shapes" / "raw" / bad.file
    path.write_bytes(path.read_bytes()[:700])
    index = pack(tmp_path, tmp_path / "shards", count=30)
    with pytest.raises(ValueError, match=r"row 17 .* cannot be decoded: 700 bytes are not a whole image") as error:
        extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    assert f"({bad.file}) in shard-000001.tar " in str(error.value)
    with pytest.raises(FileNotFoundError):
        read_features(tmp_path / "out")


def test_features_that_are_not_finite_are_refused_by_row(
    tiny_shapes: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=20)
    encode = Backbone.encode

    def overflow(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        features = encode(self, images)
        features[3, 5] = torch.inf
        return features

    monkeypatch.setattr(Backbone, "encode", overflow)
    with pytest.raises(ValueError, match=r"row 3 \(.*\.jpg\) of shard-000000\.tar gave a feature that is not finite"):
        extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)


def test_a_repeated_row_never_becomes_a_table(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    instances = tiny_instances(tiny_shapes)
    raw = tiny_shapes / "shapes" / "raw"
    repeated = [*instances[:6], instances[4]]
    index = write_shards(repeated, raw, tmp_path / "shards", benchmark="toy", total=7, source={}, shard_size=5)
    with pytest.raises(ValueError, match=r"6 of 7 rows were extracted, repeated are \[4\]; shards are damaged"):
        extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    with pytest.raises(FileNotFoundError):
        read_features(tmp_path / "out")


def test_a_shard_that_lost_its_last_samples_never_becomes_a_table(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=20)
    pack(tiny_shapes, tmp_path / "short", count=17)
    shutil.copyfile(tmp_path / "short" / "shard-000001.tar", tmp_path / "shards" / "shard-000001.tar")
    for _ in range(2):  # a restart does not take the short part for a whole one either
        with pytest.raises(ValueError, match=r"shard-000001\.tar is not the file"):
            extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)
    with pytest.raises(FileNotFoundError):
        read_features(tmp_path / "out")


def test_a_shard_that_is_not_the_one_of_the_index_is_refused(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=10)
    swapped = [*tiny_instances(tiny_shapes)[:9], Instance(9, 0, "other", tiny_instances(tiny_shapes)[70].file)]
    raw = tiny_shapes / "shapes" / "raw"
    write_shards(swapped, raw, tmp_path / "other", benchmark="shapes", total=72, source={})
    shutil.copyfile(tmp_path / "other" / "shard-000000.tar", tmp_path / "shards" / "shard-000000.tar")
    with pytest.raises(ValueError, match=r"shard-000000\.tar"):
        extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator)


# --- reading a table -------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tiny_features: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_features, tmp_path / "table"))


def test_a_table_without_manifest_is_unfinished(copied: Path) -> None:
    (copied / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=rf"no whole feature table in {copied} .*scripts/extract\.py makes it"):
        read_features(copied)


def test_files_that_do_not_fit_each_other_are_refused(copied: Path) -> None:
    np.save(copied / "labels.npy", np.zeros(71, dtype=np.int64))
    with pytest.raises(ValueError, match=r"72 features, 71 labels and 72 rows, the manifest says 72"):
        read_features(copied)


def test_a_table_of_another_format_is_refused(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"format": 0}))
    with pytest.raises(ValueError, match="has format 0, this version reads 1; extract anew"):
        read_features(copied)


@pytest.mark.parametrize("name", ["features", "labels", "rows"])
def test_pickles_in_a_table_are_refused(copied: Path, name: str) -> None:
    np.save(copied / f"{name}.npy", np.array([{}] * 72, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"(?i)pickle|python objects"):
        read_features(copied)


def test_at_gives_copies_of_the_rows_asked_for_in_their_order(copied: Path) -> None:
    table = read_features(copied)
    features, labels = table.at(np.array([70, 3, 3]))
    np.testing.assert_array_equal(features.numpy(), table.features[[70, 3, 3]])
    assert labels.tolist() == table.labels[[70, 3, 3]].tolist()
    features.zero_()
    assert np.abs(table.features[70]).sum() > 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [([0, 72], r"no row 72 \(1 rows"), ([-1, 0], r"no row -1 \(1 rows"), ([90, 5, 80], r"no row 90 \(2 rows")],
)
def test_at_refuses_a_row_that_is_not_there(copied: Path, rows: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=rf"the feature table has {message} of the split are absent\)"):
        read_features(copied).at(np.array(rows))


def test_at_looks_up_official_rows_where_some_are_missing() -> None:
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    manifest = Manifest.in_memory("toy", count=3, dim=2)
    table = FeatureTable(features=features, labels=np.array([4, 5, 6]), rows=np.array([2, 5, 9]), manifest=manifest)
    assert table.at(np.array([9, 2]))[1].tolist() == [6, 4]
    with pytest.raises(ValueError, match="no row 3"):
        table.at(np.array([2, 3]))


@pytest.mark.parametrize("numbers", [(), (1, 1), (2, 1, 2)])
def test_folds_are_named_once_each(
    tiny_shapes: Path, tiny_features: Path, accelerator: Accelerator, numbers: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"--folds.*: name at least one, and each once"):
        load_folds("shapes", tiny_shapes, read_features(tiny_features), accelerator.device, numbers)


def test_the_bar_counts_what_other_processes_have_done_while_this_one_works(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    index = pack(tiny_shapes, tmp_path / "shards", count=40)
    *_, last = index.shards
    positions: list[int] = []

    class Bar:
        def __init__(self, *, initial: int, **_: object) -> None:
            self.n = initial

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, images: int) -> None:
            self.n += images
            positions.append(self.n)

    def run(name: str) -> None:
        given = tiny_backbone, tmp_path / "shards", index, tmp_path / name, accelerator
        extract_features(*given, ExtractSettings(batch_size=2))

    with monkeypatch.context() as patch:
        patch.setattr(extract, "merge_parts", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run("other")
    write = Parts.write

    def write_beside_another(parts: Parts, shard: Shard, part: Part) -> None:
        write(parts, shard, part)
        if not parts.path(last).exists():
            shutil.copy(tmp_path / "other" / "parts" / parts.path(last).name, parts.path(last))

    monkeypatch.setattr(Parts, "write", write_beside_another)
    monkeypatch.setattr(extract, "progress_bar", Bar)
    monkeypatch.setattr(extract, "LOOK_SECONDS", 0.0)
    run("out")
    jumps = [after - before for before, after in pairwise(positions)]
    large = [number for number, jump in enumerate(jumps) if jump > 2]  # than a batch
    assert large
    assert large[0] < len(jumps) - 2  # long before the end
    assert positions[-1] == max(positions) == index.count
