"""Raw archives in the official layouts: official rows, labels and boxes, on to scores, or an error in words."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image, ImageDraw
from scipy.io import loadmat, savemat

from backbones import Backbone, decode_image
from shards import read_index, read_shard
from zsl.datasets import apy, awa, sun
from zsl.datasets.benchmark import Benchmark, read_benchmark
from zsl.datasets.instances import Instance
from zsl.datasets.pack import make_shards
from zsl.datasets.places import features_folder, shards_folder
from zsl.datasets.split_file import read_split_file
from zsl.datasets.splits import make_splits
from zsl.dcrgan.classifiers import ClassifierConfig
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.gan import GANConfig
from zsl.dcrgan.metric import MetricConfig
from zsl.dcrgan.regressors import RegressorConfig
from zsl.dcrgan.srn import SRNConfig
from zsl.features.extract import extract_features
from zsl.features.load import load_splits
from zsl.features.split import split_features
from zsl.features.table import read_features
from zsl.scores.evaluate import evaluate

TINY = DCRGANConfig(
    metric=MetricConfig(representation_dim=4, steps=5, batch_size=16),
    srn=SRNConfig(steps=5),
    regressors=RegressorConfig(hidden_dim=8),
    gan=GANConfig(hidden_dim=16, steps=2, batch_size=8),
    classifiers=ClassifierConfig(images_per_unseen_class=5, epochs=1),
)

# --- miniature archives ----------------------------------------------------------------------------------------------

Box = tuple[int, int, int, int]
Row = tuple[str, str, Box | None]  # file below the raw folder, class, 0-based half-open box
SIZE = (48, 40)  # width, height
COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (200, 40, 200)]


@dataclass(frozen=True)
class Archive:
    """What the test draws; `rows` is the official order, written down by hand."""

    benchmark: str
    rows: list[Row]
    class_list: list[str]  # in the split file's order; the last two are unseen
    write_lists: Callable[[Archive, Path, Path], None]  # raw folder, split folder

    @property
    def files(self) -> list[str]:
        return [file for file, _, _ in self.rows]

    @property
    def labels(self) -> list[int]:
        return [self.class_list.index(name) for _, name, _ in self.rows]


def cells(strings: list[str]) -> np.ndarray:
    return np.array(strings, dtype=object)[:, None]


def draw(archive: Archive, tmp_path: Path) -> tuple[Path, Path]:
    """The archive's photos (the second one greyscale, the last one CMYK), its lists, and its split files."""
    raw, splits = tmp_path / "raw", tmp_path / "splits"
    splits.mkdir(parents=True)
    files = list(dict.fromkeys(archive.files))
    for number, file in reversed(list(enumerate(files))):
        photo = Image.new("RGB", SIZE, (90 + 5 * number, 120, 120))
        for _, name, box in (row for row in archive.rows if row[0] == file):
            x0, y0, x1, y1 = box or (8, 8, 40, 24 + number % 12)
            ImageDraw.Draw(photo).rectangle((x0, y0, x1 - 1, y1 - 1), COLOURS[archive.class_list.index(name)])
        mode = {1: "L", len(files) - 1: "CMYK"}.get(number, "RGB")
        (raw / file).parent.mkdir(parents=True, exist_ok=True)
        photo.convert(mode).save(raw / file, "JPEG", quality=95, subsampling=0)
    (raw / files[0]).with_name("._hidden.jpg").write_bytes(b"not a photo, left by some computers")
    labels, unseen = np.array(archive.labels), len(archive.class_list) - 2
    last = np.array([label not in labels[row + 1 :] for row, label in enumerate(labels)])
    rng = np.random.default_rng(0)
    strengths = rng.uniform(1, 100, (6, len(archive.class_list)))
    savemat(
        splits / "att_splits.mat",
        {
            "allclasses_names": cells(archive.class_list),
            "original_att": strengths,
            "att": strengths / np.linalg.norm(strengths, axis=0),
            "trainval_loc": np.flatnonzero((labels < unseen) & ~last)[:, None] + 1,
            "test_seen_loc": np.flatnonzero((labels < unseen) & last)[:, None] + 1,
            "test_unseen_loc": np.flatnonzero(labels >= unseen)[:, None] + 1,
        },
    )
    archive.write_lists(archive, raw, splits)
    return raw, splits


def write_nothing(archive: Archive, raw: Path, splits: Path) -> None:
    """The reader's own rule has to do."""


def write_labels(archive: Archive, raw: Path, splits: Path) -> None:
    savemat(splits / "labels_files.mat", {"labels": np.array(archive.labels)[:, None] + 1})


def write_official_rows(archive: Archive, splits: Path, name: str, files: list[str]) -> None:
    savemat(splits / name, {"labels": np.array(archive.labels)[:, None] + 1, "image_files": cells(files)})


def write_cub_lists(archive: Archive, raw: Path, splits: Path) -> None:
    files = [file.removeprefix("images/") for file in archive.files]
    scrambled = np.random.default_rng(1).permutation(files)
    (raw / "images.txt").write_text("".join(f"{number} {file}\n" for number, file in enumerate(scrambled, start=1)))
    write_official_rows(archive, splits, "labels_files.mat", files)


def write_sun_list(archive: Archive, raw: Path, splits: Path) -> None:
    (raw / "SUNAttributeDB").mkdir()
    savemat(
        raw / "SUNAttributeDB" / "images.mat", {"images": cells([f.removeprefix("images/") for f in archive.files])}
    )


def write_box_lists(archive: Archive, raw: Path, splits: Path) -> None:
    (raw / "attribute_data").mkdir()
    for name, rows in (
        ("apascal_train", archive.rows[:7]),
        ("apascal_test", archive.rows[7:13]),
        ("ayahoo_test", archive.rows[13:]),
    ):
        lines = [f"{Path(file).name} {kind} {' '.join(one_based(box))} 0 1 1 0" for file, kind, box in rows]
        (raw / "attribute_data" / f"{name}.txt").write_text("\n".join(lines) + "\n")


def write_annotations(archive: Archive, raw: Path, splits: Path) -> None:
    """VOC's boxes as XML (with a part's box before the object's own), aYahoo's as text, and the order in res101.mat."""
    write_box_lists(archive, raw, splits)
    for name in ("apascal_train", "apascal_test"):
        (raw / "attribute_data" / f"{name}.txt").unlink()
    folder = raw / "VOCdevkit" / "VOC2008" / "Annotations"
    folder.mkdir()
    part = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"
    for file in {file for file in archive.files if file.startswith("VOC")}:
        things = ""
        for _, kind, box in (row for row in archive.rows if row[0] == file):
            xmin, ymin, xmax, ymax = one_based(box)
            sides = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
            things += f"<object><name>{kind}</name><pose>Left</pose>{part}<bndbox>{sides}</bndbox></object>\n"
        (folder / f"{Path(file).stem}.xml").write_text(f"<annotation><filename>x</filename>\n{things}</annotation>\n")
    write_official_rows(archive, splits, "res101.mat", [f"/BS/work/MSc//data/aPY/{file}" for file in archive.files])


def one_based(box: Box | None) -> list[str]:
    """As VOC has it: the first pixel is 1, and the last one is inside."""
    x0, y0, x1, y1 = box or (0, 0, 0, 0)
    return [str(side) for side in (x0 + 1, y0 + 1, x1, y1)]


def photos(folders: list[str], names: list[str], depth: int = 1) -> list[Row]:
    """Rows in the order given; a class is the last `depth` folders."""
    return [(f"{folder}/{name}", "_".join(folder.split("/")[-depth:]), None) for folder in folders for name in names]


BIRDS = ["001.Zed_Bird", "002.Ant_Bird", "003.Mid_Bird", "004.Dot_Bird", "005.End_Bird"]
ANIMALS = ["bat", "blue+whale", "grizzly+bear", "ox", "zebra"]
NAMES = ["x 1 copy.jpg", "x_10001.JPG", "x_10002.v2.jpg"]  # spaces, dots; sorted
LEFT, RIGHT, LOW = (0, 0, 16, 24), (24, 0, 48, 24), (8, 24, 40, 40)  # multiples of 8: a JPEG keeps their edges sharp
VOC = "VOCdevkit/VOC2008/JPEGImages/2008_"
BOXES: list[Row] = [
    (f"{VOC}000008.jpg", "horse", LEFT),
    (f"{VOC}000008.jpg", "person", RIGHT),
    (f"{VOC}000008.jpg", "horse", LOW),
    (f"{VOC}000015.jpg", "bottle", RIGHT),
    (f"{VOC}000015.jpg", "bottle", LEFT),
    (f"{VOC}000019.jpg", "dog", LOW),
    (f"{VOC}000019.jpg", "person", LEFT),
    (f"{VOC}000002.jpg", "dog", RIGHT),
    (f"{VOC}000002.jpg", "dog", LOW),
    (f"{VOC}000003.jpg", "bottle", LEFT),
    (f"{VOC}000007.jpg", "horse", LOW),
    (f"{VOC}000007.jpg", "person", RIGHT),
    (f"{VOC}000009.jpg", "person", (0, 0, *SIZE)),
    ("ayahoo_test_images/donkey_1.jpg", "donkey", LEFT),
    ("ayahoo_test_images/donkey_1.jpg", "donkey", RIGHT),
    ("ayahoo_test_images/donkey 2.v1.jpg", "donkey", LOW),
]
OBJECTS = ["horse", "bottle", "dog", "person", "donkey"]

ARCHIVES = {
    "cub": Archive(
        "cub", photos([f"images/{b}" for b in BIRDS], NAMES), [BIRDS[i] for i in (1, 0, 4, 3, 2)], write_cub_lists
    ),
    "awa1": Archive(
        "awa1", photos([f"JPEGImages/{a}" for a in ANIMALS], NAMES), [ANIMALS[i] for i in (3, 2, 0, 4, 1)], write_labels
    ),
    "awa2": Archive(
        "awa2",
        photos([f"JPEGImages/{a}" for a in ANIMALS], NAMES),
        [ANIMALS[i] for i in (4, 1, 2, 0, 3)],
        write_nothing,
    ),
    "sun": Archive(  # images.mat in an order that is not the sorted one
        "sun",
        photos(["images/d/desert/sand", "images/b/bazaar/indoor", "images/b/bazaar/outdoor"], NAMES[::-1], 2)
        + photos(["images/l/lean-to", "images/d/desert_road"], NAMES),
        ["bazaar_indoor", "bazaar_outdoor", "desert_road", "desert_sand", "lean-to"],
        write_sun_list,
    ),
    "apy": Archive("apy", BOXES, OBJECTS, write_box_lists),
    "apy from VOC's XML": Archive("apy", BOXES, OBJECTS, write_annotations),
}


@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=ARCHIVES.keys())
def test_a_raw_archive_becomes_shards_features_and_scores(
    archive: Archive, tmp_path: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    raw, splits = draw(archive, tmp_path)
    data, name = tmp_path / "data", archive.benchmark
    index, _ = make_shards(name, data, images=raw, splits=splits)
    samples = [s for shard in index.shards for s in read_shard(shards_folder(data, name) / shard.file)]
    assert [(s.file, archive.class_list[s.label], s.box) for s in samples] == archive.rows
    assert [s.row for s in samples] == list(range(len(archive.rows)))
    assert all(s.image == (raw / s.file).read_bytes() for s in samples)

    out = features_folder(data, name, tiny_backbone.name)
    extract_features(tiny_backbone, shards_folder(data, name), read_index(shards_folder(data, name)), out, accelerator)
    table = read_features(out)
    assert table.rows.tolist() == list(range(len(archive.rows)))
    assert table.labels.tolist() == archive.labels
    for row, (file, _, box) in enumerate(archive.rows):
        x0, y0, x1, y1 = box or (0, 0, *SIZE)
        cropped = decode_image((raw / file).read_bytes())[:, y0:y1, x0:x1]
        with torch.inference_mode():
            expected = tiny_backbone.encode(tiny_backbone.transform(cropped)[None])[0].numpy()
        assert np.linalg.norm(table.features[row] - expected) < 1e-3 * np.linalg.norm(expected)

    train, test = split_features(table, load_splits(name, data, table))
    scores = evaluate(train_dcrgan(train, TINY, seed=0), test)
    assert all(0 <= value <= 1 for name, value in vars(scores).items() if name != "oracle_gamma")


def test_a_box_holds_its_own_pixels_and_no_others(tmp_path: Path) -> None:
    raw, splits = draw(ARCHIVES["apy"], tmp_path)
    for instance in read_benchmark("apy", raw, splits).instances:
        photo = Image.open(raw / instance.file)
        if photo.mode != "RGB":
            continue
        colour = np.array(COLOURS[instance.label])[:, None, None]
        x0, y0, x1, y1 = instance.box or (0, 0, 0, 0)
        pixels = decode_image((raw / instance.file).read_bytes()).numpy().astype(int)
        assert np.abs(pixels[:, y0:y1, x0:x1] - colour).max() <= 8
        wider = pixels[:, max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1]
        if wider.shape[1:] > (y1 - y0, x1 - x0):
            assert np.abs(wider - colour).max() > 50


# --- the files that state the order ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["awa2", "sun", "cub"])
def test_image_files_of_another_machine_are_matched_by_suffix_and_set_the_order(name: str, tmp_path: Path) -> None:
    archive = ARCHIVES[name]
    order = np.random.default_rng(2).permutation(len(archive.rows))
    moved = Archive(name, [archive.rows[i] for i in order], archive.class_list, archive.write_lists)
    raw, splits = draw(moved, tmp_path)
    (splits / "labels_files.mat").unlink(missing_ok=True)
    elsewhere = [f"/BS/x/work/data/A_1//{file}" for file in moved.files]
    if name == "sun":
        elsewhere = [f"C:/data/{file}".replace("/", "\\") for file in moved.files]
    write_official_rows(moved, splits, "res101.mat", elsewhere)
    assert [i.file for i in read_benchmark(name, raw, splits).instances] == moved.files


def test_a_file_that_names_the_rows_is_used_before_one_that_only_labels_them(tmp_path: Path) -> None:
    archive = ARCHIVES["awa1"]
    moved = Archive("awa1", archive.rows[::-1], archive.class_list, write_nothing)
    raw, splits = draw(moved, tmp_path)
    write_labels(moved, raw, splits)
    write_official_rows(moved, splits, "res101.mat", moved.files)
    assert [i.file for i in read_benchmark("awa1", raw, splits).instances] == moved.files


def test_rows_without_a_photo_stay_official_where_a_file_names_them(tmp_path: Path) -> None:
    archive = ARCHIVES["awa2"]
    raw, splits = draw(archive, tmp_path)
    write_official_rows(archive, splits, "labels_files.mat", [f.removeprefix("JPEGImages/") for f in archive.files])
    for row in (0, 7):
        (raw / archive.files[row]).unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 15 photos are missing .*bat/x 1 copy\.jpg, JPEGImages/grizzly"):
        read_benchmark("awa2", raw, splits)
    raw_benchmark = read_benchmark("awa2", raw, splits, allow_missing=True)
    assert [i.row for i in raw_benchmark.instances] == [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14]
    assert [i.label for i in raw_benchmark.instances] == [
        label for row, label in enumerate(archive.labels) if row not in (0, 7)
    ]


def test_missing_photos_of_apy_leave_official_boxes(tmp_path: Path) -> None:
    raw, splits = draw(ARCHIVES["apy"], tmp_path)
    (raw / BOXES[0][0]).unlink()
    made = read_benchmark("apy", raw, splits, allow_missing=True)
    assert [(i.row, i.file, i.box) for i in made.instances] == [(r, BOXES[r][0], BOXES[r][2]) for r in range(3, 16)]


def no_annotation(raw: Path, number: str) -> None:
    (raw / f"VOCdevkit/VOC2008/Annotations/2008_0000{number}.xml").unlink()


@pytest.mark.parametrize("photos_at_hand", [True, False], ids=["photos at hand", "photos absent"])
def test_a_photo_of_apy_without_a_box_counts_as_missing(photos_at_hand: bool, tmp_path: Path) -> None:
    raw, splits = draw(ARCHIVES["apy from VOC's XML"], tmp_path)
    boxless = BOXES[0][0]
    no_annotation(raw, "08")
    if not photos_at_hand:
        (raw / boxless).unlink()
    message = "no box for 1 photos: .*--allow-missing counts" if photos_at_hand else "1 of 16 photos|3 of 16 photos"
    with pytest.raises(FileNotFoundError, match=message):
        read_benchmark("apy", raw, splits)
    kept = read_benchmark("apy", raw, splits, allow_missing=True)
    rows = [row for row, (file, _, _) in enumerate(BOXES) if file != boxless]
    assert [(i.row, i.file, i.box) for i in kept.instances] == [(r, BOXES[r][0], BOXES[r][2]) for r in rows]
    assert kept.missing == len(BOXES) - len(rows)


def test_boxes_of_a_photo_that_is_absent_need_not_fit_its_rows(tmp_path: Path) -> None:
    raw, splits = draw(ARCHIVES["apy from VOC's XML"], tmp_path)
    (raw / "attribute_data/ayahoo_test.txt").write_text("donkey_1.jpg donkey 1 1 9 9\n")  # one box for two rows
    (raw / "ayahoo_test_images/donkey_1.jpg").unlink()
    (raw / "ayahoo_test_images/donkey 2.v1.jpg").unlink()
    kept = read_benchmark("apy", raw, splits, allow_missing=True)
    assert {i.file for i in kept.instances} == {file for file, _, _ in BOXES if "donkey" not in file}


# --- errors in words -------------------------------------------------------------------------------------------------


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def relabel(raw: Path, splits: Path) -> None:
    content = loadmat(splits / "labels_files.mat")
    content["labels"][[3, 4]] = content["labels"][0]
    savemat(splits / "labels_files.mat", {"labels": content["labels"]})


def shift_labels(raw: Path, splits: Path) -> None:
    content = loadmat(splits / "labels_files.mat")
    savemat(splits / "labels_files.mat", {"labels": content["labels"].astype(int) - 1})


def foreign_files(raw: Path, splits: Path) -> None:
    write_official_rows(ARCHIVES["apy"], splits, "labels_files.mat", [f"../{file}" for file in ARCHIVES["apy"].files])


def extra_file(raw: Path, splits: Path) -> None:
    files = [f.removeprefix("images/") for f in ARCHIVES["cub"].files]
    write_official_rows(ARCHIVES["cub"], splits, "labels_files.mat", [*files[:-1], "005.End_Bird/other.jpg"])


def repeat_file(raw: Path, splits: Path) -> None:
    files = ARCHIVES["awa2"].files
    write_official_rows(ARCHIVES["awa2"], splits, "labels_files.mat", [files[1], *files[1:]])


def swap_boxes(raw: Path, splits: Path) -> None:
    """The first photo's horse and person in the XML, whose order is not that of the rows then."""
    path = raw / "VOCdevkit" / "VOC2008" / "Annotations" / "2008_000008.xml"
    head, first, second, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, second, first, *rest]))


FAULTS: dict[str, tuple[str, Callable[[Path, Path], object], type[Exception], str]] = {
    "wrong labels": (
        "awa1",
        relabel,
        ValueError,
        r"2 labels are not the class of their file: row 3 JPEGImages/blue\+whale/x 1 copy\.jpg has label 3 = 'bat'; ",
    ),
    "0-based labels": (
        "awa1",
        shift_labels,
        ValueError,
        r"labels reach from 0 to 4; official ones are 1-based, 1\.\.5",
    ),
    "fewer photos than labels": (
        "awa1",
        lambda raw, _: (raw / "JPEGImages/ox/x_10001.JPG").unlink(),
        ValueError,
        r"14 found, .*labels_files\.mat has 15 rows: ox 2 for 3 rows",
    ),
    "fewer photos than rows": (
        "awa2",
        lambda raw, _: shutil.rmtree(raw / "JPEGImages/ox"),
        ValueError,
        r"lists 12 images, .* 15 rows; no image of ox\..*labels_files\.mat or res101\.mat .* must name them",
    ),
    "class folder of another name": (
        "awa2",
        lambda raw, _: (raw / "JPEGImages/ox").rename(raw / "JPEGImages/oxen"),
        ValueError,
        r"1 class names are not in the split file, the first is 'oxen': JPEGImages/oxen/x 1 copy\.jpg, ",
    ),
    "no raw folder": (
        "awa2",
        lambda raw, _: shutil.rmtree(raw / "JPEGImages"),
        FileNotFoundError,
        r"no folder .*JPEGImages; --images should be the folder that holds JPEGImages/",
    ),
    "a file in two rows": ("awa2", repeat_file, ValueError, r"1 files are listed more than once: .*x_10001\.JPG"),
    "damaged order file": (
        "awa2",
        lambda _, splits: (splits / "res101.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b" " * 40),
        ValueError,
        r"res101\.mat cannot be read as a MATLAB 5 file .*is the download complete",
    ),
    "order file without labels": (
        "awa2",
        lambda _, splits: savemat(splits / "res101.mat", {"features": np.zeros(3)}),
        ValueError,
        r"res101\.mat has no labels",
    ),
    "images.txt and order file differ": (
        "cub",
        extra_file,
        ValueError,
        r"images\.txt and .*labels_files\.mat differ in 2 files: 005\.End_Bird/other\.jpg, 005\.End_Bird/x_10002\.v2",
    ),
    "box list in another encoding": (
        "apy",
        lambda raw, _: (raw / "attribute_data/ayahoo_test.txt").write_bytes(b"\nd\xf6nkey_1.jpg donkey 1 1 9 9\n"),
        ValueError,
        r"ayahoo_test\.txt, line 2: byte 0xf6 is not UTF-8; save the file as UTF-8",
    ),
    "fractional labels": (
        "awa1",
        lambda _, splits: savemat(splits / "labels_files.mat", {"labels": np.full((15, 1), 1.5)}),
        ValueError,
        r"labels_files\.mat: labels holds 1\.5, which is no class number",
    ),
    "a scene of another name": (
        "sun",
        lambda raw, _: savemat(
            raw / "SUNAttributeDB/images.mat",
            {
                "images": cells(
                    [f.removeprefix("images/").replace("desert/", "dessert/") for f in ARCHIVES["sun"].files]
                )
            },
        ),
        ValueError,
        r"1 class names are not in the split file, the first is 'dessert_sand'",
    ),
    "a list of numbers": (
        "sun",
        lambda raw, _: savemat(raw / "SUNAttributeDB/images.mat", {"images": np.arange(15)}),
        ValueError,
        r"images\.mat: entry 1 of its list of files is not one string",
    ),
    "a box outside its photo": (
        "apy",
        lambda raw, _: edit(raw / "attribute_data/apascal_train.txt", "person 25 1 48 24", "person 25 1 49 24"),
        ValueError,
        r"1 boxes .*: row 1 box \[24, 0, 49, 24\] in VOCdevkit/VOC2008/JPEGImages/2008_000008\.jpg of 48 x 40 pixels",
    ),
    "an empty box": (
        "apy",
        lambda raw, _: edit(raw / "attribute_data/apascal_train.txt", "person 25 1 48 24", "person 25 1 24 24"),
        ValueError,
        r"1 boxes .*: row 1 box \[24, 0, 24, 24\]",
    ),
    "a line that is none": (
        "apy",
        lambda raw, _: edit(raw / "attribute_data/ayahoo_test.txt", "donkey 1 1 16 24", "donkey one 1 16 24"),
        ValueError,
        r"ayahoo_test\.txt, line 1: .* is not `file class xmin ymin xmax ymax",
    ),
    "a photo that is none": (
        "apy",
        lambda raw, _: (raw / BOXES[3][0]).write_bytes(b"nothing"),
        ValueError,
        r"2008_000015\.jpg is not an image",
    ),
    "no box lists and no order": (
        "apy",
        lambda raw, _: shutil.rmtree(raw / "attribute_data"),
        FileNotFoundError,
        r"no attribute_data/apascal_train\.txt, .*ayahoo_test\.txt in .*labels_files\.mat",
    ),
    "files of no archive": (
        "apy",
        foreign_files,
        ValueError,
        r"16 image_files are not of this benchmark: \.\./VOC.*, …",
    ),
    "no box of aYahoo": (
        "apy from VOC's XML",
        lambda raw, _: (raw / "attribute_data/ayahoo_test.txt").unlink(),
        FileNotFoundError,
        r"no box for 2 photos: ayahoo_test_images/donkey_1\.jpg, ayahoo_test_images/donkey 2\.v1\.jpg",
    ),
    "no annotation of one photo": (
        "apy from VOC's XML",
        lambda raw, _: (raw / "VOCdevkit/VOC2008/Annotations/2008_000019.xml").unlink(),
        FileNotFoundError,
        r"no box for 1 photos: VOCdevkit/VOC2008/JPEGImages/2008_000019\.jpg",
    ),
    "annotation cut short": (
        "apy from VOC's XML",
        lambda raw, _: edit(raw / "VOCdevkit/VOC2008/Annotations/2008_000019.xml", "</annotation>", ""),
        ValueError,
        r"2008_000019\.xml is not a VOC annotation",
    ),
    "annotation in an unknown encoding": (
        "apy from VOC's XML",
        lambda raw, _: edit(
            raw / "VOCdevkit/VOC2008/Annotations/2008_000019.xml",
            "<annotation>",
            '<?xml version="1.0" encoding="latin-11"?><annotation>',
        ),
        ValueError,
        r"2008_000019\.xml is not a VOC annotation: unknown encoding: latin-11",
    ),
    "annotation with an infinite side": (
        "apy from VOC's XML",
        lambda raw, _: edit(raw / "VOCdevkit/VOC2008/Annotations/2008_000019.xml", "<xmin>", "<xmin>1e999"),
        ValueError,
        r"2008_000019\.xml is not a VOC annotation: the box 1e999.* is not of finite numbers",
    ),
    "line with an endless number": (
        "apy from VOC's XML",
        lambda raw, _: edit(raw / "attribute_data/ayahoo_test.txt", " donkey ", f" donkey {400 * '9'}"),
        ValueError,
        r"ayahoo_test\.txt, line 1: the box 9+ is not of finite numbers",
    ),
    "fewer boxes than rows": (
        "apy from VOC's XML",
        lambda raw, _: (raw / "attribute_data/ayahoo_test.txt").write_text(
            "donkey_1.jpg donkey 1 1 9 9\ndonkey 2.v1.jpg donkey 1 1 9 9\n"
        ),
        ValueError,
        r"rows and boxes are not as many for 1 photos: ayahoo_test_images/donkey_1\.jpg 2 rows, 1 boxes",
    ),
    "boxes of another class than the rows": (
        "apy from VOC's XML",
        swap_boxes,
        ValueError,
        r"2 labels are not the class of their file: row 0 .*2008_000008\.jpg has label 1 = 'horse'; row 1 ",
    ),
}


@pytest.mark.parametrize(("name", "spoil", "error", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_named(
    name: str, spoil: Callable[[Path, Path], object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    raw, splits = draw(ARCHIVES[name], tmp_path)
    read_benchmark(name.split()[0], raw, splits)  # sound until now
    spoil(raw, splits)
    with pytest.raises(error, match=message):
        read_benchmark(name.split()[0], raw, splits)


@pytest.mark.parametrize(
    "box", [(-1, 0, 4, 4), (0, 0, 49, 4), (0, 3, 4, 41), (5, 5, 5, 9), (9, 5, 5, 9), (50, 0, 60, 4)]
)
def test_a_crop_beyond_the_photo_is_refused(box: Box) -> None:
    data = io.BytesIO()
    Image.new("RGB", SIZE).save(data, "JPEG")
    assert decode_image(data.getvalue(), (0, 0, *SIZE)).shape == (3, 40, 48)
    with pytest.raises(ValueError, match=r"box \[.*\] \(x0, y0, x1, y1\) is not inside the image of 48 x 40 pixels"):
        decode_image(data.getvalue(), box)


# --- the official rows -----------------------------------------------------------------------------------------------


def official(shared_data: Path, name: str) -> tuple[list[str], list[int], list[str]]:
    """Class names, 0-based labels and, but for AWA1, files of the official rows."""
    content = loadmat(shared_data / "xlsa17" / name / "labels_files.mat")
    files = [str(cell[0]) for cell in content["image_files"].ravel()] if "image_files" in content else []
    names = list(read_split_file(shared_data / "xlsa17" / name).class_names)
    return names, (content["labels"].ravel().astype(int) - 1).tolist(), files


def shuffled(files: list[str]) -> list[str]:
    return [str(file) for file in np.random.default_rng(3).permutation(files)]


def test_the_rule_gives_the_official_rows_of_awa2(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, labels, files = official(shared_data, "AWA2")
    monkeypatch.setattr(awa, "list_photos", lambda _: shuffled(files))
    rows = awa.instances(Path("nowhere"), names)
    assert [row.file for row in rows] == [f"JPEGImages/{file}" for file in files]
    assert [row.label for row in rows] == labels
    assert len(rows) == 37_322


def test_the_rule_gives_the_official_labels_of_awa1(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, labels, _ = official(shared_data, "AWA1")
    files = [f"{names[label]}/{names[label]}_{row:05d}.jpg" for row, label in enumerate(labels)]
    monkeypatch.setattr(awa, "list_photos", lambda _: shuffled(files))
    rows = awa.instances(Path("nowhere"), names, shared_data / "xlsa17" / "AWA1")
    assert [row.label for row in rows] == labels
    assert len(rows) == 30_475
    monkeypatch.setattr(awa, "list_photos", lambda _: shuffled(files[1:]))
    with pytest.raises(ValueError, match=r"30,474 found, .* has 30,475 rows: antelope 545 for 546 rows\."):
        awa.instances(Path("nowhere"), names, shared_data / "xlsa17" / "AWA1")


def test_the_rule_gives_the_official_rows_of_sun(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, labels, files = official(shared_data, "SUN")
    monkeypatch.setattr(sun, "list_photos", lambda _: shuffled(files))
    rows = sun.instances(Path("nowhere"), names)
    assert [row.file for row in rows] == [f"images/{file}" for file in files]
    assert [row.label for row in rows] == labels
    assert len(rows) == 14_340


@pytest.mark.parametrize(("reader", "name"), [(awa.instances, "AWA2"), (sun.instances, "SUN")])
def test_official_rows_need_no_photo(
    reader: Callable[..., list[Instance]], name: str, shared_data: Path, tmp_path: Path
) -> None:
    names, labels, files = official(shared_data, name)
    rows = reader(tmp_path, names, shared_data / "xlsa17" / name)
    assert [row.file.split("/", 1)[1] for row in rows] == files
    assert [row.label for row in rows] == labels


@pytest.mark.parametrize("stated", [False, True], ids=["rule", "labels_files.mat"])
def test_the_official_boxes_of_apy_and_the_photos_that_they_share(
    stated: bool, shared_data: Path, tmp_path: Path
) -> None:
    names, labels, files = official(shared_data, "APY")
    splits = shared_data / "xlsa17" / "APY"
    (tmp_path / "attribute_data").mkdir()
    for name, start, stop in (("apascal_train", 0, 6340), ("apascal_test", 6340, 12695), ("ayahoo_test", 12695, 15339)):
        lines = [
            f"{Path(files[row]).name} {names[labels[row]]} 1 {row + 1} 9 {row + 9} 0 1" for row in range(start, stop)
        ]
        (tmp_path / "attribute_data" / f"{name}.txt").write_text("\n".join(lines))
    rows = apy.instances(tmp_path, names, splits if stated else None)
    assert [row.file for row in rows] == files
    assert [row.label for row in rows] == labels
    assert [row.box for row in rows] == [(0, row, 9, row + 9) for row in range(15_339)]
    split_file = read_split_file(splits)
    made = Benchmark(
        name="apy",
        images=tmp_path,
        split_folder=splits,
        split_file=split_file,
        instances=rows,
        splits=make_splits(split_file, np.arange(15_339), np.array(labels)),
    )
    assert made.shared_photos == {
        "photos": 6_577,
        "photos_of_several_classes": 1_793,
        "test_seen_rows": 1_483,
        "test_seen_rows_beside_trainval": 817,
        "test_unseen_rows": 7_924,
        "test_unseen_rows_beside_trainval": 2_885,
    }
    assert made.verdict == (
        "official Proposed Split of aPY, complete; rows are 15,339 boxes in 6,577 photos, 2,885 of 7,924 test_unseen "
        "rows and 817 of 1,483 test_seen rows lie in a photo that also holds a trainval row, 1,793 photos hold two or "
        "more classes"
    )


def test_the_index_says_which_rows_share_a_photo_and_only_where_rows_are_boxes(tmp_path: Path) -> None:
    raw, splits = draw(ARCHIVES["apy"], tmp_path / "boxes")
    source = make_shards("apy", tmp_path / "data", images=raw, splits=splits)[0].source
    assert source["shared_photos"] == {  # counted by hand in BOXES
        "photos": 9,
        "photos_of_several_classes": 3,
        "test_seen_rows": 3,
        "test_seen_rows_beside_trainval": 1,
        "test_unseen_rows": 7,
        "test_unseen_rows_beside_trainval": 2,
    }
    raw, splits = draw(ARCHIVES["awa2"], tmp_path / "photos")
    source = make_shards("awa2", tmp_path / "data", images=raw, splits=splits)[0].source
    assert "shared_photos" not in source
    assert source["verdict"].endswith(", complete")
