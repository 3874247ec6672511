"""What lies in a raw folder beside photos: one rule for every reader that lists photos, and for prediction."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from backbones import FORMATS
from backbones.photo_format import photo_format
from zsl.datasets.benchmark import read_benchmark
from zsl.datasets.instances import Instance
from zsl.datasets.own import prepare
from zsl.predict.photos import Unread, find_photos

CLASSES = ("ant", "bee", "cow", "dog", "eel")  # the last is unseen
PHOTOS = 3
READERS = {"own": "images", "shapes": "images", "awa2": "JPEGImages", "sun": "images"}  # and the folder of photos
SUFFIX_OF = {"JPEG": ".jfif", "PNG": "", "GIF": ".jpe", "WEBP": ".jpg", "BMP": ".photo", "TIFF": ".dat"}


def class_folder(root: Path, reader: str, name: str) -> Path:
    return root / READERS[reader] / (f"{name[0]}/{name}" if reader == "sun" else name)


def write_photo(path: Path, seed: int, kind: str = "JPEG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(path, kind)


@pytest.fixture(params=READERS)
def raw(request: pytest.FixtureRequest, tmp_path: Path) -> Raw:
    folder = Raw(tmp_path / "raw", request.param)
    for label, name in enumerate(CLASSES):
        for number in range(PHOTOS):
            write_photo(folder.of(name) / f"{number}.jpg", PHOTOS * label + number)
    folder.write_split(len(CLASSES) * PHOTOS)
    return folder


class Raw:
    """A raw folder and what its reader lists."""

    def __init__(self, root: Path, reader: str) -> None:
        self.root, self.reader = root, reader
        root.mkdir()

    def of(self, name: str) -> Path:
        return class_folder(self.root, self.reader, name)

    def write_split(self, count: int, names: tuple[str, ...] = CLASSES) -> None:
        """An att_splits.mat of that many rows, of which the last three are of the unseen class."""
        rows = np.arange(1, count + 1)[:, None]
        savemat(
            self.root / "att_splits.mat",
            {
                "allclasses_names": np.array(names, dtype=object)[:, None],
                "att": np.eye(len(CLASSES)),
                "trainval_loc": rows[: count - PHOTOS][rows[: count - PHOTOS, 0] % PHOTOS != 0],
                "test_seen_loc": rows[: count - PHOTOS][rows[: count - PHOTOS, 0] % PHOTOS == 0],
                "test_unseen_loc": rows[count - PHOTOS :],
            },
        )

    def read(self) -> list[Instance]:
        if self.reader == "own":
            prepare(self.root, self.root.parent / "out")
        name = "shapes" if self.reader == "own" else self.reader
        return read_benchmark(name, self.root, self.root).instances

    def files(self) -> list[str]:
        return [f"{instance.class_name}/{Path(instance.file).name}" for instance in self.read()]


EXPECTED = [f"{name}/{number}.jpg" for name in CLASSES for number in range(PHOTOS)]


@pytest.mark.parametrize(
    "junk",
    ["._0.jpg", ".hidden.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/0.jpg", "@eaDir/0.jpg/thumb.jpg"],
)
@pytest.mark.parametrize("place", ["class folder", "folder of classes"])
def test_what_a_computer_leaves_behind_is_ignored(raw: Raw, junk: str, place: str) -> None:
    folder = raw.of("ant") if place == "class folder" else raw.root / READERS[raw.reader]
    (folder / junk).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(raw.of("bee") / "0.jpg", folder / junk)
    assert raw.files() == EXPECTED
    answers = list(find_photos([str(folder)]))
    assert not [answer for answer in answers if isinstance(answer, Unread) or junk in str(answer)]


@pytest.mark.parametrize("kind", SUFFIX_OF)
def test_a_photo_is_one_by_its_content(raw: Raw, kind: str) -> None:
    path = (raw.of("ant") / "0.jpg").rename(raw.of("ant") / f"0{SUFFIX_OF[kind]}")
    write_photo(path, 99, kind)
    assert photo_format(path.read_bytes()[:64]) == kind
    assert raw.files() == [f"ant/{path.name}", *EXPECTED[1:]]
    assert path in list(find_photos([str(raw.of("ant"))]))


def test_the_formats_are_those_that_prediction_reads() -> None:
    assert set(SUFFIX_OF) == set(FORMATS)


def too_deep(raw: Raw) -> None:
    write_photo(raw.of("ant") / "more" / "still" / "deeper.jpg", 99)


def loose(raw: Raw) -> None:
    write_photo(raw.root / READERS[raw.reader] / "loose.jpg", 99)


def bytes_named(name: str, content: bytes) -> Callable[[Raw], None]:
    def write(raw: Raw) -> None:
        (raw.of("ant") / name).write_bytes(content)

    return write


def dangling(raw: Raw) -> None:
    (raw.of("ant") / "link.jpg").symlink_to("gone.jpg")


def dangling_folder(raw: Raw) -> None:
    (raw.root / READERS[raw.reader] / "fox").symlink_to("gone")


def folder_like_a_photo(raw: Raw) -> None:
    (raw.of("ant") / "x.jpg").mkdir()


def pipe(raw: Raw) -> None:
    os.mkfifo(raw.of("ant") / "pipe.jpg")


def circle(raw: Raw) -> None:
    (raw.of("ant") / "circle").symlink_to(raw.root / READERS[raw.reader], target_is_directory=True)


def link_to_itself(raw: Raw) -> None:
    (raw.of("ant") / "self.jpg").symlink_to("self.jpg")


def link_to_where_no_one_may_look(raw: Raw) -> None:
    (raw.of("ant") / "far.jpg").symlink_to("x" * 300)  # root may look everywhere, but no name is so long


REFUSED: dict[str, tuple[Callable[[Raw], None], str]] = {
    "too deep": (too_deep, r"ant/more/still/deeper\.jpg lies too deep; photos are expected in (images|JPEGImages)/<"),
    "loose": (loose, r"loose\.jpg lies in no class folder; photos are expected in (images|JPEGImages)/<"),
    "HEIC": (bytes_named("a.heic", b"\0\0\0\x18ftypheic"), r"neither JPEG nor PNG .*ant/a\.heic: it is HEIC; convert"),
    "AVIF": (bytes_named("a.avif", b"\0\0\0\x18ftypavif"), r"neither JPEG nor PNG .*ant/a\.avif: it is AVIF; convert"),
    "PPM": (bytes_named("a.ppm", b"P6\n2 2\n255\n" + bytes(12)), r"ant/a\.ppm: it is PPM; convert or remove"),
    "web page": (bytes_named("a", b"<!DOCTYPE html><html>"), r"ant/a: it is a web page; convert or remove"),
    "LFS pointer": (bytes_named("a", b"version https://git-lfs.github.com/spec/v1"), r"Git LFS pointer.*git lfs pull"),
    "empty": (bytes_named("a.webp", b""), r"neither JPEG nor PNG .*ant/a\.webp: it is empty"),
    "table": (bytes_named("notes.csv", b"BMW,1\n"), r"ant/notes\.csv: it is no photo"),
    "dangling link": (dangling, r"ant/link\.jpg: it is a link to gone\.jpg, which is not there; mend or remove"),
    "dangling folder": (dangling_folder, r"/fox(: it is a link to gone, which is not there| lies in no class folder)"),
    "folder like a photo": (folder_like_a_photo, r"ant/x\.jpg: it is a folder that is called like a photo"),
    "pipe": (pipe, r"ant/pipe\.jpg: it is neither file nor folder"),
    "circle": (circle, r"ant/circle: it is a link to a folder that it lies in"),
    "link to itself": (link_to_itself, r"ant/self\.jpg: it is a link to self\.jpg, which leads in a circle"),
    "link to where no one may look": (
        link_to_where_no_one_may_look,
        r"ant/far\.jpg: it is a link to x{300}, which cannot be opened \(File name too",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_no_photo_of_a_class_is_named_and_refused(raw: Raw, fault: str) -> None:
    assert raw.files() == EXPECTED
    spoil, message = REFUSED[fault]
    spoil(raw)
    with pytest.raises(ValueError, match=message):
        raw.read()


@pytest.mark.parametrize("fault", ["dangling link", "folder like a photo", "pipe", "circle", "link to itself"])
def test_what_cannot_be_opened_gets_no_answer_and_a_reason(raw: Raw, fault: str) -> None:
    spoil, message = REFUSED[fault]
    spoil(raw)
    (unread,) = [answer for answer in find_photos([str(raw.of("ant"))]) if isinstance(answer, Unread)]
    assert unread.reason in message.replace("\\", "")


def test_a_link_that_cannot_be_followed_ends_no_batch(raw: Raw) -> None:
    link_to_where_no_one_may_look(raw)
    files = [str(raw.of("ant") / "far.jpg"), *map(str, raw.of("ant").glob("*.jpg"))]
    for words in ([str(raw.of("ant"))], files, [str(raw.of("ant") / "*.jpg")]):
        found = list(find_photos(words))
        faults = {photo.reason for photo in found if isinstance(photo, Unread)}
        assert len(faults) == 1
        assert faults.pop().endswith("cannot be opened (File name too long)")
        assert any(isinstance(photo, Path) for photo in found)


def test_a_folder_that_cannot_be_opened_ends_no_batch(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    (raw.of("ant") / "closed").mkdir()
    scandir = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "closed":  # root may open every folder
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scandir(folder)

    monkeypatch.setattr("zsl.common.photo_files.os.scandir", refuse)
    found = list(find_photos([str(raw.of("ant"))]))
    assert [photo.reason for photo in found if isinstance(photo, Unread)] == [
        "a folder that cannot be opened (Permission denied)"
    ]
    assert len(found) > 1
    with pytest.raises(ValueError, match=r"ant/closed: it is a folder that cannot be opened \(Permission denied\)"):
        raw.read()


@pytest.mark.parametrize("what", ["photo", "class folder", "folder of classes"])
def test_links_are_followed(raw: Raw, what: str, tmp_path: Path) -> None:
    path = {
        "photo": raw.of("ant") / "0.jpg",
        "class folder": raw.of("ant"),
        "folder of classes": raw.root / READERS[raw.reader],
    }[what]
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert raw.files() == EXPECTED


# --- surplus, and names that are spelled otherwise -------------------------------------------------------------------


def test_surplus_photos_are_called_surplus(raw: Raw) -> None:
    write_photo(raw.of("ant") / "3.jpg", 99)
    if raw.reader == "own":
        with pytest.raises(ValueError, match=r"has 16 photos, its att_splits\.mat has 15 rows"):
            raw.read()
    else:
        with pytest.raises(ValueError, match=r"lists 16 images, .* 15 rows: 1 are surplus.*Remove") as caught:
            raw.read()
        assert "missing" not in str(caught.value)


def write_order(raw: Raw, names: tuple[str, ...]) -> list[str]:
    """A labels_files.mat that names all rows of awa2, and these class names in the split file; returns the files."""
    files = [f"JPEGImages/{name}/{number}.jpg" for name in names for number in range(PHOTOS)]
    labels = np.repeat(np.arange(len(names)), PHOTOS)[:, None] + 1
    savemat(raw.root / "labels_files.mat", {"labels": labels, "image_files": np.array(files, dtype=object)[:, None]})
    return files


@pytest.mark.parametrize("allow_missing", [False, True])
@pytest.mark.parametrize("stated", [False, True], ids=["rule", "labels_files.mat"])
def test_a_class_folder_with_another_sign_is_named(tmp_path: Path, stated: bool, allow_missing: bool) -> None:
    names = (*CLASSES[:-1], "grizzly+bear")
    raw = Raw(tmp_path / "raw", "awa2")
    files = write_order(raw, names)
    for seed, file in enumerate(files):
        write_photo(raw.root / file.replace("+", "_"), seed)
    raw.write_split(len(files), names)
    if not stated:
        (raw.root / "labels_files.mat").unlink()
    message = (
        r"1 class folders .* are not spelled .*: JPEGImages/grizzly_bear should be grizzly\+bear; rename"
        if stated
        else r"1 class names are not in the split file, the first is 'grizzly_bear': .* has 'grizzly\+bear'; rename"
    )
    with pytest.raises(ValueError, match=message):
        read_benchmark("awa2", raw.root, raw.root, allow_missing=allow_missing)


@pytest.mark.parametrize(
    ("what", "reason"), [("link", r"\(a link to gone, which is not there\)"), ("folder", r"\(a folder\)"), ("", ",")]
)
def test_a_photo_that_a_list_names_and_that_cannot_be_opened_has_a_reason(
    tmp_path: Path, what: str, reason: str
) -> None:
    raw = Raw(tmp_path / "raw", "awa2")
    first, *files = write_order(raw, CLASSES)
    for seed, file in enumerate(files):
        write_photo(raw.root / file, seed)
    raw.write_split(len(files) + 1)
    if what == "link":
        (raw.root / first).symlink_to("gone")
    elif what == "folder":
        (raw.root / first).mkdir()
    with pytest.raises(FileNotFoundError, match=rf"1 of 15 photos are missing .*: JPEGImages/ant/0\.jpg *{reason}"):
        raw.read()
