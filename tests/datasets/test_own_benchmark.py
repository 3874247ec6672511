"""A benchmark of one's own: from the template and any photos to shards, splits and folds; every fault has its words."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from PIL import Image
from scipy.io import loadmat
from tiny_configs import TINY

from backbones import Backbone
from shards import read_index
from zsl.datasets import own
from zsl.datasets.official_files import write_split_file
from zsl.datasets.pack import make_shards, open_shards
from zsl.datasets.places import benchmark_name, features_folder, shards_folder, splits_folder
from zsl.datasets.split_file import PARTS
from zsl.datasets.splits import Splits
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.features.extract import extract_features
from zsl.features.load import load_splits
from zsl.features.split import split_features
from zsl.features.table import FeatureTable, read_features
from zsl.scores.evaluate import evaluate

TEMPLATE = Path(__file__).resolve().parents[2] / "templates" / "own-benchmark"
SEEN, UNSEEN = ("zebra", "horse", "orca", "panda"), ("okapi",)
PHOTOS = 5  # a class


def write_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """The template with five photos a class."""
    folder = tmp_path / "my animals"
    shutil.copytree(TEMPLATE, folder)
    for number, name in enumerate((*SEEN, *UNSEEN)):
        for photo in range(PHOTOS):
            write_photo(folder / "images" / name / f"photo {photo}.v1.jpg", 100 * number + photo)
    return folder


def rewrite(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def by_photo(folder: Path) -> None:
    """The template's split, photo by photo: the first photo of each seen class is test_seen."""
    lines = ["file,split"]
    for name in (*SEEN, *UNSEEN):
        for photo in range(PHOTOS):
            part = "test_unseen" if name in UNSEEN else "trainval" if photo else "test_seen"
            lines.append(f"{name}/photo {photo}.v1.jpg,{part}")
    (folder / "splits.csv").write_text("\n".join(lines) + "\n")


def test_the_official_files_that_are_written_say_what_the_tables_say(animals: Path, tmp_path: Path) -> None:
    own.prepare(animals, tmp_path / "out")
    content = loadmat(tmp_path / "out" / "att_splits.mat")
    table = [line.split(",") for line in (TEMPLATE / "attributes.csv").read_text().splitlines()]
    names = [str(cell[0]) for cell in content["allclasses_names"].ravel()]
    assert names == [line[0] for line in table[1:]]
    strengths = np.array([[float(value) for value in line[1:]] for line in table[1:]]).T
    np.testing.assert_array_equal(content["original_att"], strengths)
    np.testing.assert_allclose(content["att"], strengths / np.sqrt((strengths**2).sum(axis=0)))
    assert "train_loc" not in content
    order = sorted(names)  # rows are the sorted paths: PHOTOS of each class in the order of names
    classes = {part: [order[(row - 1) // PHOTOS] for row in content[part].ravel()] for part in PARTS}
    assert sorted(classes["trainval_loc"]) == sorted([*SEEN] * 4)
    assert sorted(classes["test_seen_loc"]) == sorted(SEEN)
    assert classes["test_unseen_loc"] == ["okapi"] * 5
    folds = [(tmp_path / "out" / f"valclasses{fold}.txt").read_text().split() for fold in (1, 2, 3)]
    assert len({name for fold in folds for name in fold}) == 3  # disjoint, one class each
    assert {name for fold in folds for name in fold} <= set(SEEN)


def test_equal_folders_give_equal_bytes_wherever_they_lie(
    animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.prepare(animals, tmp_path / "first")
    shutil.copytree(animals, tmp_path / "elsewhere" / "birds")
    monkeypatch.setattr("time.asctime", lambda *_: "Thu Jan  1 00:00:00 1970")  # what scipy stamps into the header
    own.prepare(tmp_path / "elsewhere" / "birds", tmp_path / "second")
    assert written(tmp_path / "first") == written(tmp_path / "second")


def test_from_a_folder_to_scores(
    animals: Path, tmp_path: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    data = tmp_path / "data"
    index, raw = make_shards(str(animals), data)
    assert (index.benchmark, index.count, raw.name, raw.missing) == ("my animals", 25, "my animals", 0)
    shards = shards_folder(data, "my animals")
    assert shards == data / "my animals" / "shards" == shards_folder(data, str(animals))
    out = features_folder(data, "my animals", tiny_backbone.name)
    extract_features(tiny_backbone, shards, open_shards(str(animals), data), out, accelerator)
    table = read_features(out)
    splits = load_splits("my animals", data, table)
    assert [len(getattr(splits, part)) for part in PARTS] == [16, 4, 5]
    assert [splits.class_names[i] for i in splits.seen] == list(SEEN)
    train, test = split_features(table, splits)
    scores = evaluate(train_dcrgan(train, TINY, seed=0), test)
    assert scores.acc_zsl == 1  # one unseen class
    for fold in (1, 2, 3):
        check_fold(splits, load_splits(str(animals), data, table, fold=fold))


def check_fold(splits: Splits, fold: Splits) -> None:
    rows = np.concatenate([getattr(fold, part) for part in PARTS])
    assert sorted(rows.tolist()) == splits.trainval_loc.tolist()
    assert (len(fold.seen), len(fold.unseen)) == (3, 1)


def test_a_split_photo_by_photo_is_kept(animals: Path, tmp_path: Path) -> None:
    by_photo(animals)
    own.prepare(animals, tmp_path / "out")
    order = sorted(f"{name}/photo {photo}.v1.jpg" for name in (*SEEN, *UNSEEN) for photo in range(PHOTOS))
    expected = [order.index(f"{name}/photo 0.v1.jpg") + 1 for name in SEEN]
    assert loadmat(tmp_path / "out" / "att_splits.mat")["test_seen_loc"].ravel().tolist() == sorted(expected)


@pytest.mark.parametrize("by", ["class", "file"])
def test_columns_that_are_not_needed_are_ignored_with_a_note(
    animals: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, by: str
) -> None:
    if by == "file":
        by_photo(animals)
    own.prepare(animals, tmp_path / "plain")
    assert not caplog.records
    lines = [line.split(",") for line in (animals / "splits.csv").read_text().splitlines()]
    if by == "file":
        lines = [[line[0], "class" if line[1] == "split" else line[0].split("/")[0], line[1]] for line in lines]
    else:
        lines = [[line[1], "note" if line[0] == "class" else "-", line[0]] for line in lines]  # in another order too
    (animals / "splits.csv").write_text("".join(",".join(line) + "\n" for line in lines))
    own.prepare(animals, tmp_path / "more")
    assert written(tmp_path / "more") == written(tmp_path / "plain")
    (record,) = caplog.records
    ignored = "class" if by == "file" else "note"
    assert record.getMessage() == f"{animals / 'splits.csv'}: the columns {by} and split are read, {ignored} not"


@pytest.mark.parametrize("decomposed", ["folders", "tables"])
@pytest.mark.parametrize("by", ["class", "file"])
def test_names_are_compared_as_they_look(animals: Path, tmp_path: Path, decomposed: str, by: str) -> None:
    """MacOS writes folders in Unicode form NFD; editors write NFC."""
    if by == "file":
        by_photo(animals)
    name = {"folders": "ökapi", "tables": "ökapi"} | {decomposed: unicodedata.normalize("NFD", "ökapi")}
    (animals / "images" / "okapi").rename(animals / "images" / name["folders"])
    for file in ("attributes.csv", "splits.csv"):
        text = (animals / file).read_text().replace("okapi", name["tables"])
        (animals / file).write_text(text, encoding="utf-8-sig")  # with the byte order mark of spreadsheets
    _, raw = make_shards(str(animals), tmp_path / "data")
    assert {raw.splits.class_names[i] for i in raw.splits.unseen} == {"ökapi"}
    files = [instance.file for instance in raw.instances if instance.class_name == "ökapi"]
    assert files == [f"images/{name['folders']}/photo {photo}.v1.jpg" for photo in range(PHOTOS)]


def test_an_official_split_file_takes_the_place_of_the_table(animals: Path, tmp_path: Path) -> None:
    own.prepare(animals, tmp_path / "first")
    (animals / "splits.csv").unlink()
    shutil.copy(tmp_path / "first" / "att_splits.mat", animals)
    own.prepare(animals, tmp_path / "second")
    assert written(tmp_path / "second") == written(tmp_path / "first")
    (animals / "valclasses1.txt").write_text("orca\n")  # a list of one's own is kept
    (animals / "attributes.csv").unlink()
    own.prepare(animals, tmp_path / "third")
    assert (tmp_path / "third" / "valclasses1.txt").read_text() == "orca\n"


def put_split_file(folder: Path, classes: Sequence[str], seen: int, **parts: list[int]) -> None:
    """An att_splits.mat of the first `classes` with photos, of which so many are seen, in place of both tables."""
    for name in {*SEEN, *UNSEEN} - set(classes):
        shutil.rmtree(folder / "images" / name)
    strengths = np.random.default_rng(0).random((3, len(classes)))
    rows = np.arange(PHOTOS * len(classes))
    is_seen, is_first = rows < PHOTOS * seen, rows % PHOTOS == 0
    of_classes = {
        "trainval_loc": rows[is_seen & ~is_first],
        "test_seen_loc": rows[is_seen & is_first],
        "test_unseen_loc": rows[~is_seen],
    }
    of_classes |= {part: np.array(listed) for part, listed in parts.items()}
    write_split_file(folder / "att_splits.mat", classes, strengths, of_classes, "a test")
    for file in ("attributes.csv", "splits.csv"):
        (folder / file).unlink()


@pytest.mark.parametrize(
    ("classes", "seen", "parts", "message"),
    [
        (2, 1, {}, r"^1 seen and 1 unseen classes; at least 3 seen ones"),
        (3, 2, {}, r"^2 seen and 1 unseen classes; at least 3 seen ones"),
        (4, 3, {"trainval_loc": [0, 1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14], "test_seen_loc": [5, 10]},
         r"att_splits\.mat: class 'horse' has trainval photos and none in test_seen"),
        (4, 3, {"trainval_loc": [6, 7, 8, 9, 11, 12, 13, 14], "test_seen_loc": [0, 1, 2, 3, 4, 5, 10]},
         r"att_splits\.mat: class 'horse' has test_seen photos and none in trainval"),
    ],
)  # fmt: skip
def test_an_official_split_file_has_to_be_a_zero_shot_split_with_folds_as_a_table_has(
    animals: Path, tmp_path: Path, classes: int, seen: int, parts: dict[str, list[int]], message: str
) -> None:
    put_split_file(animals, sorted((*SEEN, *UNSEEN))[:classes], seen, **parts)
    with pytest.raises(ValueError, match=message):
        make_shards(str(animals), tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.tar"))


def test_attributes_beside_a_split_file_with_others_are_not_read_in_silence(
    animals: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own.prepare(animals, tmp_path / "first")
    (animals / "splits.csv").unlink()
    shutil.copy(tmp_path / "first" / "att_splits.mat", animals)
    own.prepare(animals, tmp_path / "second")
    assert not caplog.messages
    rewrite(animals, "attributes.csv", "zebra,", "zebra,7")
    own.prepare(animals, tmp_path / "third")
    assert "attributes.csv has others, which are not read" in caplog.text


def test_what_is_a_folder_of_ones_own(animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(animals.parent)
    (tmp_path / "cub").mkdir()
    assert own.is_own("my animals")
    assert own.is_own("./somewhere")
    assert not own.is_own("cub")
    assert not own.is_own("birds")
    assert benchmark_name("my animals") == benchmark_name("./my animals/") == "my animals"
    with pytest.raises(ValueError, match=r"\./cub has the name of a known benchmark"):
        benchmark_name("./cub")


def no_unseen(folder: Path) -> None:
    rewrite(folder, "splits.csv", "unseen", "seen")


def copy_photo(folder: Path) -> None:
    shutil.copy(folder / "images" / "okapi" / "photo 0.v1.jpg", folder / "images" / "zebra" / "copy.jpg")


def one_photo(folder: Path) -> None:
    for photo in range(1, PHOTOS):
        (folder / "images" / "orca" / f"photo {photo}.v1.jpg").unlink()


def photo_split(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        by_photo(folder)
        rewrite(folder, "splits.csv", old, new)

    return change


def table(file: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, file, old, new)


def second_split(folder: Path) -> None:
    (folder / "att_splits.mat").write_bytes(b"")


def saved(file: str, change: Callable[[str], bytes]) -> Callable[[Path], None]:
    """The file as another program saves it."""

    def spoil(folder: Path) -> None:
        (folder / file).write_bytes(change((folder / file).read_text()))

    return spoil


def semicolons(text: str) -> bytes:
    return text.replace(",", ";").replace(".", ",").encode()


def trailing_columns(text: str) -> bytes:
    return "".join(f"{line},,\n" for line in text.splitlines()).encode()


def row_numbers(text: str) -> bytes:
    lines = text.splitlines()
    return "\n".join([f",{lines[0]}", *(f"{i},{line}" for i, line in enumerate(lines[1:]))]).encode()


def two_forms(first: str, second: str) -> Callable[[Path], None]:
    """Two photos, with a name in Unicode form NFC and in form NFD."""

    def spoil(folder: Path) -> None:
        for number, path in enumerate((first.format("\u00e9"), second.format("e\u0301"))):
            write_photo(folder / "images" / path, number)

    return spoil


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "Latin-1": (
        saved("attributes.csv", lambda text: text.replace("orca", "orça").encode("latin-1")),
        r"attributes\.csv, line 4: byte 0xe7 is not UTF-8; save the file as UTF-8",
    ),
    "UTF-16": (
        saved("splits.csv", lambda text: text.encode("utf-16")),
        r"splits\.csv, line 1: the file is UTF-16; save the file as UTF-8",
    ),
    "NUL": (
        saved("splits.csv", lambda text: text.replace("orca", "or\0ca").encode()),
        r"splits\.csv, line 4: a NUL byte, .*UTF-8",
    ),
    "cut UTF-8": (
        saved("splits.csv", lambda text: text.replace("okapi,unseen\n", "okapí").encode()[:-1]),
        r"splits\.csv, line 6: the file ends within a character",
    ),
    "semicolons": (
        saved("attributes.csv", semicolons),
        r"attributes\.csv, line 1, column 1: .* separated by semicolons; .*comma-separated CSV, with decimal points",
    ),
    "tabs": (saved("splits.csv", lambda text: text.replace(",", "\t").encode()), r"line 1, column 1: .*by tabs"),
    "decimal commas": (
        table("attributes.csv", "horse,0.5,0.3", "horse,0,5,0,3"),
        r"attributes\.csv, line 3: 9 cells, the header has 7; from column 8 on .*decimal points instead of decimal",
    ),
    "quoted decimal comma": (
        table("attributes.csv", "horse,0.5,", 'horse,"0,5",'),
        r"line 3, column 2: attribute 'black' of class 'horse' is '0,5'; every class needs a number .*decimal points",
    ),
    "underscore": (
        table("attributes.csv", "horse,0.5,", "horse,1_0,"),
        r"line 3, column 2: attribute 'black' of class 'horse' is '1_0'",
    ),
    "trailing columns": (
        saved("attributes.csv", trailing_columns),
        r"attributes\.csv, line 1, column 8: the column has no name; name it, or remove it \(an empty column",
    ),
    "row numbers": (saved("splits.csv", row_numbers), r"line 1, column 1: the column has no name; .*row numbers"),
    "column twice": (
        saved(
            "splits.csv", lambda text: "".join(f"{line},{line.split(',')[1]}\n" for line in text.splitlines()).encode()
        ),
        r"splits\.csv: column 'split' occurs 2 times",
    ),
    "open quotation": (
        table("attributes.csv", "horse,", '"horse,'),
        r"attributes\.csv, line \d+: no table of commas and lines .*quotation mark",
    ),
    "class twice": (table("attributes.csv", "horse,", "zebra,"), r"class 'zebra' occurs 2 times"),
    "attribute twice": (table("attributes.csv", "white", "black"), r"attribute 'black' occurs 2 times"),
    "class without name": (table("attributes.csv", "horse,", ","), r"a class has no name"),
    "gap": (table("attributes.csv", "0.9,0.6,0,", "0.9,,0,"), r"attribute 'white' of class 'orca' is ''"),
    "NaN": (table("attributes.csv", "0.9,0.6,0,", "0.9,nan,0,"), r"attribute 'white' of class 'orca' is 'nan'"),
    "word": (table("attributes.csv", "0.9,0.6,0,", "0.9,yes,0,"), r"attribute 'white' of class 'orca' is 'yes'"),
    "short line": (table("attributes.csv", "horse,0.5,", "horse,"), r"line 3: 6 cells, the header has 7"),
    "no class column": (table("attributes.csv", "class,", "name,"), r"begins with the column 'name'"),
    "nothing known": (table("attributes.csv", "0.9,0.6,0,0,0,1", "0,0,0,0,0,0"), r"'orca' has no attribute but 0"),
    "classes alike": (
        table("attributes.csv", "horse,0.5,0.3,0.9,0,1,0", "horse,0.9,0.9,0,1,1,0"),
        r"attributes\.csv: classes 'zebra' and 'horse' have equal or proportional attributes \(1 such pairs\)",
    ),
    "classes in proportion": (
        table("attributes.csv", "horse,0.5,0.3,0.9,0,1,0", "horse,2.7,2.7,0,3,3,0"),
        r"classes 'zebra' and 'horse' have equal or proportional .*no method can tell them apart; give them attributes",
    ),
    "one attribute": (
        saved(
            "attributes.csv",
            lambda text: "".join(",".join(line.split(",")[:2]) + "\n" for line in text.splitlines()).encode(),
        ),
        r"attributes\.csv: there is 1 attribute; .*'zebra' and 'horse' not apart, give 2 or more",
    ),
    "all alike": (
        saved(
            "attributes.csv",
            lambda text: "".join(
                f"{line.split(',')[0]},{'a,b' if number == 0 else '1,2'}\n"
                for number, line in enumerate(text.splitlines())
            ).encode(),
        ),
        r"attributes\.csv: classes 'zebra' and 'horse' .* \(4 such pairs\)",
    ),
    "huge attribute": (
        table("attributes.csv", "0.9,0.6,0,", "1e200,0.6,0,"),
        r"attributes\.csv: the largest attribute of class 'orca' is 1e\+200; it should be between 1e-30 and 1e\+30",
    ),
    "beyond fp32": (table("attributes.csv", "0.9,0.6,0,", "1e39,0.6,0,"), r"class 'orca' is 1e\+39; .*scale the"),
    "tiny attributes": (
        table("attributes.csv", "orca,0.9,0.6,0,0,0,1", "orca,1e-200,2e-200,0,0,0,0"),
        r"the largest attribute of class 'orca' is 2e-200",
    ),
    "class of two lines": (
        table("attributes.csv", "horse,", '"ho\nrse",'),
        r"attributes\.csv: the name 'ho\\nrse' holds a line break; give it a name of one line",
    ),
    "Unicode line break": (table("attributes.csv", "horse,", "ho\u2028rse,"), r"'ho\\u2028rse' holds a line break"),
    "attribute of two lines": (table("attributes.csv", "white", '"whi\nte"'), r"'whi\\nte' holds a line break"),
    "LFS pointer": (
        saved("splits.csv", lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        r"splits\.csv is a Git LFS pointer, not the file itself; git lfs pull",
    ),
    "two forms of a folder": (
        two_forms("{}/1.jpg", "{}/2.jpg"),
        r"look equal and differ in their bytes .*; rename one of them, or put the photos",
    ),
    "two forms of a photo": (two_forms("zebra/{}.jpg", "zebra/{}.jpg"), r"zebra/.*look equal and differ"),
    "no table": (lambda folder: (folder / "attributes.csv").unlink(), r"no attributes\.csv in .*own-benchmark\.md"),
    "no split": (lambda folder: (folder / "splits.csv").unlink(), r"no splits\.csv in"),
    "two splits": (second_split, r"has both splits\.csv and att_splits\.mat"),
    "unknown class": (table("splits.csv", "horse", "hose"), r"which is not in attributes\.csv; did you mean 'horse'\?"),
    "class left out": (table("splits.csv", "horse,seen\n", ""), r"leaves out 1 of 5, the first is the class 'horse'"),
    "split twice": (table("splits.csv", "horse,seen", "zebra,unseen"), r"class 'zebra' occurs 2 times"),
    "unknown split": (table("splits.csv", "okapi,unseen", "okapi,test"), r"split of 'okapi' is 'test'; .*or unseen"),
    "other columns": (table("splits.csv", "class,split", "name,part"), r"has the columns name,part; needed are"),
    "no unseen class": (no_unseen, r"5 seen and 0 unseen classes; at least 3 seen"),
    "unknown folder": (
        lambda folder: write_photo(folder / "images" / "tapir" / "a.jpg", 1),
        r"class names are not in attributes\.csv.*'tapir'",
    ),
    "empty class": (lambda folder: shutil.rmtree(folder / "images" / "panda"), r"1 classes have no photo in .*'panda'"),
    "one photo": (one_photo, r"the seen class 'orca' has 1 photo"),
    "same bytes": (copy_photo, r"images/okapi/photo 0\.v1\.jpg and images/zebra/copy\.jpg are the same photo"),
    "other type": (lambda folder: (folder / "images/orca/a.webp").touch(), r"neither JPEG nor PNG.*a\.webp"),
    "no class folder": (lambda folder: (folder / "images/a.jpg").touch(), r"a\.jpg lies in no class folder"),
    "photo left out": (
        photo_split("zebra/photo 2.v1.jpg,trainval\n", ""),
        r"leaves out 1 of 25, .*the file 'zebra/photo 2\.v1\.jpg'",
    ),
    "unknown photo": (photo_split("zebra/photo 2.v1", "zebra/photo 9.v1"), r"names the file 'zebra/photo 9\.v1\.jpg'"),
    "photo with a backslash": (
        photo_split("zebra/photo 2.v1", "zebra\\photo 2.v1"),
        r"not in images/; did you mean 'zebra/photo 2\.v1\.jpg'",
    ),
    "photo below images": (
        photo_split("zebra/photo 2.v1", "images/zebra/photo 2.v1"),
        r"not in images/; did you mean 'zebra/photo",
    ),
    "seen and unseen": (
        photo_split("zebra/photo 2.v1.jpg,trainval", "zebra/photo 2.v1.jpg,test_unseen"),
        r"class 'zebra' has photos in test_unseen",
    ),
    "never trained": (
        photo_split("zebra/photo 0.v1.jpg,test_seen", "zebra/photo 0.v1.jpg,trainval"),
        r"class 'zebra' has trainval photos and none",
    ),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_is_refused_in_words_and_nothing_is_packed(animals: Path, tmp_path: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    spoil(animals)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make_shards(str(animals), tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.tar"))


def test_photos_and_splits_of_a_folder_cannot_be_given_apart(animals: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave --images and --splits out"):
        make_shards(str(animals), tmp_path / "data", images=animals)


def test_another_folder_of_the_same_last_name_is_not_packed_over_the_first(animals: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_shards(str(animals), data)
    kept = written(shards_folder(data, animals.name)) | written(splits_folder(data, animals.name))
    other = tmp_path / "elsewhere" / animals.name
    shutil.copytree(animals, other)
    rewrite(other, "splits.csv", "panda,seen", "panda,unseen")
    for start in (lambda: make_shards(str(other), data), lambda: open_shards(str(other), data)):
        with pytest.raises(ValueError, match=r"was made from .*/my animals, asked for is .*elsewhere.*rename one of"):
            start()
    assert kept == written(shards_folder(data, animals.name)) | written(splits_folder(data, animals.name))
    make_shards(str(animals), data)  # the first one still is
    animals.rename(tmp_path / "gone")
    make_shards(str(other), data)  # a folder that was moved


def test_new_splits_of_the_same_photos_keep_the_features(
    animals: Path, tmp_path: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    data = tmp_path / "data"
    shards, out = shards_folder(data, animals.name), features_folder(data, animals.name, tiny_backbone.name)

    def extract() -> FeatureTable:
        extract_features(tiny_backbone, shards, read_index(shards), out, accelerator)
        return read_features(out)

    make_shards(str(animals), data)
    first = extract()
    written_at = (out / "features.npy").stat().st_mtime_ns
    (animals / "splits.csv").write_text("class,split\nzebra,unseen\nhorse,seen\norca,seen\npanda,seen\nokapi,seen\n")
    make_shards(str(animals), data)
    with pytest.raises(ValueError, match=r"do not depend on splits: .*make_shards\.py .*extract\.py, which keeps the"):
        load_splits(animals.name, data, first)
    second = extract()
    assert (out / "features.npy").stat().st_mtime_ns == written_at
    splits = load_splits(animals.name, data, second)
    assert [splits.class_names[label] for label in splits.unseen.tolist()] == ["zebra"]
    assert second.manifest.source.verdict == f"{splits.verdict}, complete"


def test_the_manifest_of_the_shards_says_whose_split_it_is(animals: Path, tmp_path: Path) -> None:
    make_shards(str(animals), tmp_path / "data")
    index = json.loads((tmp_path / "data" / "my animals" / "shards" / "index.json").read_text())
    assert index["benchmark"] == "my animals"
    assert index["source"]["verdict"].startswith("unknown split, hash ")
    assert index["source"]["verdict"].endswith(", complete")


def test_an_empty_photo_leaves_an_earlier_packing_as_it_is(animals: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_shards(str(animals), data)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert any(path.name == "index.json" for path in before)
    photo = sorted((animals / "images").glob("*/*"))[0]
    photo.write_bytes(b"")
    with pytest.raises(ValueError, match=r"is empty \(row 0\)"):
        make_shards(str(animals), data)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def test_a_photo_that_may_not_be_read_leaves_an_earlier_packing_as_it_is(
    animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    make_shards(str(animals), data)
    kept = written(shards_folder(data, animals.name))
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "photo 3.v1.jpg")
    with pytest.raises(PermissionError, match=r"photo 3\.v1\.jpg"):
        make_shards(str(animals), data)
    assert written(shards_folder(data, animals.name)) == kept


def test_attribute_names_of_an_earlier_packing_do_not_stay(animals: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_shards(str(animals), data)
    assert (splits_folder(data, animals.name) / "attribute_names.txt").is_file()
    shutil.copyfile(splits_folder(data, animals.name) / "att_splits.mat", animals / "att_splits.mat")
    for table in ("attributes.csv", "splits.csv"):
        (animals / table).unlink()
    make_shards(str(animals), data)
    assert not (splits_folder(data, animals.name) / "attribute_names.txt").exists()


def test_classes_in_another_order_need_new_features(
    animals: Path, tmp_path: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    data = tmp_path / "data"
    index, _ = make_shards(str(animals), data)
    out = features_folder(data, animals.name, tiny_backbone.name)
    extract_features(tiny_backbone, shards_folder(data, animals.name), index, out, accelerator)
    load_splits(animals.name, data, read_features(out))
    lines = (animals / "attributes.csv").read_text().splitlines()
    seen = [row.partition(",")[0] for row in (animals / "splits.csv").read_text().splitlines() if row.endswith(",seen")]
    first, second = (next(i for i, line in enumerate(lines) if line.startswith(f"{name},")) for name in seen[:2])
    lines[first], lines[second] = lines[second], lines[first]
    (animals / "attributes.csv").write_text("\n".join(lines) + "\n")
    make_shards(str(animals), data)
    with pytest.raises(ValueError, match="made with other classes, or in another order"):
        load_splits(animals.name, data, read_features(out))


def swap_photos(folder: Path) -> None:
    """Two photos change their classes, as a mended mistake of labels does."""
    first, second = (folder / "images" / name / "photo 0.v1.jpg" for name in ("zebra", "orca"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


@pytest.mark.parametrize(
    "change", [lambda folder: write_photo(folder / "images" / "panda" / "photo 2.v1.jpg", 9_999), swap_photos]
)
def test_photos_that_changed_since_need_new_features(
    animals: Path, tmp_path: Path, tiny_backbone: Backbone, accelerator: Accelerator, change: Callable[[Path], None]
) -> None:
    data = tmp_path / "data"
    index, _ = make_shards(str(animals), data)
    out = features_folder(data, animals.name, tiny_backbone.name)
    extract_features(tiny_backbone, shards_folder(data, animals.name), index, out, accelerator)
    table = read_features(out)
    load_splits(animals.name, data, table)
    change(animals)
    make_shards(str(animals), data)
    message = rf"25 rows of shards {index.sha256[:12]}…, the shards that are there have 25 photos .*; delete that table"
    for fold in (None, 1):
        with pytest.raises(ValueError, match=message):
            load_splits(animals.name, data, table, fold=fold)
    shutil.rmtree(shards_folder(data, animals.name))  # a table without shards is compared with nothing
    assert len(load_splits(animals.name, data, table).seen) == len(SEEN)


def test_a_refused_packing_leaves_an_earlier_one_as_it_is(animals: Path, tmp_path: Path) -> None:
    """The split files, too, which the new tables would have replaced."""
    make_shards(str(animals), tmp_path / "data")
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    rewrite(animals, "attributes.csv", "horse,0.5,", "horse,0.6,")
    (animals / "images" / "okapi" / "photo 0.v1.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        make_shards(str(animals), tmp_path / "data")
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before


def test_class_lists_of_an_earlier_packing_do_not_stay(animals: Path, tmp_path: Path) -> None:
    make_shards(str(animals), tmp_path / "data")
    stale = splits_folder(tmp_path / "data", str(animals)) / "valclasses9.txt"
    stale.write_text("zebra\n")
    make_shards(str(animals), tmp_path / "data")
    assert not stale.exists()
    assert not list((tmp_path / "data").rglob("*.draft"))
