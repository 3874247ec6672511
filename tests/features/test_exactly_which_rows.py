"""The table holds exactly the rows that the index states: parts, shards and files that say otherwise are not taken."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from safetensors.numpy import load_file, save_file
from tiny import assert_same_rows, pack

import shards.write
from backbones import Backbone
from shards import Shard, ShardIndex, open_shard, read_index, read_samples
from zsl.common.files import write_json
from zsl.datasets.instances import Instance
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.load import load_splits
from zsl.features.manifest import Manifest
from zsl.features.merge import merge_parts
from zsl.features.parts import Part, Parts
from zsl.features.stream import Failure
from zsl.features.table import read_features

# --- parts -----------------------------------------------------------------------------------------------------------

SHARD = Shard("shard-000000.tar", 3, 4, 9, "0" * 64, rows_sha256=hashlib.sha256(b"4,6,9").hexdigest())
EARLIER = replace(SHARD, rows_sha256=None)


def part(rows: list[int], labels: int | None = None, lost: tuple[int | None, ...] = ()) -> Part:
    count = len(rows) if labels is None else labels
    failures = tuple(Failure(shard=SHARD.file, row=row, label=0, file="f", reason="r") for row in lost)
    return Part(
        rows=np.array(rows, np.int64), labels=np.zeros(count, np.int64), features=np.zeros((len(rows), 2), np.float32),
        tuned=np.zeros(len(rows), bool), failures=failures,
    )  # fmt: skip


@pytest.mark.parametrize("shard", [SHARD, EARLIER], ids=["index", "index of an earlier version"])
@pytest.mark.parametrize(
    ("of_shard", "fault"),
    [
        (part([4, 6, 9]), None),
        (part([9, 4, 6]), None),
        (part([4, 9], lost=(6,)), None),
        (part([], lost=(None,)), None),
        (part([5, 7, 10]), "its rows are not those of"),
        (part([4, 4, 9]), "its rows are not those of"),
        (part([4, 9]), "its rows are not those of"),
        (part([4, 6, 9], lost=(5,)), "its rows are not those of"),
        (part([4, 6], lost=(6,)), "its rows are not those of"),
        (part([4, 6, 9], labels=2), "differ in number"),
        (part([4, 6, 9], lost=(None,)), "has rows of a shard that could not be read"),
    ],
)
def test_a_part_accounts_for_each_row_of_its_shard_once(shard: Shard, of_shard: Part, fault: str | None) -> None:
    found = of_shard.fault(shard)
    assert (found is None) if fault is None else (found is not None and fault in found)


def test_only_an_index_with_the_rows_tells_rows_between_the_ends_apart() -> None:
    assert part([4, 5, 9]).fault(SHARD) is not None
    assert part([4, 5, 9]).fault(EARLIER) is None


def shift_rows(tensors: dict[str, np.ndarray]) -> None:
    tensors["rows"] += 1


def shift_one_row(tensors: dict[str, np.ndarray]) -> None:
    tensors["rows"][0] += 10


def drop_a_label(tensors: dict[str, np.ndarray]) -> None:
    tensors["labels"] = tensors["labels"][:-1]


def drop_a_feature(tensors: dict[str, np.ndarray]) -> None:
    tensors["features"] = tensors["features"][1:]


def drop_the_labels(tensors: dict[str, np.ndarray]) -> None:
    del tensors["labels"]


@pytest.mark.parametrize("damage", [shift_rows, shift_one_row, drop_a_label, drop_a_feature, drop_the_labels])
def test_a_part_of_other_rows_is_computed_anew_and_never_merged(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, damage: Callable[[dict[str, np.ndarray]], None],
) -> None:  # fmt: skip
    index, out = pack(tiny_shapes, tmp_path / "shards", count=30), tmp_path / "out"
    whole = tmp_path / "whole"
    extract_features(tiny_backbone, tmp_path / "shards", index, whole, accelerator)

    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:  # the parts are there, the table is not
        patch.setattr("zsl.features.extract.merge_parts", killed)
        with pytest.raises(KilledError):
            extract_features(tiny_backbone, tmp_path / "shards", index, out, accelerator)
    spoiled = sorted((out / "parts").glob("*.safetensors"))[1]
    tensors = load_file(spoiled)
    damage(tensors)
    save_file(tensors, spoiled, {"failures": "[]"})
    parts = Parts(folder=out / "parts", index=index, key={})
    monkeypatch.setattr(Parts, "path", lambda self, shard: next(self.folder.glob(f"{Path(shard.file).stem}-*.s*")))
    with pytest.raises(ValueError, match=rf"{spoiled.name} is (not the part of shard-000001\.tar, its|damaged)"):
        merge_parts(parts, out, Manifest.in_memory("shapes", count=30, dim=64))
    monkeypatch.undo()
    extract_features(tiny_backbone, tmp_path / "shards", index, out, accelerator)
    assert_same_rows(read_features(out), read_features(whole))


# --- shards ----------------------------------------------------------------------------------------------------------


def test_the_shard_that_is_hashed_is_the_shard_that_is_read(
    tiny_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=20)
    pack(tiny_shapes, tmp_path / "others", count=7)
    digest = hashlib.file_digest

    def digest_and_replace(stream: Any, name: str) -> Any:
        result = digest(stream, name)
        shutil.copyfile(tmp_path / "others" / "shard-000000.tar", tmp_path / "new")
        (tmp_path / "new").replace(tmp_path / "shards" / "shard-000000.tar")  # as a copying program ends
        return result

    monkeypatch.setattr(hashlib, "file_digest", digest_and_replace)
    with open_shard(tmp_path / "shards", index.shards[0]) as stream:
        assert [sample.row for sample in read_samples(stream, "shard")] == list(range(10))


def test_a_shard_that_holds_other_rows_than_its_index_states_is_refused(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=20)
    second = index.shards[1]
    shifted = replace(second, first_row=11, last_row=20, rows_sha256=None)
    lying = replace(index, shards=(index.shards[0], shifted), total=21)
    with pytest.raises(ValueError, match=r"shard-000001\.tar is not what its index says, its rows are not those"):
        extract_features(tiny_backbone, tmp_path / "shards", lying, tmp_path / "out", accelerator)


# --- samples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda facts: "", "its .json is damaged"),
        (lambda facts: "[1, 2]", "its .json is damaged"),
        (lambda facts: json.dumps(facts)[:-9], "its .json is damaged"),
        (lambda facts: json.dumps(facts | {"label": None}), "its .json is damaged"),
        (lambda facts: json.dumps(facts | {"label": 1.5}), "its .json is damaged"),
        (lambda facts: json.dumps(facts | {"box": [1, 2]}), "its .json is damaged"),
        (lambda facts: json.dumps({"row": facts["row"]}), "its .json is damaged"),
        (lambda facts: json.dumps(facts | {"row": 71}), "says that it is row 71"),
    ],
    ids=["empty", "a list", "cut", "no label", "half a label", "half a box", "no fields", "another row"],
)
def test_a_damaged_sample_is_refused_and_goes_to_quarantine_alone(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[dict[str, Any]], str], reason: str,
) -> None:  # fmt: skip
    members = shards.write._members

    def spoiled(instance: Instance, images: Path) -> dict[str, Any]:
        content = members(instance, images)
        return content | {"json": spoil(json.loads(content["json"])).encode()} if instance.row == 13 else content

    with monkeypatch.context() as patch:
        patch.setattr(shards.write, "_members", spoiled)
        index = pack(tiny_shapes, tmp_path / "shards", count=30)
    given = tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator
    with pytest.raises(ValueError, match=rf"sample 00000013 in shard-000001\.tar.*{reason}"):
        extract_features(*given)
    manifest = extract_features(*given, ExtractSettings(on_error="quarantine", batch_size=3))
    assert (manifest.count, manifest.quarantined) == (29, 1)
    table = read_features(tmp_path / "out", allow_incomplete=True)
    assert table.rows.tolist() == [row for row in range(30) if row != 13]
    assert "shard-000001.tar,13,,," in (tmp_path / "out" / "quarantine.csv").read_text()


# --- the index -------------------------------------------------------------------------------------------------------

Content = dict[str, Any]


def without(field: str) -> Callable[[Content], Content]:
    return lambda content: {name: value for name, value in content.items() if name != field}


def of_shard(**changes: Any) -> Callable[[Content], Content]:
    return lambda content: content | {"shards": [content["shards"][0] | changes, *content["shards"][1:]]}


def without_of_shard(field: str) -> Callable[[Content], Content]:
    return lambda content: content | {"shards": [without(field)(content["shards"][0]), *content["shards"][1:]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: [content], "is a JSON list, not an object"),
        (lambda content: None, "is a JSON NoneType, not an object"),
        (without("format"), "has format None, this version reads 1"),
        (without("benchmark"), "missing required field `benchmark`"),
        (without("shards"), "missing required field `shards`"),
        (without("count"), "missing required field `count`"),
        (lambda content: content | {"count": None}, r"Expected `int`, got `null` - at `\$\.count`"),
        (lambda content: content | {"shards": {}}, r"got `object` - at `\$\.shards`"),
        (lambda content: content | {"shards": [3]}, r"got `int` - at `\$\.shards\[0\]`"),
        (lambda content: content | {"source": []}, r"got `array` - at `\$\.source`"),
        (without_of_shard("sha256"), r"missing required field `sha256` - at `\$\.shards"),
        (of_shard(first_row="0"), r"Expected `int`, got `str` - at `\$\.shards\[0\]\.first_row`"),
        (of_shard(count=9), "its shards have 29 samples, `count` says 30"),
        (of_shard(first_row=5), r"shard-000000\.tar has 10 samples in rows 5 to 9"),
        (of_shard(first_row=-1), r"shard-000000\.tar ends at row 9, `total` says that there are 72"),
        (of_shard(last_row=72), r"shard-000000\.tar ends at row 72, `total` says that there are 72"),
        (of_shard(file="shard-000001.tar"), r"shard-000001\.tar is listed twice"),
    ],
)
def test_a_damaged_index_is_refused_by_file_and_field(
    tiny_shapes: Path, tmp_path: Path, change: Callable[[Content], Any], message: str
) -> None:
    pack(tiny_shapes, tmp_path / "shards", count=30)
    path = tmp_path / "shards" / "index.json"
    content = json.loads(path.read_text()) | {"total": 72}
    write_json(path, change(content))
    with pytest.raises(ValueError, match=message) as error:
        read_index(tmp_path / "shards")
    assert str(error.value).startswith(str(path))
    assert "make the shards anew" in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no JSON"),
        (b'{"format": 1', "is no JSON"),
        (b"\xff\xfe{\0", "is no JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer.*git lfs pull"),
    ],
)
def test_an_index_that_is_no_json_is_refused_in_words(
    tiny_shapes: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_index(tmp_path)


def test_fields_that_this_version_does_not_know_are_passed_over(tiny_shapes: Path, tmp_path: Path) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=30)
    path = tmp_path / "shards" / "index.json"
    content = json.loads(path.read_text())
    content["shards"] = [shard | {"packed_by": "x"} for shard in content["shards"]]
    write_json(path, content | {"license": "CC0"})
    assert read_index(tmp_path / "shards") == index


def test_a_pointer_in_place_of_a_shard_is_called_by_its_name(tiny_shapes: Path, tmp_path: Path) -> None:
    index: ShardIndex = pack(tiny_shapes, tmp_path / "shards", count=10)
    (tmp_path / "shards" / "shard-000000.tar").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid x\n")
    with (
        pytest.raises(ValueError, match=r"shard-000000\.tar is a Git LFS pointer.*git lfs pull"),
        open_shard(tmp_path / "shards", index.shards[0]),
    ):
        pass


# --- the table -------------------------------------------------------------------------------------------------------


def save(path: Path, array: np.ndarray) -> None:
    np.save(path, array, allow_pickle=True)


@pytest.mark.parametrize("name", ["features.npy", "labels.npy", "rows.npy"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no {name} in"),
        (lambda path: path.write_bytes(b""), "{name} is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "{name} is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), "{name} is damaged"),
        (lambda path: path.write_bytes(path.read_bytes() + bytes(8)), "{name} is damaged .bytes follow"),
        (lambda path: path.write_bytes(b"<!doctype html>" * 9), "{name} is damaged"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"}", b"]")), "{name} is damaged"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com\n"), "{name} is a Git LFS pointer"),
        (lambda path: save(path, np.load(path).astype(object)), "{name} is damaged|{name} holds object"),
        (lambda path: save(path, np.load(path).astype(np.float64)), "{name} holds float64"),
        (lambda path: save(path, np.load(path)[..., None]), "{name} holds .* dimensions, a table has"),
        (lambda path: save(path, np.load(path)[:-1]), "the manifest says 72"),
    ],
    ids=[
        "absent",
        "empty",
        "head cut",
        "cut",
        "longer",
        "web page",
        "no dictionary",
        "pointer",
        "objects",
        "float64",
        "deeper",
        "short",
    ],
)
def test_a_damaged_array_is_refused_by_its_name(
    tiny_features: Path, tmp_path: Path, name: str, spoil: Callable[[Path], Any], message: str
) -> None:
    table = shutil.copytree(tiny_features, tmp_path / "table")
    spoil(table / name)
    with pytest.raises((ValueError, FileNotFoundError), match=message.format(name=name.replace(".", r"\."))) as error:
        read_features(table)
    assert "anew" in str(error.value)
    assert "allow_pickle" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("rows.npy", lambda rows: rows[::-1].copy(), "its official rows do not rise"),
        ("rows.npy", lambda rows: rows - 1, "its official rows do not rise"),
        ("rows.npy", lambda rows: rows // 2, "its official rows do not rise"),
        ("labels.npy", lambda labels: labels - 1, "a class id is -1"),
        ("features.npy", lambda features: features[:, :-1].copy(), "features have 63 dimensions, the manifest says 64"),
    ],
)
def test_arrays_that_cannot_be_of_one_table_are_refused(
    tiny_features: Path, tmp_path: Path, name: str, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    table = shutil.copytree(tiny_features, tmp_path / "table")
    save(table / name, change(np.load(table / name)))
    with pytest.raises(ValueError, match=message):
        read_features(table)


def test_features_that_changed_since_are_refused_where_they_are_used(
    tiny_features: Path, tiny_shapes: Path, tmp_path: Path
) -> None:
    table = shutil.copytree(tiny_features, tmp_path / "table")
    whole = (table / "features.npy").read_bytes()
    (table / "features.npy").write_bytes(whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:])  # the last bit of a number
    with pytest.raises(ValueError, match=r"features\.npy of .* for shapes: not as the manifest describes"):
        load_splits("shapes", tiny_shapes, read_features(table))
    (table / "features.npy").write_bytes(whole)
    load_splits("shapes", tiny_shapes, read_features(table))


@pytest.mark.parametrize("name", ["labels", "rows", "features"])
def test_each_array_is_compared_with_its_hash(tiny_features: Path, name: str) -> None:
    table = read_features(tiny_features)
    table.check_content()
    other = replace(table, **{name: getattr(table, name) + 1})
    with pytest.raises(ValueError, match=rf"^{name}\.npy of "):
        other.check_content()
    replace(other, manifest=replace(table.manifest, arrays_sha256=None)).check_content()  # of an earlier version
