"""The embedded benchmark: equal bytes for equal seeds, the official file forms, and classes that make a fair task."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from zsl.datasets import shapes
from zsl.datasets.shapes import ShapesConfig, make_design, write, write_shapes
from zsl.datasets.shapes.design import ATTRIBUTES, GROUPS
from zsl.datasets.shapes.photo import image_rng, sample_camera

TINY = ShapesConfig(seen_classes=4, unseen_classes=2, images_per_class=6, image_size=64)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks") / "shapes"
    write_shapes(folder, TINY)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def values_of(name: str) -> list[str]:
    """A class's value in each group, read from its name."""
    return name.split("_")


def configs() -> Iterator[ShapesConfig]:
    yield TINY
    yield ShapesConfig()
    yield ShapesConfig(seed=7)
    yield ShapesConfig(seed=1, seen_classes=60, unseen_classes=20)


def test_equal_seeds_give_equal_bytes_and_others_do_not(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.asctime", lambda *_: "Thu Jan  1 00:00:00 1970")  # what scipy stamps into the header
    write_shapes(tmp_path / "again", TINY)
    write_shapes(tmp_path / "other", ShapesConfig(**{**vars(TINY), "seed": 1}))
    assert contents(tmp_path / "again") == contents(tiny)
    other = contents(tmp_path / "other")
    assert other["allclasses.txt"] != contents(tiny)["allclasses.txt"]
    assert other["att_splits.mat"] != contents(tiny)["att_splits.mat"]


def test_seeds_change_the_photos_of_equal_classes() -> None:
    design = make_design(TINY)
    drawn = {seed: shapes.draw_jpeg(design, 0, 0, ShapesConfig(seed=seed, image_size=64)) for seed in (0, 1)}
    assert drawn[0] != drawn[1]


def test_any_image_can_be_drawn_again_alone(tiny: Path) -> None:
    design = make_design(TINY)
    name = design.names[3]
    assert (tiny / "images" / name / f"{name}_0005.jpg").read_bytes() == shapes.draw_jpeg(design, 3, 4, TINY)


def test_the_split_file_has_the_official_form(tiny: Path) -> None:
    mat = scipy.io.loadmat(tiny / "att_splits.mat")
    names = [name[0][0] for name in mat["allclasses_names"]]
    assert mat["allclasses_names"].shape == (6, 1)
    assert names == lines(tiny / "allclasses.txt")
    assert mat["original_att"].shape == mat["att"].shape == (len(lines(tiny / "attributes.txt")), 6)
    assert mat["original_att"].min() >= 0
    assert mat["original_att"].max() <= 100
    for column in range(6):
        strengths = mat["original_att"][:, column]
        np.testing.assert_allclose(mat["att"][:, column], strengths / sum(strengths**2) ** 0.5)
    assert not {"train_loc", "val_loc"} & set(mat)


def test_the_splits_cover_every_row_once_and_agree_with_the_folders(tiny: Path) -> None:
    mat = scipy.io.loadmat(tiny / "att_splits.mat")
    files = sorted(str(path.relative_to(tiny / "images")) for path in (tiny / "images").rglob("*.jpg"))
    rows = {key: mat[key] for key in ("trainval_loc", "test_seen_loc", "test_unseen_loc")}
    assert all(column.shape == (column.size, 1) for column in rows.values())
    assert sorted(np.concatenate(list(rows.values())).ravel()) == list(range(1, len(files) + 1))
    classes = {key: [files[row - 1].split("/")[0] for row in column.ravel()] for key, column in rows.items()}
    assert set(classes["trainval_loc"]) == set(lines(tiny / "trainvalclasses.txt"))
    assert set(classes["test_seen_loc"]) == set(lines(tiny / "trainvalclasses.txt"))
    assert set(classes["test_unseen_loc"]) == set(lines(tiny / "testclasses.txt"))
    assert [len(classes[key]) for key in rows] == [4 * 5, 4 * 1, 2 * 6]


def test_every_photo_decodes_and_is_about_the_size_asked_for(tiny: Path) -> None:
    for path in (tiny / "images").rglob("*.jpg"):
        with Image.open(path) as photo:
            photo.load()
            assert photo.format == "JPEG"
            assert photo.mode in ("RGB", "L")
            assert all(0.9 * 64 <= side <= 1.15 * 64 for side in photo.size)
            assert np.asarray(photo).std() > 2, path
        assert path.stem.rsplit("_", 1)[0] == path.parent.name


def test_attribute_strengths_are_high_just_where_the_class_name_says_so(tiny: Path) -> None:
    strengths = scipy.io.loadmat(tiny / "att_splits.mat")["original_att"]
    attributes = [line.split(" ")[1].split("::") for line in lines(tiny / "attributes.txt")]
    assert [int(line.split(" ")[0]) for line in lines(tiny / "attributes.txt")] == list(range(1, len(attributes) + 1))
    groups = list(GROUPS)
    for column, name in enumerate(lines(tiny / "allclasses.txt")):
        truth = [values_of(name)[groups.index(group)] == value for group, value in attributes]
        assert (strengths[:, column] > 50).tolist() == truth


def test_folds_are_made_of_trainval_classes(tiny: Path) -> None:
    trainval = set(lines(tiny / "trainvalclasses.txt"))
    assert trainval | set(lines(tiny / "testclasses.txt")) == set(lines(tiny / "allclasses.txt"))
    for fold in (1, 2, 3):
        train, val = lines(tiny / f"trainclasses{fold}.txt"), lines(tiny / f"valclasses{fold}.txt")
        assert val
        assert sorted(train + val) == sorted(trainval)


@pytest.mark.parametrize("config", configs(), ids=lambda c: f"{c.seen_classes}+{c.unseen_classes} seed {c.seed}")
def test_unseen_classes_are_new_combinations_of_known_values(config: ShapesConfig) -> None:
    design = make_design(config)
    seen, unseen = ([values_of(design.names[i]) for i in ids] for ids in (design.seen, design.unseen))
    assert (len(seen), len(unseen)) == (config.seen_classes, config.unseen_classes)
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in design.names)
    for combo in unseen:
        assert combo not in seen
        for group, value in enumerate(combo):
            assert any(other[group] == value for other in seen)
    everyone = seen + unseen
    for i, a in enumerate(everyone):
        assert all(sum(p != q for p, q in zip(a, b, strict=True)) >= 2 for b in everyone[:i])


def test_the_default_benchmark_is_large_enough_to_learn_from() -> None:
    config, design = ShapesConfig(), make_design(ShapesConfig())
    assert len(design.seen) >= 15
    assert len(design.unseen) >= 5
    assert config.images_per_class >= 40
    assert len(ATTRIBUTES) >= 16
    assert (design.indicators.sum(axis=1) == len(GROUPS)).all()
    assert design.indicators[design.seen].sum(axis=0).min() >= 2  # each value with several partners
    rows = shapes.split_rows(design, config)
    seen_images = len(design.seen) * config.images_per_class
    assert len(rows["trainval_loc"]) / seen_images == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_disjoint_and_leave_no_value_untaught(seed: int) -> None:
    design = make_design(ShapesConfig(seed=seed))
    validation = np.concatenate(design.validation)
    assert len(set(validation)) == len(validation)
    for fold in design.validation:
        assert 0.25 <= len(fold) / len(design.seen) <= 1 / 3
        train = np.setdiff1d(design.seen, fold)
        assert set(fold) < set(design.seen)
        assert (design.indicators[train].any(axis=0) >= design.indicators[fold].any(axis=0)).all()


def test_some_photos_are_greyscale_and_saved_as_such() -> None:
    config, design = ShapesConfig(), make_design(ShapesConfig())
    plan = {
        (c, i): sample_camera(image_rng(config, c, i), config).greyscale
        for c in range(len(design.names))
        for i in range(config.images_per_class)
    }
    assert 0.02 < np.mean(list(plan.values())) < 0.06
    for grey in (True, False):
        class_id, image = next(key for key, value in plan.items() if value is grey)
        jpeg = shapes.draw_jpeg(design, class_id, image, config)
        with Image.open(io.BytesIO(jpeg)) as photo:
            assert photo.mode == ("L" if grey else "RGB")


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    with pytest.raises(FileExistsError, match="shapes is there already"):
        write_shapes(tmp_path / "shapes", TINY)
    assert not contents(tmp_path)


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(write, "write_split_file", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_shapes(tmp_path / "shapes", TINY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"seen_classes": 2}, {"unseen_classes": 0}, {"images_per_class": 1}])
def test_a_configuration_too_small_to_split_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        make_design(ShapesConfig(**wrong))


def test_more_classes_than_there_are_combinations_are_refused() -> None:
    with pytest.raises(ValueError, match="apart"):
        make_design(ShapesConfig(seen_classes=5000))
