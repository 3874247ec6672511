"""CUB: official rows and labels from the raw layout, with all photos or with those at hand."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from shards import read_shard
from zsl.datasets import cub
from zsl.datasets.benchmark import read_benchmark
from zsl.datasets.pack import make_shards
from zsl.datasets.split_file import read_split_file


def official_files(shared_data: Path) -> list[str]:
    """The `class/photo` of every official row."""
    return [
        str(cell[0]) for cell in loadmat(shared_data / "xlsa17" / "CUB" / "labels_files.mat")["image_files"].ravel()
    ]


def test_rows_and_labels_are_the_official_ones(shared_data: Path) -> None:
    names = read_split_file(shared_data / "xlsa17" / "CUB").class_names
    labels = loadmat(shared_data / "xlsa17" / "CUB" / "labels_files.mat")["labels"].ravel().astype(int)
    instances = cub.instances(shared_data / "CUB_200_2011", names)
    assert [instance.row for instance in instances] == list(range(11_788))
    assert [instance.label + 1 for instance in instances] == labels.tolist()
    assert [instance.file for instance in instances] == [f"images/{file}" for file in official_files(shared_data)]
    assert all(instance.class_name == names[instance.label] for instance in instances)


def test_photos_at_hand_make_an_incomplete_benchmark_that_says_so(shared_data: Path) -> None:
    raw = read_benchmark("cub", shared_data / "CUB_200_2011", shared_data / "xlsa17" / "CUB", allow_missing=True)
    splits = raw.splits
    assert [len(loc) for loc in (splits.trainval_loc, splits.test_seen_loc, splits.test_unseen_loc)] == [1837, 460, 592]
    assert (len(splits.seen), len(splits.unseen)) == (40, 10)
    assert len(raw.instances) == 2_889
    assert raw.missing == 8_899
    assert raw.verdict == (
        "official Proposed Split of CUB, INCOMPLETE: 8,899 of 11,788 photos missing, 50 of 200 classes left"
    )
    files = official_files(shared_data)
    assert all(instance.file == f"images/{files[instance.row]}" for instance in raw.instances)


def test_missing_photos_are_an_error_that_counts_and_names_them(shared_data: Path) -> None:
    photos = shared_data / "CUB_200_2011" / "images"
    first = next(file for file in official_files(shared_data) if not (photos / file).is_file())
    with pytest.raises(FileNotFoundError, match=r"8,899 of 11,788 photos are missing.*--allow-missing") as error:
        read_benchmark("cub", shared_data / "CUB_200_2011", shared_data / "xlsa17" / "CUB")
    assert f": images/{first}, " in str(error.value)


# --- a miniature of the official layout ------------------------------------------------------------------------------

FOLDERS = ["001.Zed_Bird", "002.Ant_Bird", "003.Mid_Bird", "004.Dot_Bird"]
CLASS_LIST = ["002.Ant_Bird", "004.Dot_Bird", "001.Zed_Bird", "003.Mid_Bird"]  # like CUB's, not in folder order
FILES = [f"{folder}/{folder[4:]}_{number}.jpg" for folder in FOLDERS for number in ("0002_9", "0010_1", "0011_4")]


@pytest.fixture
def miniature(tmp_path: Path) -> tuple[Path, Path]:
    """Raw folder and split folder of 4 classes with 3 photos each; class 003 is unseen."""
    raw, splits = tmp_path / "CUB_200_2011", tmp_path / "xlsa17"
    splits.mkdir()
    for number, file in enumerate(FILES):
        path = raw / "images" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 12), (20 * number, 90, 40)).save(path)
    shuffled = np.random.default_rng(0).permutation(FILES)  # the official list is not sorted within a class
    (raw / "images.txt").write_text("".join(f"{number} {file}\n" for number, file in enumerate(shuffled, start=1)))
    savemat(
        splits / "att_splits.mat",
        {
            "allclasses_names": np.array(CLASS_LIST, dtype=object)[:, None],
            "att": np.random.default_rng(1).random((5, 4)),
            "trainval_loc": np.array([[1], [2], [4], [5], [10], [12]]),
            "test_seen_loc": np.array([[3], [6], [11]]),
            "test_unseen_loc": np.array([[7], [8], [9]]),
        },
    )
    for name, classes in (("valclasses1", CLASS_LIST[:1]), ("trainvalclasses", CLASS_LIST[:3])):
        (splits / f"{name}.txt").write_text("".join(f"{line}\n" for line in classes))
    return raw, splits


def test_raw_photos_become_shards_in_official_order(miniature: tuple[Path, Path], tmp_path: Path) -> None:
    raw, splits = miniature
    index, benchmark = make_shards("cub", tmp_path / "data", images=raw, splits=splits)
    shard = tmp_path / "data" / "cub" / "shards" / index.shards[0].file
    samples = list(read_shard(shard))
    assert [sample.file for sample in samples] == [f"images/{file}" for file in FILES]
    assert [sample.row for sample in samples] == list(range(12))
    assert [sample.label for sample in samples] == [2] * 3 + [0] * 3 + [3] * 3 + [1] * 3
    assert all(sample.image == (raw / sample.file).read_bytes() for sample in samples)
    with tarfile.open(shard) as tar:
        facts = [json.load(tar.extractfile(name) or io.BytesIO()) for name in tar.getnames() if name.endswith("json")]
    assert [fact["class"] for fact in facts] == [file.split("/")[0] for file in FILES]
    assert [benchmark.splits.class_names[class_id] for class_id in benchmark.splits.unseen] == ["003.Mid_Bird"]
    assert (index.benchmark, index.count, index.total, index.source["missing"]) == ("cub", 12, 12, 0)
    assert index.source["verdict"].startswith("unknown split, hash ")
    assert index.source["verdict"].endswith(", complete")


def test_split_files_are_kept_beside_the_shards(miniature: tuple[Path, Path], tmp_path: Path) -> None:
    raw, splits = miniature
    make_shards("cub", tmp_path / "data", images=raw, splits=splits)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "data" / "cub" / "splits").iterdir()}
    assert kept == {path.name: path.read_bytes() for path in splits.iterdir()}


def test_rows_and_labels_stay_official_where_photos_are_missing(miniature: tuple[Path, Path], tmp_path: Path) -> None:
    raw, splits = miniature
    gone = [0, 2, 9, 10, 11]  # two of class 001, all of class 004
    for row in gone:
        (raw / "images" / FILES[row]).unlink()
    index, benchmark = make_shards("cub", tmp_path / "data", images=raw, splits=splits, allow_missing=True)
    samples = list(read_shard(tmp_path / "data" / "cub" / "shards" / index.shards[0].file))
    assert [sample.row for sample in samples] == [1, 3, 4, 5, 6, 7, 8]
    assert [sample.label for sample in samples] == [2, 0, 0, 0, 3, 3, 3]
    assert (index.count, index.total, index.source["missing"], index.source["classes_left"]) == (7, 12, 5, 3)
    assert benchmark.splits.seen.tolist() == [0, 2]
    assert benchmark.splits.test_seen_loc.tolist() == [5]
    assert "INCOMPLETE: 5 of 12 photos missing, 3 of 4 classes left" in index.source["verdict"]


def test_a_folder_that_is_not_cub_is_refused_in_words(miniature: tuple[Path, Path], tmp_path: Path) -> None:
    raw, splits = miniature
    with pytest.raises(FileNotFoundError, match=r"no images\.txt in .*--images should be the folder CUB_200_2011"):
        read_benchmark("cub", raw / "images", splits)
    with pytest.raises(ValueError, match=r"needs --images DIR .* and --splits DIR"):
        make_shards("cub", tmp_path / "data", images=raw)
    with pytest.raises(ValueError, match=r"no benchmark 'cup'; did you mean 'cub'\?; there are apy"):
        read_benchmark("cup", raw, splits)


def test_a_listing_that_does_not_fit_the_split_file_is_refused(miniature: tuple[Path, Path]) -> None:
    raw, splits = miniature
    listing = (raw / "images.txt").read_text()
    (raw / "images.txt").write_text(listing + "13 001.Zed_Bird/extra.jpg\n")
    with pytest.raises(ValueError, match=r"lists 13 images, the split file in .* 12 rows"):
        read_benchmark("cub", raw, splits)
    (raw / "images.txt").write_text(listing.replace("001.Zed_Bird/", "001.Zet_Bird/"))
    with pytest.raises(ValueError, match=r"1 class names are not in the split file, the first is '001\.Zet_Bird'"):
        read_benchmark("cub", raw, splits)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 001.Zed_Bird/a.jpg\n\n2\n", r"images\.txt, line 3: '2' is not `number class/photo\.jpg`"),
        ("1 001.Zéd/a.jpg\n".encode("latin-1"), r"images\.txt, line 1: byte 0xe9 is not UTF-8; save the file as UTF-8"),
    ],
    ids=["number alone", "Latin-1"],
)
def test_a_broken_listing_is_refused_with_its_line(miniature: tuple[Path, Path], content: bytes, message: str) -> None:
    raw, splits = miniature
    (raw / "images.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_benchmark("cub", raw, splits)
