"""Which files below a folder are photos: one rule for the readers of benchmarks and for prediction.

A file is a photo by its content, whatever its name.  A file that is called a photo (`SUFFIXES`) and is damaged keeps
its row, so that extraction names it.  Files that computers leave behind are ignored.  All else is named and refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png"}
# Thumbnails and settings of Windows, macOS, Synology and QNAP; what begins with a dot is ignored too.
JUNK = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin", "#recycle", "@recycle",
    "@__thumb",
}  # fmt: skip
HEAD_BYTES = 64
BITMAP_HEADERS = {12, 40, 52, 56, 64, 108, 124}  # bytes; BM alone may begin a text
READ_FORMATS = "neither JPEG nor PNG (nor GIF, WebP, BMP or TIFF)"
OTHER_FORMATS = {  # by their first bytes, or those from byte 4 on
    b"version https://git-lfs": "a Git LFS pointer, run `git lfs pull`",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<svg": "SVG",
    b"<?xml": "XML",
    b"%pdf": "PDF",
    b"%!ps": "PostScript",
    b"pk\x03\x04": "a ZIP archive",
    b"p3": "PPM",
    b"p6": "PPM",
    b"p5": "PGM",
    b"8bps": "Photoshop",
    b"\x00\x00\x00\x0cjp  ": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cjxl ": "JPEG XL",
}
HEIF_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"hevc": "HEIC", b"avif": "AVIF"}


@dataclass(frozen=True)
class Entry:
    """A file below a folder, or what is named like one and cannot be read."""

    file: str  # below the folder, with forward slashes
    fault: str = ""  # in words; "" where it can be opened


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name was left by a computer: hidden, or thumbnails and settings."""
    return name.startswith(".") or name.lower() in JUNK


def list_entries(root: Path) -> Iterator[Entry]:
    """All files below `root`, in no order, without junk; links are followed.

    A link without a target, a link that leads to a folder around it, a folder called like a photo, and what is neither
    file nor folder have a fault.
    """
    yield from _entries(root, "", (root.resolve(),))


def _entries(root: Path, below: str, around: tuple[Path, ...]) -> Iterator[Entry]:
    """The entries of the folder `below`; around: the true paths of the folders that it lies in, to end circles."""
    for found in os.scandir(root / below):
        if is_junk(found.name):
            continue
        file = f"{below}/{found.name}" if below else found.name
        if not found.is_dir():
            yield Entry(file, file_fault(root / file))
        elif Path(found.name).suffix.lower() in SUFFIXES:
            yield Entry(file, "a folder that is called like a photo")
        elif (true_path := (root / file).resolve()) in around:
            yield Entry(file, "a link to a folder that it lies in")
        else:
            yield from _entries(root, file, (*around, true_path))


def file_fault(path: Path) -> str:
    """Why `path` is no file that can be opened, in words; "" where it is one."""
    if path.is_file():
        return ""
    if path.is_symlink() and not path.exists():
        return f"a link to {path.readlink()}, which is not there"
    if path.is_dir():
        return "a folder"
    return "neither file nor folder" if path.exists() else "not there"


def list_photos(root: Path) -> list[str]:
    """Paths below `root` of all photos in it, with forward slashes, in no order; junk does not count.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: something else is there too.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}; --images should be the folder that holds {root.name}/")
    entries = list(list_entries(root))
    check_photos(root, entries)
    return [entry.file for entry in entries]


def check_photos(root: Path, entries: Sequence[Entry]) -> None:
    """Refuse entries below `root` that are no photos.

    Raises:
        ValueError: some are none; the message names the first and says what it is.
    """
    if faults := sorted((entry.file, entry.fault) for entry in entries if entry.fault):
        file, fault = faults[0]
        raise ValueError(
            f"{len(faults):,} photos below {root} cannot be opened, the first is {root / file}: it is {fault}; mend or "
            "remove it"
        )
    others = sorted(entry.file for entry in entries if not is_photo(root / entry.file))
    if others:
        raise ValueError(
            f"{len(others):,} files below {root} are {READ_FORMATS}, the first is {root / others[0]}: it is "
            f"{_what_is(root / others[0])}; convert or remove them"
        )


def is_photo(path: Path) -> bool:
    """Whether a file is a photo by its first bytes, or is called one."""
    return path.suffix.lower() in SUFFIXES or photo_format(_head(path)) is not None


def photo_format(head: bytes) -> str | None:
    """The format of a photo that begins with `head`, as Pillow calls it; None for bytes of another kind."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    return "BMP" if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BITMAP_HEADERS else None


def _what_is(path: Path) -> str:
    """What a file that is no photo looks like, in words."""
    head = _head(path)
    if not head:
        return "empty"
    if head[4:8] == b"ftyp":
        return HEIF_BRANDS.get(head[8:12], "a film")
    text = head.lstrip().lower()
    return next((words for start, words in OTHER_FORMATS.items() if text.startswith(start)), "no photo")


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)
