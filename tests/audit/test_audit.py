"""The audit: five planted leaks and more are found, each by its check, and clean data give none."""

import io
import json
import re
import runpy
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from bad_photos import encoded
from command_line import SCRIPTS, run
from PIL import Image
from safetensors.torch import save_file
from scipy.io import loadmat, savemat
from timm.data.imagenet_info import ImageNetInfo
from tiny import tiny_instances

from backbones import Backbone
from shards import read_index, write_shards
from zsl.audit.audit import AUDIT_FILE, PICTURE_FILE, audit, report
from zsl.audit.findings import Finding
from zsl.audit.pretraining import check_pretraining
from zsl.audit.provenance import check_overlap, check_run, check_scaler
from zsl.common.files import read_json, write_json
from zsl.common.records import content_of
from zsl.datasets.benchmark import read_benchmark
from zsl.datasets.instances import Instance
from zsl.datasets.split_file import read_split_file
from zsl.datasets.splits import Splits, make_splits
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.facts import describe_data
from zsl.features.load import load_splits
from zsl.features.manifest import EncodeFacts, Imported, TransformFacts
from zsl.features.pretraining import CLASSES_FILE, SYNONYMS, imagenet_names
from zsl.features.scaling import FeatureScaler
from zsl.features.table import FeatureTable, read_features

SCRIPT = SCRIPTS / "audit.py"


@pytest.fixture
def data(tiny_shapes: Path, tiny_features: Path, tmp_path: Path) -> Path:
    """A copy of the tiny benchmark with its feature table, to plant leaks in."""
    shutil.copytree(tiny_shapes, tmp_path / "data")
    return tmp_path / "data"


def found(findings: list[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check.startswith(check))


def run_audit(data: Path) -> list[Finding]:
    return audit("shapes", data, data / "out")


def first_rows(data: Path) -> dict[str, Instance]:
    """The first instance of each part."""
    raw = read_benchmark("shapes", data / "shapes" / "raw", data / "shapes" / "raw")
    parts = ("trainval", "test_seen", "test_unseen")
    return {part: raw.instances[int(getattr(raw.splits, f"{part}_loc")[0])] for part in parts}


def claims(table: FeatureTable, splits: Splits) -> dict[str, Any]:
    """What an honest run on `table` and `splits` says of its data in `config.json`."""
    return content_of(describe_data(table, splits)) | {"protocol": "honest: a fixed recipe", "inductive": True}


def repack(data: Path, *, changed: Instance | None = None) -> None:
    """Shards anew from the raw photos; `changed` takes the place of the instance of its row."""
    raw = read_benchmark("shapes", data / "shapes" / "raw", data / "shapes" / "raw")
    instances = [changed if changed and changed.row == one.row else one for one in raw.instances]
    source = {"verdict": raw.verdict, "split_hashes": list(raw.split_file.hashes), "missing": 0}
    write_shards(instances, raw.images, data / "shapes" / "shards", benchmark="shapes", total=72, source=source)


def test_clean_data_are_clean(data: Path) -> None:
    process = run("audit.py", "--data", data)
    assert process.returncode == 0, process.stdout + process.stderr
    written = read_json(data / "shapes" / "audit" / AUDIT_FILE)
    assert written["clean"]
    assert written["counts"]["fail"] == 0
    state = {finding["check"].split()[0]: finding["severity"] for finding in written["findings"]}
    assert {key for key, severity in state.items() if severity == "ok"} >= {"shards", "row", "same", "near", "scaler"}
    assert state["pretraining"] == "warn"  # random weights from a file: nobody knows what they saw


def test_a_leak_ends_the_script_with_exit_code_1(data: Path) -> None:
    raw, rows = data / "shapes" / "raw", first_rows(data)
    shutil.copyfile(raw / rows["trainval"].file, raw / rows["test_seen"].file)
    repack(data)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT))["main"](runpy.run_path(str(SCRIPT))["Args"](data=data))
    assert end.value.code == 1


def test_the_same_bytes_in_two_splits_are_found(data: Path) -> None:
    raw, rows = data / "shapes" / "raw", first_rows(data)
    shutil.copyfile(raw / rows["trainval"].file, raw / rows["test_unseen"].file)
    repack(data)
    finding = found(run_audit(data), "same bytes")
    assert finding.severity == "fail"
    assert {row for row, _, _ in finding.details["groups"][0]} == {rows["trainval"].row, rows["test_unseen"].row}
    assert found(run_audit(data), "same file").severity == "ok"
    process = run("audit.py", "--data", data)
    assert process.returncode == 1


def test_the_same_file_in_two_splits_is_found(data: Path) -> None:
    rows = first_rows(data)
    repack(data, changed=replace(rows["test_seen"], file=rows["trainval"].file))
    finding = found(run_audit(data), "same file")
    assert finding.severity == "fail"
    assert [row for row, _, _ in finding.details["groups"][0]] == sorted([rows["trainval"].row, rows["test_seen"].row])


def test_a_damaged_near_duplicate_is_found_too(data: Path) -> None:
    raw, rows = data / "shapes" / "raw", first_rows(data)
    jpeg = encoded(Image.open(raw / rows["trainval"].file).convert("RGB"), "JPEG", quality=60)
    (raw / rows["test_unseen"].file).write_bytes(jpeg[:-20] + b"\xfe" * 18 + jpeg[-2:])  # its last pixels are lost
    repack(data)
    assert found(run_audit(data), "near duplicates").severity == "warn"
    assert Image.open(data / "out" / PICTURE_FILE).size


def test_a_near_duplicate_across_splits_is_found_and_drawn(data: Path) -> None:
    raw, rows = data / "shapes" / "raw", first_rows(data)
    photo = Image.open(raw / rows["trainval"].file).convert("RGB")
    smaller = photo.resize((int(photo.width * 0.9), int(photo.height * 0.9)))
    smaller.save(raw / rows["test_unseen"].file, format="JPEG", quality=60)
    repack(data)
    findings = run_audit(data)
    assert found(findings, "same bytes").severity == "ok"
    finding = found(findings, "near duplicates")
    assert finding.severity == "warn"
    assert sorted([rows["trainval"].row, rows["test_unseen"].row]) in [p["rows"] for p in finding.details["pairs"]]
    picture = Image.open(io.BytesIO((data / "out" / PICTURE_FILE).read_bytes())).convert("L")
    assert np.asarray(picture).std() > 10  # not an empty sheet


def test_features_of_other_shards_are_found(data: Path) -> None:
    (manifest,) = (data / "shapes" / "features").glob("*/manifest.json")
    write_json(manifest, read_json(manifest) | {"shards_sha256": "0" * 64})
    finding = found(run_audit(data), "features")
    assert finding.severity == "fail"
    assert "made from other shards (000000000000" in finding.message


@pytest.mark.parametrize("name", ["features", "labels"])
@pytest.mark.parametrize("shards", [True, False])
def test_an_array_that_changed_since_it_was_written_is_found(data: Path, name: str, shards: bool) -> None:
    if not shards:
        shutil.rmtree(data / "shapes" / "shards")
    (path,) = data.glob(f"shapes/features/*/{name}.npy")
    assert found(run_audit(data), "features").severity == ("ok" if shards else "warn")
    array = np.load(path)
    array[-1] += 1
    np.save(path, array)
    finding = found(run_audit(data), "features")
    assert finding.severity == "fail"
    assert f"{name}.npy of test_vit" in finding.message
    assert "not as the manifest describes" in finding.message


def test_classes_that_changed_places_since_extraction_are_found(data: Path) -> None:
    path = data / "shapes" / "splits" / "att_splits.mat"
    content = {key: value for key, value in loadmat(path).items() if key[0] != "_"}
    names = content["allclasses_names"].copy()
    content["allclasses_names"][[0, 1]] = names[[1, 0]]
    savemat(path, content)
    failures = [each for each in run_audit(data) if "made with other classes, or in another order" in each.message]
    assert [each.severity for each in failures] == ["fail", "fail"]
    assert failures[0].check == "photos"
    assert failures[1].check.startswith("features test_vit")


def test_an_unseen_class_that_imagenet_has_is_found() -> None:
    (finding,) = check_pretraining("resnet101.tv_in1k", "ImageNet-1k", ["014.Indigo_Bunting", "dolphin"])
    assert finding.severity == "fail"
    assert list(finding.details["exact"]) == ["014.Indigo_Bunting"]
    (clean,) = check_pretraining("resnet101.tv_in1k", "ImageNet-1k", ["dolphin", "walrus"])
    assert clean.severity == "ok"
    (large,) = check_pretraining("vit", "LAION", ["dolphin", "walrus"])
    assert large.severity == "warn"
    assert "has seen most of" in large.message


def test_synonyms_of_the_official_unseen_classes_are_told(shared_data: Path) -> None:
    expected = {
        "APY": ["cow", "horse", "motorbike", "pottedplant", "sheep", "train", "tvmonitor"],
        "AWA2": ["horse", "sheep"],
        "CUB": ["070.Green_Violetear", "087.Mallard"],
    }
    for benchmark, names in expected.items():
        unseen = (shared_data / "xlsa17" / benchmark / "testclasses.txt").read_text().split()
        (finding,) = check_pretraining("resnet101.tv_in1k", "ImageNet-1k", unseen)
        assert finding.severity == "warn"
        assert sorted(finding.details["synonyms"]) == names
    known = imagenet_names()
    assert all(lemma.replace(" ", "") in known for lemmas in SYNONYMS.values() for lemma in lemmas)


def test_the_list_of_imagenets_classes_is_that_of_timm() -> None:
    info = ImageNetInfo()
    assert CLASSES_FILE.read_text().splitlines() == [info.index_to_description(i) for i in range(info.num_classes())]


def test_overlapping_rows_are_found(data: Path, tiny_features: Path) -> None:
    made = read_features(tiny_features)
    splits = make_splits(read_split_file(data / "shapes" / "splits"), made.rows, made.labels)
    assert check_overlap(splits).severity == "ok"
    leaking = replace(splits, trainval_loc=np.sort(np.append(splits.trainval_loc, splits.test_seen_loc[:2])))
    finding = check_overlap(leaking)
    assert finding.severity == "fail"
    assert finding.details["rows"] == {"trainval_loc and test_seen_loc": splits.test_seen_loc[:2].tolist()}


def test_a_scaler_fitted_on_test_rows_is_found(data: Path, tiny_features: Path, tmp_path: Path) -> None:
    made = read_features(tiny_features)
    splits = make_splits(read_split_file(data / "shapes" / "splits"), made.rows, made.labels)
    everything = FeatureScaler.fit(torch.from_numpy(np.array(made.features)))
    save_file({"scaler.low": everything.low, "scaler.span": everything.span}, tmp_path / "model.safetensors")
    (finding,) = check_scaler(made, splits, tmp_path)
    assert finding.severity == "fail"
    assert "on all rows, test rows included" in finding.message
    right = FeatureScaler.fit(made.at(splits.trainval_loc)[0])
    save_file({"scaler.low": right.low, "scaler.span": right.span}, tmp_path / "model.safetensors")
    (finding,) = check_scaler(made, splits, tmp_path)
    assert finding.severity == "ok"


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x08" + bytes(20)])
def test_a_damaged_file_of_a_run_is_a_finding(data: Path, tiny_features: Path, tmp_path: Path, content: bytes) -> None:
    made = read_features(tiny_features)
    splits = make_splits(read_split_file(data / "shapes" / "splits"), made.rows, made.labels)
    (tmp_path / "train.safetensors").write_bytes(content)
    (finding,) = check_scaler(made, splits, tmp_path)
    assert finding.severity == "fail"
    assert finding.message.startswith(f"{tmp_path / 'train.safetensors'} is ")
    assert finding.message.endswith("train the run anew")


OTHER_FACTS: dict[str, dict[str, Any]] = {
    "shards_sha256": {"shards_sha256": "0" * 64},
    "weights_sha256": {"weights_sha256": None},
    "backbone": {"backbone": "test_vit-288px"},
    "precision": {"precision": "bf16"},
    "count": {"count": 71},
    "transform": {"transform": TransformFacts(size=(384, 384), mean=(0, 0, 0), std=(1, 1, 1), interpolation="bicubic")},
    "encode": {"encode": EncodeFacts(flip=True, layer=None, fp32_layers=())},
    "imported_sha256": {"imported": Imported(file="res101.mat", sha256="f" * 64)},
}


@pytest.mark.parametrize("fact", OTHER_FACTS)
def test_a_run_on_features_that_differ_in_any_fact_is_found(
    data: Path, tiny_features: Path, tmp_path: Path, fact: str
) -> None:
    table = read_features(tiny_features)
    splits = load_splits("shapes", data, table)
    write_json(tmp_path / "config.json", claims(table, splits))
    (finding,) = check_run(tmp_path, table, splits)
    assert finding.severity == "ok"
    other = replace(table, manifest=replace(table.manifest, **OTHER_FACTS[fact]))
    (finding,) = check_run(tmp_path, other, splits)
    assert finding.severity == "fail"
    assert finding.details == {"facts": [fact]}


def test_a_run_that_does_not_say_its_features_is_found(data: Path, tiny_features: Path, tmp_path: Path) -> None:
    table = read_features(tiny_features)
    splits = load_splits("shapes", data, table)
    content = claims(table, splits)
    del content["features"]["encode"]
    write_json(tmp_path / "config.json", content)
    (finding,) = check_run(tmp_path, table, splits)
    assert finding.severity == "fail"
    assert "`encode`" in finding.message


@pytest.mark.parametrize("fold", [None, 2])
def test_a_run_is_held_against_the_rows_of_its_fold(
    data: Path, tiny_features: Path, tmp_path: Path, fold: int | None
) -> None:
    table, run = read_features(tiny_features), tmp_path / "run"
    splits = load_splits("shapes", data, table, fold=fold)
    run.mkdir()
    write_json(run / "config.json", claims(table, splits))
    for rows, severity in ((splits.trainval_loc, "ok"), (splits.trainval_loc[:-1], "fail"), (table.rows, "fail")):
        fitted = FeatureScaler.fit(table.at(rows)[0])
        save_file({"scaler.low": fitted.low, "scaler.span": fitted.span}, run / "train.safetensors")
        findings = audit("shapes", data, data / "out", run=run)
        assert (found(findings, "scaler").severity, found(findings, "run").severity) == (severity, "ok")
    assert ("of validation fold 2" in found(findings, "scaler").message) == (fold == 2)


def test_a_run_on_a_fold_that_the_splits_lack_is_found(data: Path, tiny_features: Path, tmp_path: Path) -> None:
    table = read_features(tiny_features)
    write_json(tmp_path / "config.json", claims(table, load_splits("shapes", data, table, fold=1)))
    (data / "shapes" / "splits" / "valclasses1.txt").unlink()
    (finding,) = (each for each in audit("shapes", data, data / "out", run=tmp_path) if each.severity == "fail")
    assert "is a run on fold 1, which the splits here do not have" in finding.message


def extract_the_rest(data: Path, backbone: Backbone, accelerator: Accelerator, broken: Sequence[int]) -> FeatureTable:
    """Cut the photos of the rows `broken` short, and pack and extract anew, with these photos left out."""
    shards, out = data / "shapes" / "shards", data / "shapes" / "features" / backbone.name
    for row in broken:
        path = data / "shapes" / "raw" / tiny_instances(data)[row].file
        path.write_bytes(path.read_bytes()[:700])
    repack(data)
    shutil.rmtree(out)
    settings = ExtractSettings(batch_size=16, on_error="quarantine")
    extract_features(backbone, shards, read_index(shards), out, accelerator, settings)
    return read_features(out, allow_incomplete=True)


def test_a_run_without_unreadable_photos_is_audited_with_a_warning(
    data: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    broken = [one.row for one in first_rows(data).values()]
    table = extract_the_rest(data, tiny_backbone, accelerator, broken)
    splits = load_splits("shapes", data, table)
    write_json(tmp_path / "config.json", claims(table, splits))
    fitted = FeatureScaler.fit(table.at(splits.trainval_loc)[0])
    save_file({"scaler.low": fitted.low, "scaler.span": fitted.span}, tmp_path / "train.safetensors")
    findings = audit("shapes", data, data / "out", run=tmp_path)
    state = {name: found(findings, name).severity for name in ("shards", "features", "scaler", "run")}
    assert state == {"shards": "warn", "features": "warn", "scaler": "ok", "run": "ok"}
    assert "lacks 3 photos that could not be read" in found(findings, "features").message
    assert found(findings, "features").details["rows"] == sorted(broken)
    process = run("audit.py", "--data", data)
    assert process.returncode == 0, process.stdout + process.stderr
    (manifest,) = data.glob("shapes/features/*/manifest.json")
    write_json(manifest, read_json(manifest) | {"quarantined": 0})  # nothing says why the rows are absent
    assert found(run_audit(data), "features").severity == "fail"


def test_an_unreadable_photo_that_a_table_holds_fails(
    data: Path, tiny_features: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    table = extract_the_rest(data, tiny_backbone, accelerator, [0])
    shutil.copytree(tiny_features, data / "shapes" / "features" / "whole")
    findings = run_audit(data)
    assert 0 not in table.rows
    assert "1 photos cannot be decoded" in found(findings, "shards").message
    assert found(findings, "shards").severity == "fail"
    shutil.rmtree(data / "shapes" / "features")
    assert found(run_audit(data), "shards").severity == "fail"


def test_boxes_of_one_jpeg_in_two_splits_are_told_with_numbers(data: Path) -> None:
    rows = first_rows(data)
    repack(data, changed=replace(rows["test_unseen"], file=rows["trainval"].file, box=(0, 0, 20, 20)))
    findings = run_audit(data)
    assert found(findings, "same file").severity == found(findings, "same bytes").severity == "ok"
    finding = found(findings, "shared JPEGs")
    assert finding.severity == "warn"
    assert finding.details == {"jpegs": 1, "test_seen": [0, 12], "test_unseen": [1, 24]}


def test_the_table_puts_failures_first() -> None:
    findings = [
        Finding(check="a", severity="ok", message="fine"),
        Finding(check="b", severity="fail", message="leak"),
    ]
    lines = report(findings).splitlines()
    assert [line.split()[0] for line in lines] == ["FAIL", "OK", "NOT"]
    assert json.loads(json.dumps(findings[0].details)) == {}


@pytest.mark.parametrize(
    ("changes", "severity", "message"),
    [
        ({}, "ok", r"shapes \(6 classes\), with these splits"),
        ({"split_hashes": ["other", "splits", "then"]}, "fail", "with splits other/splits/then"),
        ({"classes": ["UNSEEN"]}, "fail", "1 of 3 unseen classes"),
        ({"benchmark": "own", "split_hashes": ["x"]}, "ok", r"own \(6 classes\)"),
        ({"fold": 2}, "warn", "fold 2 of shapes"),
    ],
)
def test_a_fine_tuning_on_test_rows_or_unseen_classes_is_found(
    data: Path, changes: dict[str, object], severity: str, message: str
) -> None:
    (folder,) = (path.parent for path in data.glob("shapes/features/*/manifest.json"))
    manifest = read_json(folder / "manifest.json")
    splits = load_splits("shapes", data, read_features(folder))
    tuned = {
        "benchmark": "shapes", "fold": None, "trainval": {"count": 1, "hash": "abc"}, "started_from": {},
        "split_hashes": manifest["source"]["split_hashes"], "classes": [splits.class_names[i] for i in splits.seen],
    }  # fmt: skip
    if changes.get("classes") == ["UNSEEN"]:
        changes = {"classes": [splits.class_names[splits.unseen[0]]]}
    assert "fine-tuning" not in {finding.check for finding in run_audit(data)}
    write_json(folder / "manifest.json", manifest | {"finetuned": tuned | changes})
    finding = found(run_audit(data), "fine-tuning")
    assert finding.severity == severity
    assert re.search(message, finding.message)


@pytest.mark.parametrize(("benchmark", "folder"), [("awa1", "AWA1"), ("apy", "APY"), ("sun", "SUN"), ("cub", "CUB")])
def test_split_files_are_audited_before_anything_is_packed(
    shared_data: Path, tmp_path: Path, benchmark: str, folder: str
) -> None:
    findings = audit(benchmark, tmp_path, tmp_path / "out", splits=shared_data / "xlsa17" / folder)
    state = {finding.check: finding.severity for finding in findings}
    assert state == {
        "splits": "ok", "vintage": "ok", "attributes": "ok", "row overlap": "ok", "class lists": "ok",
        "not looked at": "warn",
    }  # fmt: skip
    assert "photos, features, scaler and run" in found(findings, "not looked at").message


def swap_lists(folder: Path) -> None:
    (folder / "testclasses.txt").write_text((folder / "trainvalclasses.txt").read_text())


def shift_labels(folder: Path) -> None:
    labels = loadmat(folder / "labels_files.mat")["labels"]
    savemat(folder / "labels_files.mat", {"labels": np.roll(labels, 500)})


def cut_labels(folder: Path) -> None:
    savemat(folder / "labels_files.mat", {"labels": loadmat(folder / "labels_files.mat")["labels"][:-1]})


def no_labels(folder: Path) -> None:
    (folder / "labels_files.mat").unlink()
    swap_lists(folder)


def no_test_classes(folder: Path) -> None:
    (folder / "labels_files.mat").unlink()
    (folder / "testclasses.txt").write_text("\n")


def equal_attributes(folder: Path) -> None:
    content = {key: value for key, value in loadmat(folder / "att_splits.mat").items() if key[0] != "_"}
    content["att"][:, 3] = 2 * content["att"][:, 7]
    savemat(folder / "att_splits.mat", content)


def strange_class(folder: Path) -> None:
    (folder / "labels_files.mat").unlink()
    (folder / "testclasses.txt").write_text("tapir\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (equal_attributes, r"have equal or proportional attributes \(1 such pairs\)"),
        (no_test_classes, r"testclasses\.txt names no class; get the whole file"),
        (swap_lists, r"classes .*are not in testclasses\.txt|are both in"),
        (shift_labels, r"classes have trainval rows and test_unseen rows"),
        (cut_labels, r"labels_files\.mat has 30,474 labels, the split file has 30,475 rows"),
        (no_labels, r"40 classes are both in trainvalclasses\.txt and in testclasses\.txt"),
        (strange_class, r"testclasses\.txt names 'tapir', which is not a class of the split file"),
    ],
)
def test_split_files_that_contradict_each_other_fail(
    shared_data: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    splits = tmp_path / "splits"
    shutil.copytree(shared_data / "xlsa17" / "AWA1", splits, copy_function=shutil.copyfile)
    splits.chmod(0o755)
    spoil(splits)
    findings = audit("awa1", tmp_path, tmp_path / "out", splits=splits)
    finding = found(findings, "attributes" if spoil is equal_attributes else "classes")
    assert finding.severity == "fail"
    assert re.search(message, finding.message)


def test_the_script_refuses_the_leaky_vintage_without_a_word_of_python(shared_data: Path, tmp_path: Path) -> None:
    splits = shared_data / "xlsa17_v1_leaky" / "AWA1"
    process = run("audit.py", "--benchmark", "awa1", "--data", tmp_path, "--splits", splits)
    assert process.returncode == 1
    assert "leaky vintage" in process.stdout
    assert "not looked at" in process.stdout
    assert "=True" not in process.stdout + process.stderr
