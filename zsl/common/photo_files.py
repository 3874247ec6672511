"""Which files below a folder are photos: one rule for the readers of benchmarks and for prediction.

A file is a photo by its content, whatever its name.  A file that is called a photo (`SUFFIXES`) and is damaged keeps
its row, so that extraction names it.  Files that computers leave behind are ignored.  All else is named and refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from backbones.photo_format import HEAD_BYTES, describe_bytes, photo_format

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png"}
# Thumbnails and settings of Windows, macOS, Synology and QNAP; what begins with a dot is ignored too.
JUNK = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin", "#recycle", "@recycle",
    "@__thumb",
}  # fmt: skip
NOTHING = (errno.ENOENT, errno.ENOTDIR)  # errors that say that nothing has this name
ABSENT, FOLDER = "not there", "a folder"  # of the words of `file_fault`
READ_FORMATS = "neither JPEG nor PNG (nor GIF, WebP, BMP or TIFF)"


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
    try:
        listed = list(os.scandir(root / below))
    except OSError as error:
        if not below:
            raise
        yield Entry(below, f"a folder that cannot be opened ({error.strerror})")
        return
    for found in listed:
        if is_junk(found.name):
            continue
        file = f"{below}/{found.name}" if below else found.name
        # The list of a folder says what most files are; the disk is asked only where it does not.
        if _says(found.is_file):
            yield Entry(file)
        elif not _says(found.is_dir):
            yield Entry(file, file_fault(root / file))
        elif Path(found.name).suffix.lower() in SUFFIXES:
            yield Entry(file, "a folder that is called like a photo")
        elif (true_path := (root / file).resolve()) in around:
            yield Entry(file, "a link to a folder that it lies in")
        else:
            yield from _entries(root, file, (*around, true_path))


def _says(question: Callable[[], bool]) -> bool:
    """The answer to a question about an entry of a folder; False where a circle of links, or the disk, gives none."""
    try:
        return question()
    except OSError:
        return False


def file_fault(path: Path) -> str:
    """Why `path` is no file that can be opened, in words; "" where it is one."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if not _says(path.is_symlink):
            return ABSENT if error.errno in NOTHING else f"not to be opened ({error.strerror})"
        why = {errno.ELOOP: "leads in a circle"} | dict.fromkeys(NOTHING, "is not there")
        return f"a link to {path.readlink()}, which {why.get(error.errno or 0, f'cannot be opened ({error.strerror})')}"
    if stat.S_ISREG(mode):
        return ""
    return FOLDER if stat.S_ISDIR(mode) else "neither file nor folder"


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
            f"{describe_bytes(_head(root / others[0]))}; convert or remove them"
        )


def is_photo(path: Path) -> bool:
    """Whether a file is a photo by its first bytes, or is called one."""
    return path.suffix.lower() in SUFFIXES or photo_format(_head(path)) is not None


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)
