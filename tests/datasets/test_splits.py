"""Split files: the official ones are recognised, broken ones are refused in words, folds never touch a test row."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix
from tiny_configs import TINY
from toy import toy_splits, toy_table
from toy_runs import FACTS, NO_GAMMA

from zsl.datasets import shapes
from zsl.datasets.class_lists import check_class_lists, read_class_list
from zsl.datasets.folds import calibration_folds, validation_fold
from zsl.datasets.registry import DATASETS
from zsl.datasets.split_file import (
    PARTS,
    SplitFile,
    check_vintage,
    read_split_file,
    rows_hash,
)
from zsl.datasets.splits import Splits, make_splits
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.experiments.results import Results, read_results
from zsl.experiments.run import run_seeds
from zsl.features.split import LabelledFeatures, RowsFacts, TestSplit, TrainSplit, split_features
from zsl.scores.evaluate import evaluate
from zsl.scores.model import Calibrated
from zsl.training.stage import stage

# Xian et al. 2019 and the public copies of the files: attributes, classes, rows of each part, seen and unseen classes,
# name in the verdict, and first six hex digits of the md5 of each part's sorted 1-based int64 rows.
OFFICIAL: dict[str, tuple[int, int, tuple[int, int, int], int, int, str, str]] = {
    "CUB": (312, 200, (7_057, 1_764, 2_967), 150, 50, "CUB", "aa6a3a/b7bf2e/b94d4b"),
    "AWA1": (85, 50, (19_832, 4_958, 5_685), 40, 10, "AWA1", "2b059e/cea3bf/6c5c61"),
    "AWA2": (85, 50, (23_527, 5_882, 7_913), 40, 10, "AWA2", "cbe1b3/5e2cd2/1d0f99"),
    "APY": (64, 32, (5_932, 1_483, 7_924), 20, 12, "aPY", "faa2d6/126ab1/fcefd0"),
    "SUN": (102, 717, (10_320, 2_580, 1_440), 645, 72, "SUN", "280e25/421034/5121fd"),
}
FOLDERS = sorted(OFFICIAL)


def official_labels(folder: Path) -> np.ndarray:
    """Class ids [N] in row order."""
    return loadmat(folder / "labels_files.mat")["labels"].ravel().astype(np.int64) - 1


def official_splits(folder: Path) -> tuple[Splits, np.ndarray]:
    labels = official_labels(folder)
    return make_splits(read_split_file(folder), np.arange(len(labels)), labels), labels


# --- the official files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS)
def test_official_files_have_the_published_counts_and_hashes(shared_data: Path, folder: str) -> None:
    attributes, classes, rows, _, _, name, hashes = OFFICIAL[folder]
    split_file = read_split_file(shared_data / "xlsa17" / folder)
    assert split_file.attributes.shape == (classes, attributes)
    assert len(set(split_file.class_names)) == classes
    assert tuple(len(getattr(split_file, part)) for part in PARTS) == rows
    assert split_file.count == sum(rows)
    assert "/".join(split_file.hashes) == hashes
    assert split_file.verdict == f"official Proposed Split of {name}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_rows_are_the_files_rows_less_one(shared_data: Path, folder: str) -> None:
    raw = loadmat(shared_data / "xlsa17" / folder / "att_splits.mat")
    split_file = read_split_file(shared_data / "xlsa17" / folder)
    for part, given in zip(PARTS, OFFICIAL[folder][-1].split("/"), strict=True):
        one_based = np.sort(raw[part].ravel()).astype(np.int64)
        assert hashlib.md5(one_based.tobytes()).hexdigest()[:6] == given
        np.testing.assert_array_equal(getattr(split_file, part), one_based - 1)


@pytest.mark.parametrize("folder", FOLDERS)
def test_attributes_are_unit_vectors_of_the_original_strengths(shared_data: Path, folder: str) -> None:
    original = loadmat(shared_data / "xlsa17" / folder / "att_splits.mat")["original_att"].T  # [C, A]
    expected = original / np.sqrt((original**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(read_split_file(shared_data / "xlsa17" / folder).attributes, expected, atol=1e-7)


@pytest.mark.parametrize("folder", FOLDERS)
def test_official_labels_give_the_published_seen_and_unseen_classes(shared_data: Path, folder: str) -> None:
    _, _, rows, seen, unseen, _, _ = OFFICIAL[folder]
    splits, _ = official_splits(shared_data / "xlsa17" / folder)
    assert (len(splits.seen), len(splits.unseen)) == (seen, unseen)
    assert tuple(len(getattr(splits, part)) for part in PARTS) == rows
    unseen_names = {splits.class_names[class_id] for class_id in splits.unseen}
    assert unseen_names == set(read_class_list(shared_data / "xlsa17" / folder / "testclasses.txt"))


@pytest.mark.parametrize("folder", ["AWA1", "SUN"])
def test_the_leaky_vintage_differs_only_where_nothing_is_read(shared_data: Path, folder: str) -> None:
    raw = loadmat(shared_data / "xlsa17_v1_leaky" / folder / "att_splits.mat")
    leaked = sum(len(np.intersect1d(raw[part], raw["test_seen_loc"])) for part in ("train_loc", "val_loc"))
    assert leaked == OFFICIAL[folder][2][1]  # its train and val hold all of test_seen
    leaky = read_split_file(shared_data / "xlsa17_v1_leaky" / folder, allow_leaky_vintage=True)
    good = read_split_file(shared_data / "xlsa17" / folder)
    assert leaky.verdict == good.verdict
    np.testing.assert_array_equal(leaky.attributes, good.attributes)


@pytest.mark.parametrize(
    ("folder", "train", "val", "words"),
    [
        ("AWA1", 3_404, 1_554, "train_loc holds 3,404 test_seen rows; val_loc holds 1,554 test_seen rows"),
        ("SUN", 2_320, 260, "train_loc holds 2,320 test_seen rows; val_loc holds 260 test_seen rows"),
    ],
)
def test_the_leaky_vintage_is_refused_with_its_numbers(
    shared_data: Path, folder: str, train: int, val: int, words: str
) -> None:
    leaky = shared_data / "xlsa17_v1_leaky" / folder
    assert check_vintage(leaky) == {"train_loc": {"test_seen_loc": train}, "val_loc": {"test_seen_loc": val}}
    with pytest.raises(ValueError, match=words) as refusal:
        read_split_file(leaky)
    assert "version 2.0" in str(refusal.value)
    assert "allow_leaky_vintage" not in str(refusal.value)  # no remedy on a command line


@pytest.mark.parametrize("folder", FOLDERS)
def test_official_files_do_not_leak_and_their_class_lists_fit(shared_data: Path, folder: str) -> None:
    assert check_vintage(shared_data / "xlsa17" / folder) == {}
    splits, _ = official_splits(shared_data / "xlsa17" / folder)
    lists = check_class_lists(splits, shared_data / "xlsa17" / folder)
    assert lists[-8:] == ["trainvalclasses", "testclasses"] + [
        f"{k}classes{i}" for i in "123" for k in ("train", "val")
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_official_class_order_is_known(shared_data: Path, folder: str) -> None:
    names = "\n".join(read_split_file(shared_data / "xlsa17" / folder).class_names)
    assert DATASETS[OFFICIAL[folder][-2].lower()].class_hash == hashlib.md5(names.encode()).hexdigest()[:6]


def test_an_official_split_with_two_classes_swapped_is_refused(shared_data: Path, tmp_path: Path) -> None:
    raw = {k: v for k, v in loadmat(shared_data / "xlsa17" / "APY" / "att_splits.mat").items() if k[0] != "_"}
    raw["allclasses_names"][[0, 1]] = raw["allclasses_names"][[1, 0]]
    savemat(tmp_path / "att_splits.mat", raw)
    with pytest.raises(ValueError, match="official Proposed Split of aPY, but the class list is not"):
        read_split_file(tmp_path)


def test_awa_strengths_without_a_value_are_filled_from_the_other_seen_classes(shared_data: Path) -> None:
    folder = shared_data / "xlsa17" / "AWA2"
    raw = loadmat(folder / "att_splits.mat")["original_att"].T
    split_file = read_split_file(folder, attributes="original_att")
    assert np.argwhere(np.isnan(split_file.attributes)).tolist() == np.argwhere(raw == -1).tolist() == [
        [0, 0], [0, 1], [0, 2], [0, 3]  # antelope's black, white, blue, brown
    ]  # fmt: skip
    splits = make_splits(split_file, np.arange(split_file.count), official_labels(folder))
    others = [class_id for class_id in splits.seen if class_id != 0]
    np.testing.assert_allclose(splits.attributes[0, :4], raw[others][:, :4].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(splits.attributes[1:], raw[1:], rtol=1e-6)
    assert splits.attribute_kind == "original_att"


def test_normalised_strengths_are_the_official_att(shared_data: Path) -> None:
    folder = shared_data / "xlsa17" / "APY"
    labels = official_labels(folder)
    raw = loadmat(folder / "att_splits.mat")
    for normalise, expected in ((False, raw["original_att"].T), (True, raw["att"].T)):
        split_file = read_split_file(folder, attributes="original_att", normalise=normalise)
        splits = make_splits(split_file, np.arange(len(labels)), labels)
        np.testing.assert_allclose(splits.attributes, expected, rtol=1e-5, atol=1e-7)
    assert splits.attribute_kind == "original_att, L2-normalised"


def test_the_embedded_split_is_known_by_the_hashes_of_its_design() -> None:
    config = shapes.ShapesConfig()
    design = shapes.make_design(config)
    rows = shapes.split_rows(design, config)
    assert tuple(rows_hash(rows[part] - 1) for part in PARTS) == DATASETS["shapes"].split_hashes
    split_file = SplitFile(
        class_names=tuple(design.names),
        attributes=design.indicators.astype(np.float32),
        trainval_loc=rows["trainval_loc"] - 1,
        test_seen_loc=rows["test_seen_loc"] - 1,
        test_unseen_loc=rows["test_unseen_loc"] - 1,
    )
    assert split_file.verdict == "embedded split of shapes"


def test_a_row_that_changes_parts_is_not_official_any_more(shared_data: Path) -> None:
    official = read_split_file(shared_data / "xlsa17" / "CUB")
    moved = dataclasses.replace(
        official,
        trainval_loc=np.sort(np.append(official.trainval_loc[1:], official.test_seen_loc[0])),
        test_seen_loc=np.sort(np.append(official.test_seen_loc[1:], official.trainval_loc[0])),
    )
    assert moved.verdict == "unknown split, hash " + "/".join(moved.hashes)
    assert moved.hashes[2] == official.hashes[2]


# --- broken files ----------------------------------------------------------------------------------------------------

# 20 rows: class 0 has rows 1-5, class 1 rows 6-10, class 2 rows 11-15, class 3, unseen, rows 16-20.
GOOD_PARTS = {
    "trainval_loc": [1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14],
    "test_seen_loc": [5, 10, 15],
    "test_unseen_loc": [16, 17, 18, 19, 20],
}
GOOD_LABELS = np.repeat(np.arange(4), 5)


def write_split_file(folder: Path, **changes: Any) -> Path:
    """A small `att_splits.mat` in the official form; a change to None leaves the key out."""
    content: dict[str, Any] = {
        "allclasses_names": np.array(["ant", "bee", "cat", "dog"], dtype=object)[:, None],
        "att": np.random.default_rng(0).random((3, 4)),
        **{part: np.array(rows, dtype=np.uint16)[:, None] for part, rows in GOOD_PARTS.items()},
    }
    content |= {key: np.array(value)[:, None] if isinstance(value, list) else value for key, value in changes.items()}
    savemat(folder / "att_splits.mat", {key: value for key, value in content.items() if value is not None})
    return folder


def small_split_file(folder: Path, **changes: Any) -> SplitFile:
    return read_split_file(write_split_file(folder, **changes))


def test_the_small_split_file_is_good(tmp_path: Path) -> None:
    split_file = small_split_file(tmp_path)
    assert split_file.class_names == ("ant", "bee", "cat", "dog")
    assert split_file.count == 20
    assert split_file.test_seen_loc.tolist() == [4, 9, 14]
    splits = make_splits(split_file, np.arange(20), GOOD_LABELS)
    assert splits.seen.tolist() == [0, 1, 2]
    assert splits.unseen.tolist() == [3]


ATTRIBUTES = np.random.default_rng(0).random((3, 4))  # A x C
ALIKE = {
    "equal": (ATTRIBUTES[:, [0, 0, 2, 3]], r"att: classes 'ant' and 'bee' have equal or proportional attributes \(1 "),
    "proportional": (ATTRIBUTES[:, [0, 1, 2, 1]] * [1, 1, 1, 7], r"classes 'bee' and 'dog' have equal or proportional"),
    "seen ones alike": (ATTRIBUTES[:, [0, 0, 0, 3]], r"classes 'ant' and 'bee' .* \(2 such pairs\)"),
    "all 0": (ATTRIBUTES * [1, 1, 0, 1], r"class 'cat' has no attribute but 0; .* leave the class out"),
    "one attribute": (ATTRIBUTES[:1], r"there is 1 attribute; .* 'ant' and 'bee' not apart, give 2 or more"),
}


@pytest.mark.parametrize("case", ALIKE)
def test_classes_that_no_method_can_tell_apart_are_named(tmp_path: Path, case: str) -> None:
    attributes, message = ALIKE[case]
    split_file = small_split_file(tmp_path, att=attributes)
    with pytest.raises(ValueError, match=rf"att_splits\.mat, .*{message}".replace(", .*att: ", ", att: ")):
        make_splits(split_file, np.arange(20), GOOD_LABELS)


def test_classes_without_rows_need_not_be_told_apart(tmp_path: Path) -> None:
    split_file = small_split_file(tmp_path, att=ATTRIBUTES[:, [0, 1, 0, 3]])
    rows = np.flatnonzero(GOOD_LABELS != 2)
    assert make_splits(split_file, rows, GOOD_LABELS[rows]).seen.tolist() == [0, 1]


def test_strengths_as_given_may_be_proportional(tmp_path: Path) -> None:
    folder = write_split_file(tmp_path, original_att=ATTRIBUTES[:, [0, 0, 2, 3]] * [1, 7, 1, 1])
    make_splits(read_split_file(folder, attributes="original_att"), np.arange(20), GOOD_LABELS)
    with pytest.raises(ValueError, match="original_att: classes 'ant' and 'bee' have equal or proportional"):
        make_splits(read_split_file(folder, attributes="original_att", normalise=True), np.arange(20), GOOD_LABELS)


def test_official_classes_are_told_apart(shared_data: Path) -> None:
    for folder in FOLDERS:
        official_splits(shared_data / "xlsa17" / folder)


@pytest.mark.parametrize(
    "names",
    [["ant", "bee", "cat", "dog"], np.array([["ant   ", "bee   ", "cat   ", "dog   "]], dtype=object)],
    ids=["list of str", "row of padded cells"],
)
def test_a_split_file_is_read_as_people_save_it(tmp_path: Path, names: Any) -> None:
    expected = small_split_file(tmp_path)
    content = {key: value for key, value in loadmat(tmp_path / "att_splits.mat").items() if key[0] != "_"}
    savemat(tmp_path / "att_splits.mat", content | {"allclasses_names": names, "att": csc_matrix(content["att"])})
    split_file = read_split_file(tmp_path)
    assert split_file.class_names == expected.class_names
    np.testing.assert_array_equal(split_file.attributes, expected.attributes)


def test_class_names_are_compared_as_they_look(tmp_path: Path) -> None:
    names = np.array(["ant", "bee", "cat", "do\N{COMBINING DIAERESIS}g"], dtype=object)[:, None]
    splits = make_splits(small_split_file(tmp_path, allclasses_names=names), np.arange(20), GOOD_LABELS)
    assert splits.class_names[3] == "d\N{LATIN SMALL LETTER O WITH DIAERESIS}g"
    for form in splits.class_names[3], names[3, 0]:
        (tmp_path / "testclasses.txt").write_text(f"{form}\n", encoding="utf-8-sig")
        assert check_class_lists(splits, tmp_path) == ["testclasses"]


def gap(classes: int) -> np.ndarray:
    attributes = np.ones((3, classes))
    attributes[1, 2] = np.nan
    return attributes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"trainval_loc": [*GOOD_PARTS["trainval_loc"], 10, 5]},
            r"2 rows are both in trainval_loc and in test_seen_loc, the first is 5",
            id="overlap",
        ),
        pytest.param(
            {"test_unseen_loc": [15, 16, 17, 18, 19, 20]},
            r"1 rows are both in test_seen_loc and in test_unseen_loc, the first is 15",
            id="overlap of the test parts",
        ),
        pytest.param(
            {part: [row - 1 for row in rows] for part, rows in GOOD_PARTS.items()},
            r"holds row 0; official rows are 1-based",
            id="0-based",
        ),
        pytest.param(
            {"trainval_loc": [1, 2, 3, 4, 6, 8, 9, 11, 12, 13, 14]},
            r"1 rows of 1\.\.20 are in no part, the first is 7",
            id="row left out",
        ),
        pytest.param(
            {"trainval_loc": [*GOOD_PARTS["trainval_loc"], 3]}, r"row 3 is listed twice in one part", id="duplicate"
        ),
        pytest.param({"test_seen_loc": None, "att": None}, r"has no att, test_seen_loc; it has ", id="missing keys"),
        pytest.param({"att": gap(4)}, r"1 of its values are not finite", id="NaN attribute"),
        pytest.param({"att": np.ones((3, 5))}, r"att has 5 classes for 4 names", id="class without name"),
    ],
)
def test_a_broken_split_file_is_refused_with_what_is_wrong(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_split_file(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as refusal:
        read_split_file(tmp_path)
    assert "att_splits.mat" in str(refusal.value)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_truncated_split_file_is_refused(tmp_path: Path, share: float) -> None:
    path = write_split_file(tmp_path) / "att_splits.mat"
    whole = path.read_bytes()
    path.write_bytes(whole[: round(share * len(whole))])
    with pytest.raises(ValueError, match=r"is the download complete\?|has no "):
        read_split_file(tmp_path)


def test_a_folder_without_split_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no att_splits\.mat in {tmp_path}"):
        read_split_file(tmp_path)


# --- labels and rows at hand -----------------------------------------------------------------------------------------


def test_a_class_that_is_both_seen_and_unseen_is_refused(tmp_path: Path) -> None:
    labels = GOOD_LABELS.copy()
    labels[18] = 1
    with pytest.raises(ValueError, match=r"1 classes have trainval rows and test_unseen rows, the first is 'bee'"):
        make_splits(small_split_file(tmp_path), np.arange(20), labels)


def test_a_class_with_test_seen_and_test_unseen_rows_is_refused(tmp_path: Path) -> None:
    labels = GOOD_LABELS.copy()
    labels[4] = 3
    with pytest.raises(ValueError, match=r"class 'dog' has test_seen rows and test_unseen rows"):
        make_splits(small_split_file(tmp_path), np.arange(20), labels)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([0, 20], [0, 0], r"rows reach from 0 to 20; the split file has 0\.\.19"),
        ([-1, 3], [0, 0], r"rows reach from -1 to 3"),
        ([0, 15], [0, 4], r"labels reach from 0 to 4; there are 4 classes"),
        ([0, 15], [0, 3], r"no image at hand belongs to test_seen_loc"),
        ([0, 4], [0, 0], r"no image at hand belongs to test_unseen_loc"),
    ],
)
def test_rows_and_labels_that_do_not_fit_the_split_file_are_refused(
    tmp_path: Path, rows: list[int], labels: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_splits(small_split_file(tmp_path), np.array(rows), np.array(labels))


@pytest.mark.parametrize("seed", range(4))
def test_missing_photos_leave_rows_and_classes_consistently(shared_data: Path, seed: int) -> None:
    split_file = read_split_file(shared_data / "xlsa17" / "CUB")
    labels = official_labels(shared_data / "xlsa17" / "CUB")
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(labels), size=400, replace=False))  # 2 photos a class: some lose all, or all trainval
    splits = make_splits(split_file, rows, labels[rows])

    label_of = {int(row): int(labels[row]) for row in rows}
    trainval = [row for row in split_file.trainval_loc.tolist() if row in label_of]
    seen = {label_of[row] for row in trainval}
    dropped = [row for row in split_file.test_seen_loc.tolist() if row in label_of and label_of[row] not in seen]
    test_seen = [row for row in split_file.test_seen_loc.tolist() if row in label_of and label_of[row] in seen]
    test_unseen = [row for row in split_file.test_unseen_loc.tolist() if row in label_of]
    assert dropped  # the case that this test is about
    assert splits.trainval_loc.tolist() == trainval
    assert splits.test_seen_loc.tolist() == test_seen
    assert splits.test_unseen_loc.tolist() == test_unseen
    assert splits.seen.tolist() == sorted(seen)
    assert splits.unseen.tolist() == sorted({label_of[row] for row in test_unseen})
    assert splits.attributes.shape == (200, 312)  # class ids stay the official ones
    assert splits.class_names == split_file.class_names


# --- validation folds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fold", [1, 2, 3])
@pytest.mark.parametrize("photos", ["all", "001-050"])
def test_a_validation_fold_is_a_generalized_task_within_trainval(shared_data: Path, fold: int, photos: str) -> None:
    folder = shared_data / "xlsa17" / "CUB"
    splits, labels = official_splits(folder)
    rows = np.arange(len(labels))
    if photos != "all":  # the classes whose photos are shared
        rows = rows[np.array([int(name[:3]) <= 50 for name in splits.class_names])[labels]]
        splits = make_splits(read_split_file(folder), rows, labels[rows])
    made = validation_fold(splits, folder, fold, rows, labels[rows])

    test_rows = set(splits.test_seen_loc.tolist()) | set(splits.test_unseen_loc.tolist())
    parts = [getattr(made, part).tolist() for part in PARTS]
    everything = [row for part in parts for row in part]
    assert not set(everything) & test_rows
    assert sorted(everything) == splits.trainval_loc.tolist()  # each trainval row once
    assert all(part == sorted(part) for part in parts)

    at_hand = {splits.class_names[class_id] for class_id in splits.seen}
    listed = set(read_class_list(folder / f"valclasses{fold}.txt"))
    assert {made.class_names[class_id] for class_id in made.unseen} == listed & at_hand
    assert {made.class_names[class_id] for class_id in made.seen} == at_hand - listed
    assert set(labels[made.trainval_loc]) == set(labels[made.test_seen_loc]) == set(made.seen.tolist())
    assert set(labels[made.test_unseen_loc]) == set(made.unseen.tolist())

    trainval, test_seen = (np.bincount(labels[loc], minlength=200) for loc in (made.trainval_loc, made.test_seen_loc))
    shares = test_seen[made.seen] / (trainval + test_seen)[made.seen]
    np.testing.assert_allclose(shares, 0.2, atol=0.04)
    assert len(made.test_seen_loc) / (len(made.test_seen_loc) + len(made.trainval_loc)) == pytest.approx(0.2, abs=0.01)
    assert made.verdict.startswith(f"validation fold {fold} of official")


def test_validation_folds_are_the_same_every_time_and_differ_from_each_other(shared_data: Path) -> None:
    folder = shared_data / "xlsa17" / "CUB"
    splits, labels = official_splits(folder)
    rows = np.arange(len(labels))
    once, again, other = (validation_fold(splits, folder, fold, rows, labels) for fold in (1, 1, 2))
    for part in PARTS:
        np.testing.assert_array_equal(getattr(once, part), getattr(again, part))
    assert once.unseen.tolist() != other.unseen.tolist()
    shuffled = np.random.default_rng(0).permutation(len(rows))
    mixed = validation_fold(splits, folder, 1, rows[shuffled], labels[shuffled])
    np.testing.assert_array_equal(once.test_seen_loc, mixed.test_seen_loc)


@pytest.mark.parametrize(("folder", "count"), [("CUB", 4), ("AWA1", 5), ("APY", 3), ("SUN", 10)])
def test_calibration_folds_have_the_tests_share_of_unseen_classes(shared_data: Path, folder: str, count: int) -> None:
    splits, labels = official_splits(shared_data / "xlsa17" / folder)
    folds = calibration_folds(splits, np.arange(len(labels)), labels)
    assert list(folds) == list(range(1, count + 1))
    share = len(splits.unseen) / (len(splits.seen) + len(splits.unseen))
    assert 1 / count == pytest.approx(share, abs=0.06)
    unseen = [class_id for fold in folds.values() for class_id in fold.unseen.tolist()]
    assert sorted(unseen) == splits.seen.tolist()  # each seen class is unseen once
    for fold in folds.values():
        assert len(fold.unseen) in (len(splits.seen) // count, -(-len(splits.seen) // count))
        assert sorted(fold.unseen.tolist() + fold.seen.tolist()) == splits.seen.tolist()
        rows = [row for part in PARTS for row in getattr(fold, part).tolist()]
        assert sorted(rows) == splits.trainval_loc.tolist()  # no test row, and each trainval row once
        assert set(labels[fold.test_unseen_loc]) == set(fold.unseen.tolist())
        assert set(labels[fold.trainval_loc]) == set(labels[fold.test_seen_loc]) == set(fold.seen.tolist())


def split_of(seen: int, unseen: int, images: int) -> tuple[Splits, np.ndarray]:
    """So many classes with so many trainval images each, and one image of each class to test."""
    labels = np.concatenate([np.arange(seen).repeat(images), np.arange(seen), seen + np.arange(unseen)])
    trainval, test_seen, test_unseen = np.split(np.arange(len(labels)), [seen * images, seen * (images + 1)])
    classes = np.arange(seen + unseen)
    splits = Splits(
        class_names=tuple(map(str, classes)), attributes=np.eye(seen + unseen, dtype=np.float32),
        seen=classes[:seen], unseen=classes[seen:], trainval_loc=trainval, test_seen_loc=test_seen,
        test_unseen_loc=test_unseen, verdict="toy",
    )  # fmt: skip
    return splits, labels


@pytest.mark.parametrize("count", [2, 4, 6])
def test_a_caller_gives_the_number_of_folds_and_each_class_is_left_out_once(count: int) -> None:
    splits, labels = split_of(12, 3, 4)
    folds = calibration_folds(splits, np.arange(len(labels)), labels, count=count)
    assert list(folds) == list(range(1, count + 1))
    assert {len(fold.unseen) for fold in folds.values()} == {12 // count}
    assert sorted(np.concatenate([fold.unseen for fold in folds.values()]).tolist()) == splits.seen.tolist()
    default = calibration_folds(splits, np.arange(len(labels)), labels)
    same = calibration_folds(splits, np.arange(len(labels)), labels, count=len(default))
    assert [fold.trainval_loc.tolist() for fold in default.values()] == [
        fold.trainval_loc.tolist() for fold in same.values()
    ]


@pytest.mark.parametrize(
    ("seen", "unseen", "count"), [(3, 1, 3), (3, 2, 0), (3, 3, 0), (1, 1, 0), (4, 4, 2), (40, 1, 10), (40, 10, 5)]
)
def test_calibration_folds_of_few_classes_leave_two_to_train_on_and_are_ten_at_most(
    seen: int, unseen: int, count: int
) -> None:
    splits, labels = split_of(seen, unseen, images=4)
    folds = calibration_folds(splits, np.arange(len(labels)), labels)
    assert len(folds) == count
    assert all(len(fold.seen) >= 2 and len(fold.unseen) >= 1 for fold in folds.values())


@pytest.mark.parametrize("images", [2, 3, 20])
def test_of_few_images_one_of_each_class_plays_test_seen(tmp_path: Path, images: int) -> None:
    splits, labels = split_of(5, 2, images)
    (tmp_path / "valclasses1.txt").write_text("0\n3\n")
    fold = validation_fold(splits, tmp_path, 1, np.arange(len(labels)), labels)
    for part, of_each in (("test_seen_loc", max(1, images // 5)), ("trainval_loc", images - max(1, images // 5))):
        assert np.bincount(labels[getattr(fold, part)], minlength=5).tolist() == [0, of_each, of_each, 0, of_each]


def test_a_fold_without_any_test_seen_image_is_refused(tmp_path: Path) -> None:
    splits, labels = split_of(5, 2, images=1)
    (tmp_path / "valclasses1.txt").write_text("0\n3\n")
    with pytest.raises(ValueError, match="validation fold 1: no seen class has two trainval images"):
        validation_fold(splits, tmp_path, 1, np.arange(len(labels)), labels)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["eel"], r"valclasses1\.txt names 'eel', which is not a class"),
        (["dog"], r"fold 1 leaves 3 seen and 0 unseen classes; two and one are needed at least"),
        (["ant", "bee"], r"fold 1 leaves 1 seen and 2 unseen classes; two and one are needed at least"),
        (["ant", "bee", "cat"], r"fold 1 leaves 0 seen and 3 unseen classes"),
    ],
)
def test_a_fold_that_cannot_be_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    splits = make_splits(small_split_file(tmp_path), np.arange(20), GOOD_LABELS)
    (tmp_path / "valclasses1.txt").write_text("".join(f"{name}\n" for name in names))
    with pytest.raises(ValueError, match=message):
        validation_fold(splits, tmp_path, 1, np.arange(20), GOOD_LABELS)


def test_a_fold_of_small_classes_leaves_each_of_them_something_to_learn_from(tmp_path: Path) -> None:
    splits = make_splits(small_split_file(tmp_path), np.arange(20), GOOD_LABELS)
    (tmp_path / "valclasses2.txt").write_text("\nbee \n")
    made = validation_fold(splits, tmp_path, 2, np.arange(20), GOOD_LABELS, held_out=0.99)
    assert np.bincount(GOOD_LABELS[made.trainval_loc], minlength=4).tolist() == [1, 0, 1, 0]
    assert made.test_unseen_loc.tolist() == [5, 6, 7, 8]


# --- who may read what -----------------------------------------------------------------------------------------------


@stage
def harmless(train: TrainSplit) -> int:
    return len(train.features)


def rows_of(split: TrainSplit) -> list[int]:
    return split.rows.tolist()


def test_a_split_carries_the_official_rows_behind_its_features() -> None:
    table, splits = toy_table()
    train, test = split_features(table, splits)
    assert rows_of(train) == splits.trainval_loc.tolist()
    assert train.rows_hash == rows_hash(splits.trainval_loc)
    assert test.seen.rows is not None
    assert test.seen.rows.tolist() == splits.test_seen_loc.tolist()
    with pytest.raises(ValueError, match="239 features, 240 labels and 240 rows"):
        dataclasses.replace(train, features=train.features[1:])


def test_each_stage_notes_which_rows_it_was_given_also_through_copies() -> None:
    train, _ = toy_splits()
    moved = train.to(train.device)
    some = dataclasses.replace(train, features=train.features[:9], labels=train.labels[:9], rows=train.rows[:9])
    assert harmless(moved, seed=0) == 240
    assert harmless(some, seed=0) == 9
    assert [read.stage for read in train.reads] == ["harmless", "harmless"]
    assert [read.facts for read in train.reads] == [
        RowsFacts(count=240, hash=train.rows_hash),
        RowsFacts(count=9, hash=rows_hash(train.rows[:9].numpy())),
    ]


def run_toy(folder: Path, accelerator: Accelerator, train: TrainSplit, test: TestSplit) -> Results:
    return run_seeds(
        lambda split, seed, log: Calibrated(train_dcrgan(split, TINY, seed=seed, log=log), 0.0, split.seen),
        train, test, (0, 3), folder, FACTS, NO_GAMMA, accelerator,
    )  # fmt: skip


def test_results_say_which_rows_each_stage_read_and_every_test_leaves_a_line(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    train, test = toy_splits()
    results = run_toy(tmp_path, accelerator, train, test)
    expected = RowsFacts(count=240, hash=train.rows_hash)
    stages = ("train_metric", "train_srn", "train_regressors", "train_gan", "train_classifiers")
    assert results.rows_read == dict.fromkeys(stages, expected)
    assert json.loads((tmp_path / "results.json").read_text())["rows_read"] == {
        stage: {"count": 240, "hash": train.rows_hash} for stage in stages
    }
    assert read_results(tmp_path / "results.json") == results

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in (tmp_path / "test_access.jsonl").read_text().splitlines()]

    assert [line["seed"] for line in lines()] == [0, 3]
    run_toy(tmp_path, accelerator, train, test)  # all is done: nothing is opened
    assert len(lines()) == 2
    (tmp_path / "seed-3" / "scores.json").unlink()
    assert run_toy(tmp_path, accelerator, train, test) == results
    assert [line["seed"] for line in lines()] == [0, 3, 3]  # the second test of the same run shows
    _, splits = toy_table()
    for line in lines():
        assert line["test_seen"] == {"count": 80, "hash": rows_hash(splits.test_seen_loc)}
        assert line["test_unseen"] == {"count": 80, "hash": rows_hash(splits.test_unseen_loc)}
        assert line["time"].endswith("+00:00")


def test_a_model_that_was_trained_on_a_test_row_is_not_scored(tmp_path: Path, accelerator: Accelerator) -> None:
    train, test = toy_splits()
    assert test.unseen.rows is not None
    rows = train.rows.clone()
    rows[5] = int(test.unseen.rows[2])
    with pytest.raises(ValueError, match=rf"train_metric was given 1 test rows, the first is {rows[5]}; not scored"):
        run_toy(tmp_path, accelerator, dataclasses.replace(train, rows=rows), test)
    assert not (tmp_path / "test_access.jsonl").exists()


def test_the_evaluator_tells_before_it_scores() -> None:
    class Broken:
        zsl_classes, gzsl_classes = torch.tensor([1]), torch.tensor([0, 1])

        def zsl_scores(self, features: torch.Tensor) -> torch.Tensor:
            raise RuntimeError

        gzsl_scores = zsl_scores

    seen, unseen = (LabelledFeatures(torch.zeros(2, 3), torch.full((2,), label), np.array([4, 6])) for label in (0, 1))
    notes: list[dict[str, Any]] = []
    with pytest.raises(RuntimeError):
        evaluate(Broken(), TestSplit(seen=seen, unseen=unseen), notes.append)
    assert notes == [{part: {"count": 2, "hash": rows_hash(np.array([4, 6]))} for part in ("test_seen", "test_unseen")}]


# --- class lists -----------------------------------------------------------------------------------------------------


def write_lists(folder: Path, **lists: str) -> Path:
    """The class lists of the small split file; a list is its names with spaces between."""
    good = {"allclasses": "ant bee cat dog", "trainvalclasses": "ant bee cat", "testclasses": "dog"}
    folds = {"trainclasses1": "ant bee", "valclasses1": "cat", "trainclasses2": "ant cat", "valclasses2": "bee"}
    for title, names in (good | folds | lists).items():
        (folder / f"{title}.txt").write_text("\n".join(names.split()) + "\n")
    return folder


def test_good_class_lists_are_listed(tmp_path: Path) -> None:
    splits = make_splits(small_split_file(tmp_path), np.arange(20), GOOD_LABELS)
    assert len(check_class_lists(splits, write_lists(tmp_path))) == 7
    (tmp_path / "valclasses2.txt").unlink()  # none is needed for all that does not use it
    assert len(check_class_lists(splits, tmp_path)) == 6


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            {"allclasses": "ant bee cat"},
            r"allclasses\.txt has 3 classes, allclasses_names of the split file has 4",
        ),
        (
            {"allclasses": "bee ant cat dog"},
            r"allclasses\.txt has 4 classes in another order .* line 1 is 'bee'.*'ant'",
        ),
        ({"testclasses": "d\N{LATIN SMALL LETTER O WITH DIAERESIS}g"}, r"testclasses\.txt names 'dög', which is not"),
        ({"testclasses": "eel"}, r"testclasses\.txt names 'eel', which is not a class"),
        ({"testclasses": "dog dog"}, r"testclasses\.txt names 'dog' more than once"),
        ({"trainvalclasses": "ant bee"}, r"1 classes with trainval rows are not in trainvalclasses\.txt.* 'cat'"),
        ({"testclasses": ""}, r"1 classes with test_unseen rows are not in testclasses\.txt.* 'dog'"),
        ({"testclasses": "cat dog"}, r"both in trainvalclasses\.txt and in testclasses\.txt, the first is 'cat'"),
        ({"trainclasses1": "ant bee cat"}, r"both in trainclasses1\.txt and in valclasses1\.txt, the first is 'cat'"),
        ({"valclasses2": "bee dog"}, r"both in valclasses2\.txt and in testclasses\.txt, the first is 'dog'"),
        ({"trainclasses2": "ant"}, r"trainclasses2\.txt and valclasses2\.txt together are not .* the first is 'cat'"),
    ],
)
def test_class_lists_that_contradict_the_split_are_refused(tmp_path: Path, lists: dict[str, str], message: str) -> None:
    splits = make_splits(small_split_file(tmp_path), np.arange(20), GOOD_LABELS)
    with pytest.raises(ValueError, match=message):
        check_class_lists(splits, write_lists(tmp_path, **lists))
