"""The manifest of a feature table: JSON out as in, old files read, damaged ones refused with file and field."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy import toy_manifest

from backbones.tuned import Rows, TunedFacts
from zsl.features.facts import describe_features
from zsl.features.manifest import (
    Compute,
    EncodeFacts,
    Imported,
    Manifest,
    Source,
    TransformFacts,
    read_manifest,
    write_manifest,
)

HASHES = ["aa6a3a", "b7bf2e", "b94d4b"]
TRANSFORM = {
    "size": [224, 224], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "crop_pct": None,
    "crops": 1, "crop": "none, whole image", "decoder": "cpu",
}  # fmt: skip
# Field by field what the files of today hold, in their order.
EXTRACTED: dict[str, Any] = {
    "format": 1,
    "benchmark": "cub",
    "source": {"verdict": "official", "split_hashes": HASHES, "missing": 0, "classes_left": 200},
    "shards_sha256": "b38a",
    "backbone": "resnet101.tv_in1k",
    "pretraining": "ImageNet-1k",
    "weights_sha256": "0e6e",
    "transform": TRANSFORM,
    "encode": {"flip": False, "layer": None, "fp32_layers": []},
    "precision": "no",
    "versions": {"python": "3.11.7", "torch": "2.14.1"},
    "dim": 2048,
    "unseen_classes": "synonyms",
    "weights_file": None,
    "compute": {"compiled": False, "batch_size": 32, "device": "cpu", "processes": 1, "threads": 2},
    "images_per_second": 26.0,
    "count": 11788,
    "quarantined": 0,
}
TUNED: dict[str, Any] = {
    "benchmark": "cub", "fold": None, "trainval": {"count": 7057, "hash": "aa6a3a"}, "split_hashes": HASHES,
    "classes": ["001.Black_footed_Albatross"], "started_from": {},
}  # fmt: skip
IMPORTED: dict[str, Any] = {
    "format": 1,
    "benchmark": "cub",
    "source": {"verdict": "official, complete", "split_hashes": HASHES, "missing": 0, "classes_left": 200},
    "shards_sha256": None,
    "backbone": "res101",
    "pretraining": "unknown (imported from res101.mat)",
    "weights_sha256": None,
    "transform": None,
    "precision": "unknown",
    "versions": {"python": "3.11.7", "scipy": "1.17.0"},
    "count": 11788,
    "dim": 2048,
    "imported": {
        "file": "res101.mat", "sha256": "c0de", "features_dtype": "float64", "labels_dtype": "float64",
        "exact_in_float32": False,
    },
}  # fmt: skip
# Of the first version: no field for what was found out later.
OLD = {
    name: value
    for name, value in EXTRACTED.items()
    if name not in ("encode", "unseen_classes", "weights_file", "compute", "images_per_second", "quarantined")
} | {"processes": 2, "transform": {name: TRANSFORM[name] for name in ("size", "mean", "std", "interpolation")}}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


@pytest.mark.parametrize(
    "content",
    [
        EXTRACTED,
        {"finetuned": TUNED | {"started_from": TUNED | {"fold": 2}}} | EXTRACTED,
        {name: value for name, value in EXTRACTED.items() if name != "images_per_second"},
        EXTRACTED | {"source": {}},
        EXTRACTED | {"source": EXTRACTED["source"] | {"shared_photos": {"jpegs": 1, "rows": 2}}},
        EXTRACTED | {"transform": TRANSFORM | {"crop_pct": 0.875, "crops": 5, "decoder": "nvjpeg"}},
        IMPORTED,
    ],
    ids=["extracted", "fine-tuned", "nothing computed", "no source", "shared photos", "five crops", "imported"],
)
def test_a_manifest_is_written_byte_for_byte_as_it_was_read(tmp_path: Path, content: dict[str, Any]) -> None:
    path = write(tmp_path / "manifest.json", content)
    write_manifest(tmp_path / "again.json", read_manifest(path))
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_each_field_is_read_to_its_attribute(tmp_path: Path) -> None:
    source = Source(verdict="official", split_hashes=tuple(HASHES), missing=0, classes_left=200)
    expected = Manifest(
        benchmark="cub", source=source, shards_sha256="b38a", backbone="resnet101.tv_in1k", pretraining="ImageNet-1k",
        weights_sha256="0e6e", precision="no", versions={"python": "3.11.7", "torch": "2.14.1"}, dim=2048, count=11788,
        transform=TransformFacts(size=(224, 224), mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic"),
        encode=EncodeFacts(flip=False, layer=None, fp32_layers=()), unseen_classes="synonyms", images_per_second=26.0,
        compute=Compute(compiled=False, batch_size=32, device="cpu", processes=1, threads=2),
        finetuned=TunedFacts(
            benchmark="cub", fold=None, trainval=Rows(count=7057, hash="aa6a3a"), split_hashes=tuple(HASHES),
            classes=("001.Black_footed_Albatross",), started_from=None,
        ),
    )  # fmt: skip
    assert read_manifest(write(tmp_path / "manifest.json", EXTRACTED | {"finetuned": TUNED})) == expected


def test_a_table_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path / "manifest.json", OLD))
    assert (manifest.count, manifest.dim, manifest.quarantined) == (11788, 2048, 0)
    assert (manifest.encode, manifest.compute, manifest.unseen_classes, manifest.finetuned) == (None,) * 4
    assert manifest.transform is not None
    assert (manifest.transform.crops, manifest.transform.decoder) == (1, "cpu")


def test_a_field_of_a_newer_version_is_passed_over(tmp_path: Path) -> None:
    newer = EXTRACTED | {"mood": "good", "compute": EXTRACTED["compute"] | {"watts": 300}}
    assert read_manifest(write(tmp_path / "manifest.json", newer)) == Manifest.from_json(EXTRACTED, "known")


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in EXTRACTED.items() if key != name}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (without("benchmark"), "missing required field `benchmark`"),
        (without("source"), "missing required field `source`"),
        (without("count"), "missing required field `count`"),
        (without("format"), "has format None, this version reads 1"),
        (EXTRACTED | {"format": 2}, "has format 2, this version reads 1; extract anew"),
        (EXTRACTED | {"format": "1"}, "has format '1', this version reads 1"),
        (EXTRACTED | {"count": "many"}, r"Expected `int`, got `str` - at `\$\.count`"),
        (EXTRACTED | {"count": None}, r"Expected `int`, got `null` - at `\$\.count`"),
        (EXTRACTED | {"backbone": ["a"]}, r"Expected `str`, got `array` - at `\$\.backbone`"),
        (EXTRACTED | {"source": {"missing": "none"}}, r"Expected `int \| null`, got `str` - at `\$\.source\.missing`"),
        (EXTRACTED | {"source": {"split_hashes": [1]}}, r"got `int` - at `\$\.source\.split_hashes\[0\]`"),
        (
            EXTRACTED | {"transform": TRANSFORM | {"size": [1]}},
            r"`array` of length 2, got 1 - at `\$\.transform\.size`",
        ),
        (EXTRACTED | {"compute": {"device": "cpu"}}, r"required field `compiled` - at `\$\.compute`"),
        (EXTRACTED | {"finetuned": ["cub"]}, "finetuned: Expected `object`, got `array`"),
        (EXTRACTED | {"finetuned": {"fold": 1}}, "finetuned: field 'benchmark' is absent"),
        (EXTRACTED | {"finetuned": TUNED | {"started_from": {"fold": 1}}}, "started_from: field 'benchmark' is absent"),
        (None, "Expected `object`, got `null`"),
        ([EXTRACTED], "Expected `object`, got `array`"),
        ("manifest", "Expected `object`, got `str`"),
    ],
)
def test_a_damaged_manifest_is_refused_with_file_and_field(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path / "manifest.json", content)
    with pytest.raises(ValueError, match=message) as error:
        read_manifest(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is no JSON"),
        (b'{"format": 1, "bench', "is no JSON"),
        (b"\xff\xfe{\x00}", "is no JSON"),
        (
            b"version https://git-lfs.example/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "is a Git LFS pointer.*git lfs pull",
        ),
    ],
    ids=["empty", "cut short", "no text", "Git LFS"],
)
def test_a_file_that_is_no_json_is_refused_in_words(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message) as error:
        read_manifest(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda manifest: replace(manifest, images_per_second=1.0), True),
        (lambda manifest: replace(manifest, versions={"python": "3"}), True),
        (lambda manifest: replace(manifest, shards_sha256="y"), False),
        (lambda manifest: replace(manifest, weights_sha256="y"), False),
        (lambda manifest: replace(manifest, encode=EncodeFacts(flip=True, layer=None, fp32_layers=())), False),
        (lambda manifest: replace(manifest, imported=Imported(file="x.mat", sha256="f")), False),
    ],
)
def test_facts_about_features_differ_where_their_values_may(change: Callable[[Manifest], Manifest], same: bool) -> None:
    manifest = toy_manifest()
    facts = describe_features(manifest)
    assert (describe_features(change(manifest)) == facts) is same
    assert json.loads(json.dumps(facts.as_json)) == facts.as_json  # what a file gives back
