"""Joined backbones: tables side by side, scaled to equal variance; what any part knows, the join knows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import assert_refused, run
from toy import toy_manifest, toy_table

from backbones import EncodeOptions, unseen_classes
from backbones.options import named_options
from backbones.presets import join_pretraining
from backbones.tuned import Rows, TunedFacts
from zsl.audit.doctor import doctor
from zsl.cli import FeatureArgs
from zsl.datasets.splits import Splits
from zsl.features.facts import describe_data, describe_features, with_parts
from zsl.features.join import JoinedManifest, find_tables, join_tables, part_names, read_tables
from zsl.features.load import load_calibration, load_splits
from zsl.features.manifest import Imported, Manifest, read_manifest, write_manifest
from zsl.features.pretraining import tuned_on
from zsl.features.scaling import FeatureScaler
from zsl.features.split import split_features
from zsl.features.table import FeatureTable, read_features


def tuned(fold: int | None, classes: tuple[str, ...], before: TunedFacts | None = None) -> TunedFacts:
    return TunedFacts(
        benchmark="toy", fold=fold, trainval=Rows(count=1, hash="a"), split_hashes=(), classes=classes,
        started_from=before,
    )  # fmt: skip


def toy_part(name: str, dim: int = 5, **changes: object) -> FeatureTable:
    """A table of the toy problem's photos with random features; `changes` are of its manifest."""
    table, _ = toy_table()
    features = np.random.default_rng(dim).normal(size=(len(table.rows), dim)).astype(np.float32) * dim
    manifest = toy_manifest(backbone=name, dim=dim, count=len(table.rows), **changes)
    return replace(table, features=features, manifest=manifest)


# --- the numbers -----------------------------------------------------------------------------------------------------


def test_the_joined_table_has_the_parts_features_side_by_side(tiny_join: Path) -> None:
    folders = sorted(path.parent for path in tiny_join.glob("shapes/features/*/manifest.json"))
    parts = [read_features(folder) for folder in folders]
    table = FeatureArgs(data=tiny_join, backbone="+".join(folder.name for folder in folders)).read_table()
    expected = np.concatenate([np.asarray(part.features) for part in parts], axis=1)
    np.testing.assert_array_equal(np.asarray(table.features), expected)
    np.testing.assert_array_equal(table.at(table.rows[[7, 3]])[0].numpy(), expected[[7, 3]])
    assert table.features.shape == expected.shape == (72, table.manifest.dim)
    table.check_content()
    other_way = read_tables(folders[::-1])
    assert describe_features(other_way.manifest) != describe_features(table.manifest)
    np.testing.assert_array_equal(other_way.features[:, : table.blocks[1]], parts[1].features)


def test_every_block_is_scaled_to_the_total_variance_of_the_one_that_varies_least() -> None:
    one, two, three = (toy_part(name, dim) for name, dim in (("a", 3), ("b", 9), ("c", 4)))
    splits = toy_table()[1]
    train, test = split_features(join_tables([one, two, three]), splits)
    scaled = []
    for part in (one, two, three):  # each part as numpy scales it alone
        rows = np.asarray(part.features)[splits.trainval_loc].astype(float)
        low, high = rows.min(0), rows.max(0)
        scaled.append((np.asarray(part.features) - low) / (high - low))
    variances = [block[splits.trainval_loc].var(0).sum() for block in scaled]
    expected = np.concatenate(
        [block * np.sqrt(min(variances) / total) for block, total in zip(scaled, variances, strict=True)], axis=1
    )
    np.testing.assert_allclose(train.features.numpy(), expected[splits.trainval_loc], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(test.unseen.features.numpy(), expected[splits.test_unseen_loc], rtol=1e-4, atol=1e-5)
    totals = [block.numpy().var(0).sum() for block in train.features.split([3, 9, 4], dim=1)]
    assert totals == pytest.approx([min(variances)] * 3, rel=1e-4)
    assert train.features.max() == 1


def test_a_join_of_one_part_is_the_part() -> None:
    table, splits = toy_table()
    assert join_tables([table]) is table
    features, _ = table.at(splits.trainval_loc)
    alone, block = FeatureScaler.fit(features), FeatureScaler.fit(features, (features.shape[1],))
    assert torch.equal(alone.low, block.low)
    assert torch.equal(alone.span, block.span)


def test_a_block_that_does_not_vary_disturbs_no_other() -> None:
    features = torch.cat([torch.rand(9, 4), torch.ones(9, 2)], dim=1)
    scaled = FeatureScaler.fit(features, (4, 2))(features)
    assert torch.equal(scaled[:, :4], FeatureScaler.fit(features[:, :4])(features[:, :4]))
    assert torch.equal(scaled[:, 4:], torch.zeros(9, 2))


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "known", "parts"),
    [
        ("a", (), ("a",)),
        ("a+b+c", (), ("a", "b", "c")),
        ("x-fp32-a+b+y", ("x-fp32-a+b",), ("x-fp32-a+b", "y")),  # a table's own name may have the sign
        ("y+x-fp32-a+b", ("x-fp32-a+b", "y"), ("y", "x-fp32-a+b")),
    ],
)
def test_the_name_of_a_join_is_split_into_its_parts(name: str, known: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert part_names(name, known) == parts


@pytest.mark.parametrize("options", [
    EncodeOptions(), EncodeOptions(image_size=288), EncodeOptions(image_size=64, crop_pct=0.9, crops=5, flip=True),
    EncodeOptions(layer="stages.2", flip=True),
])  # fmt: skip
def test_a_name_says_its_options_as_the_tables_folder_does(options: EncodeOptions) -> None:
    assert named_options(f"resnet18.a1_in1k{options.tag}") == ("resnet18.a1_in1k", options)
    flags = EncodeOptions(image_size=96, fp32_layers=("stem",))
    _, both = named_options(f"resnet18{options.tag}", flags)
    assert both.image_size == (options.image_size or 96)
    assert both.fp32_layers == ("stem",)


def test_a_part_that_is_missing_unknown_empty_or_named_twice_is_refused(tiny_join: Path) -> None:
    one = next(path.parent.name for path in tiny_join.glob("shapes/features/*/manifest.json"))
    with pytest.raises(FileNotFoundError, match=r"no features of resnet50\.a1_in1k-96px .*--backbone resnet50-96px"):
        find_tables(tiny_join, "shapes", f"{one}+resnet50-96px")
    with pytest.raises(ValueError, match="no backbone 'resnet5000'"):
        find_tables(tiny_join, "shapes", f"{one}+resnet5000")
    for empty in (f"{one}+", f"+{one}", f"{one}++resnet50", "+"):
        with pytest.raises(ValueError, match=r"a name is missing beside a \+"):
            find_tables(tiny_join, "shapes", empty)
    with pytest.raises(ValueError, match=r"are the same features .*name each part once"):
        find_tables(tiny_join, "shapes", f"{one}+{one}")


@pytest.mark.parametrize("other", ["resnet101", "nonsense_backbone", "test_vit+resnet101"])
@pytest.mark.parametrize("script", ["train_dcrgan.py", "choose.py", "audit.py"])
def test_features_beside_another_backbone_are_refused(
    tiny_features: Path, tmp_path: Path, script: str, other: str
) -> None:
    words = ("--features", tiny_features, "--backbone", other, "--data", tiny_features.parents[2])
    place = ("--out" if script == "audit.py" else "--runs", tmp_path / "out")
    process = run(script, *words, *place)
    assert_refused(process, f"{tiny_features} is a table of {tiny_features.name}, --backbone {other} names another")
    assert not (tmp_path / "out").exists()


def test_features_beside_their_own_backbone_are_read(tiny_features: Path, tmp_path: Path) -> None:
    renamed = shutil.copytree(tiny_features, tmp_path / "mine")
    manifest = read_manifest(renamed / "manifest.json")
    for backbone in (None, "mine", manifest.backbone):
        assert FeatureArgs(features=renamed, backbone=backbone).read_table().manifest.backbone == manifest.backbone
    write_manifest(renamed / "manifest.json", replace(manifest, backbone="resnet101.tv_in1k-288px"))
    assert FeatureArgs(features=renamed, backbone="resnet101-288px").read_table().manifest.dim == 64
    with pytest.raises(ValueError, match=r"is a table of resnet101\.tv_in1k-288px, --backbone resnet101 names another"):
        FeatureArgs(features=renamed, backbone="resnet101").read_table()


def test_a_part_is_found_twice_under_its_two_names(tiny_join: Path, tmp_path: Path) -> None:
    folder = next(path.parent for path in tiny_join.glob("shapes/features/*/manifest.json"))
    shutil.copytree(folder, tmp_path / "shapes" / "features" / "resnet50.a1_in1k")
    with pytest.raises(ValueError, match=r"resnet50 and resnet50\.a1_in1k are the same features"):
        find_tables(tmp_path, "shapes", "resnet50+resnet50.a1_in1k")


# --- tables that do not fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: replace(m, benchmark="other"), "benchmark toy and other"),
        (lambda m: replace(m, source=replace(m.source, split_hashes=("x", "y", "z"))), "splits  and x/y/z"),
        (lambda m: replace(m, source=replace(m.source, classes_hash="q")), "classes c and q"),
        (lambda m: replace(m, shards_sha256="y"), "shards x and y"),
        (lambda m: replace(m, precision="bf16"), "precision x and bf16"),
    ],
)
def test_tables_of_other_photos_or_splits_are_not_joined(change: Callable[[Manifest], Manifest], message: str) -> None:
    source = replace(toy_manifest().source, classes_hash="c")
    one, two = toy_part("first", source=source), toy_part("second", 7, source=source)
    with pytest.raises(ValueError, match=f"features of first and of second cannot be joined: {message}"):
        join_tables([one, replace(two, manifest=change(two.manifest))])


def test_a_join_knows_the_classes_that_any_part_states() -> None:
    """A table that an earlier version imported does not state them."""
    stated = replace(toy_manifest().source, classes_hash="c")
    one, two, three = toy_part("a", 2, source=stated), toy_part("b", 3), toy_part("c", 4, source=stated)
    for order in permutations((one, two, three)):
        assert join_tables(order).manifest.source.classes_hash == "c"
    assert join_tables([two, toy_part("d", 6)]).manifest.source.classes_hash is None


def test_tables_of_other_rows_are_not_joined_whatever_their_manifests_say() -> None:
    one, two = toy_part("first"), toy_part("second", 7)
    fewer = replace(two, rows=two.rows[1:], labels=two.labels[1:], features=two.features[1:])
    with pytest.raises(ValueError, match=r"first \(400 rows\) and of second \(399\) cannot be joined: rows"):
        join_tables([one, fewer])
    imported = replace(two.manifest, shards_sha256=None, precision="unknown", imported=Imported(file="x", sha256="y"))
    assert join_tables([one, replace(two, manifest=imported)]).manifest.shards_sha256 == "x"


def test_a_damaged_part_is_named(tiny_join: Path) -> None:
    folders = sorted(path.parent for path in tiny_join.glob("shapes/features/*/manifest.json"))
    one, two = (read_features(folder) for folder in folders)
    changed = replace(two, features=np.asarray(two.features) + 1)
    with pytest.raises(ValueError, match=rf"features\.npy of {two.manifest.backbone} for shapes: not as the manifest"):
        join_tables([one, changed]).check_content()


# --- what the join knows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "worst"),
    [
        (["ImageNet-1k", "ImageNet-1k"], "synonyms"),
        (["ImageNet-1k", "ImageNet-1k (without labels)"], "synonyms"),
        (["ImageNet-1k", "ImageNet-22k"], "probably seen"),
        (["unknown (weights file x)", "ImageNet-1k"], "unknown"),
        (["ImageNet-1k", "unknown (weights file x)", "LVD-142M"], "probably seen"),
    ],
)
def test_the_pretraining_of_a_join_is_the_worst_of_its_parts(parts: list[str], worst: str) -> None:
    for order in (parts, parts[::-1]):
        tables = [toy_part(f"part{n}", n + 2, pretraining=text) for n, text in enumerate(order)]
        manifest = join_tables(tables).manifest
        assert manifest.unseen_classes == unseen_classes(manifest.pretraining) == worst
        assert all(text in manifest.pretraining for text in parts)
    assert join_pretraining(parts[:1]) == parts[0]


def test_a_class_that_one_part_has_learnt_by_name_is_probably_seen_by_the_join() -> None:
    splits = toy_table()[1]
    names = list(splits.class_names)
    names[splits.unseen[0]] = "014.Indigo_Bunting"  # a class of ImageNet-1k
    splits = replace(splits, class_names=tuple(names))
    parts = [toy_part(text, n + 2, pretraining=text) for n, text in enumerate(("ImageNet-1k", "unknown (weights x)"))]
    flags = [describe_data(table, splits).unseen_classes for table in parts]
    assert flags == ["probably seen", "unknown"]
    for order in (parts, parts[::-1]):
        assert describe_data(join_tables(order), splits).unseen_classes == "probably seen"


def test_parts_are_compared_with_each_other_whichever_is_imported() -> None:
    imported = Imported(file="res101.mat", sha256="0")
    parts = [
        toy_part("x", 2, shards_sha256="1"), toy_part("y", 3, shards_sha256="2"), toy_part("z", 4, imported=imported)
    ]  # fmt: skip
    for order in permutations(parts):
        with pytest.raises(ValueError, match=r"of [xy] and of [xy] cannot be joined: shards"):
            join_tables(order)


def test_the_same_features_under_two_names_are_refused(tiny_join: Path) -> None:
    folder = next(path.parent for path in sorted(tiny_join.glob("shapes/features/*/manifest.json")))
    table = read_features(folder)
    again = replace(table, manifest=replace(table.manifest, backbone="under_another_name"))
    with pytest.raises(ValueError, match="under_another_name are the same features"):
        join_tables([table, again])


def test_what_any_part_was_tuned_on_the_join_was_tuned_on() -> None:
    before = tuned(None, ("class 3",))
    one = toy_part("a", 2, finetuned=tuned(1, ("class 5",), before))
    two = toy_part("b", 3, finetuned=tuned(2, ("class 7",)))
    three = toy_part("c", 4)
    one, two = replace(one, tuned_rows=np.array([1, 4])), replace(two, tuned_rows=np.array([4, 9]))
    splits = toy_table()[1]
    for tables in ([one, two, three], [three, two, one], [three, one, two]):
        table = join_tables(tables)
        assert set(tuned_on(table.manifest.finetuned, splits.class_names)) == {"class 3", "class 5", "class 7"}
        assert table.tuned_rows is not None
        assert table.tuned_rows.tolist() == [1, 4, 9]
        assert load_calibration(table, splits, torch.device("cpu")) == {}
    assert join_tables([three, toy_part("d", 6)]).manifest.finetuned is None


def without(facts: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key not in fields}


def test_facts_of_earlier_files_are_those_of_tables_alone() -> None:
    facts = describe_features(toy_part("a").manifest).as_json
    older = {**facts, "features": without(facts["features"], "parts", "engine")}
    assert with_parts(older) == with_parts(facts) == facts
    assert with_parts({"selection": older, "features": older["features"]})["selection"] == facts
    joined = describe_features(join_tables([toy_part("a"), toy_part("b", 7)]).manifest)
    assert [part.dim for part in joined.features.parts] == [5, 7]
    assert (joined.backbone, joined.features.dim) == ("a+b", 12)
    of_now = joined.as_json
    parts = [without(part, "engine") for part in of_now["features"]["parts"]]
    before_engines = {**of_now, "features": {**without(of_now["features"], "engine"), "parts": parts}}
    assert with_parts(before_engines) == of_now


def test_the_doctor_looks_for_each_part(tiny_join: Path) -> None:
    names = sorted(path.parent.name for path in tiny_join.glob("shapes/features/*/manifest.json"))
    looks = {"images": None, "splits": None, "weights": None}
    findings = {f.check: f for f in doctor("shapes", tiny_join, backbone="+".join(names), **looks)}  # type: ignore[arg-type]
    assert findings["join"].severity == "ok"
    assert f"weights {names[1]}" in findings
    lacks = doctor("shapes", tiny_join, backbone=f"{names[0]}+resnet50.tv_in1k", hub_seconds=0, **looks)  # type: ignore[arg-type]
    assert any("no features of resnet50.tv_in1k" in finding.message for finding in lacks)


def test_splits_of_a_join_are_checked_as_of_a_table(tiny_join: Path) -> None:
    folders = find_tables(
        tiny_join, "shapes", "+".join(sorted(p.parent.name for p in tiny_join.glob("*/*/*/rows.npy")))
    )
    table = read_tables(folders)
    assert len(load_splits("shapes", tiny_join, table).seen) == 6
    other = replace(table, manifest=replace(table.manifest, source=replace(table.manifest.source, split_hashes=("a",))))
    with pytest.raises(ValueError, match="the features were made with splits a"):
        load_splits("shapes", tiny_join, other)


@pytest.mark.parametrize("changed", [0, 1])
def test_each_part_of_a_join_is_compared_with_the_shards(tiny_join: Path, changed: int) -> None:
    table = read_tables(sorted(path.parent for path in tiny_join.glob("shapes/features/*/manifest.json")))
    manifest = table.manifest
    assert isinstance(manifest, JoinedManifest)

    def load(**changes: object) -> Splits:
        parts = list(manifest.parts)
        parts[changed] = replace(parts[changed], **changes)  # type: ignore[arg-type]
        return load_splits("shapes", tiny_join, replace(table, manifest=replace(manifest, joined=tuple(parts))))

    with pytest.raises(ValueError, match=f"features of {manifest.parts[changed].backbone} have 72 rows of shards 0000"):
        load(shards_sha256="0" * 64)
    assert len(load(shards_sha256=None, imported=Imported(file="x.mat", sha256="y")).seen) == 6  # made from no shards
