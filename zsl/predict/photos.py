"""Photos of a user's own: the files that a command line means, and the pixels in bytes that nobody has checked.

A file that gives no pixels gives the reason in words.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

import backbones
from backbones.photo_limits import MEMORY_MEGABYTES
from zsl.common.photo_files import ABSENT, FOLDER, file_fault, list_entries
from zsl.common.ranges import Positive, check_flags
from zsl.common.text import printable as text_of_bytes

MAX_MEGABYTES = 20.0
NO_FILE = "no such file or folder"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest photo that is read."""

    max_megabytes: Positive = MAX_MEGABYTES  # size of a photo's file, in units of 1,000,000 bytes
    max_memory_megabytes: Positive = MEMORY_MEGABYTES  # that decoding takes; known from the header, before it begins

    def __post_init__(self) -> None:
        check_flags(self)


@dataclass(frozen=True)
class Unread:
    """A file, or a word of the command line, that gives no photo, and why."""

    photo: str
    reason: str


def printable(text: str) -> str:
    """`text` for a terminal: characters that cannot be seen are written as escapes.

    A file's or a class's name may hold bytes that are not UTF-8, which cannot be printed, and control characters, which
    would command the terminal.
    """
    shown = text_of_bytes(text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def find_photos(words: Sequence[str], within: Path | None = None) -> Iterator[Path | Unread]:
    """The files that the words of a command line mean.

    A word is a file, a folder (all files in it and below it but junk: `zsl.common.photo_files`) or a pattern (all
    matches).  Each file comes once, in the order of the words.  With `within`, a file outside that folder gives an
    Unread; links are followed first.
    """
    seen: set[Path] = set()
    for word in words:
        for found in _expand(word):
            if isinstance(found, Unread):
                yield found
            elif within is not None and not found.resolve().is_relative_to(within.resolve()):
                yield Unread(str(found), f"is outside {within}, the folder that photos may be read from")
            elif found.resolve() not in seen:
                seen.add(found.resolve())
                yield found


def _expand(word: str) -> list[Path | Unread]:
    if not word:  # pathlib takes it for the folder that the program runs in
        return [Unread(word, "an empty name")]
    path = Path(word)
    fault = file_fault(path)
    if fault == ABSENT and glob.has_magic(word):
        matches = sorted(glob.glob(word, recursive=True))  # noqa: PTH207  Path.glob takes no absolute pattern
        found = [found for match in matches for found in _at(Path(match), file_fault(Path(match)))]
        return found or [Unread(word, "no file matches this pattern")]
    return _at(path, fault) or [Unread(word, f"a folder without photos ({', '.join(backbones.FORMATS)})")]


def _at(path: Path, fault: str) -> list[Path | Unread]:
    """The file at `path`, or all files of the folder there; fault: what `file_fault` says of it."""
    if fault == FOLDER:
        try:
            return _in_folder(path)
        except OSError as error:
            return [Unread(str(path), f"cannot be opened ({error.strerror})")]
    return [Unread(str(path), NO_FILE if fault == ABSENT else fault) if fault else path]


def _in_folder(folder: Path) -> list[Path | Unread]:
    """All files in a folder and below it but those that computers leave behind; what is no photo is named so."""
    entries = sorted(list_entries(folder), key=lambda entry: Path(entry.file))
    return [Unread(str(folder / entry.file), entry.fault) if entry.fault else folder / entry.file for entry in entries]


def read_file(path: Path, limits: Limits = Limits()) -> tuple[Tensor, tuple[str, ...]]:
    """`read_photo` of a file; a file that is too large is not opened.

    Raises:
        ValueError, OSError: as `read_photo`, or the file cannot be read.
    """
    _check_size(path.stat().st_size, limits)
    return read_photo(path.read_bytes(), limits)


def read_photo(data: bytes, limits: Limits = Limits()) -> tuple[Tensor, tuple[str, ...]]:
    """A photo as uint8 [3, h, w] in RGB, upright; and notes on what was done to it.

    Raises:
        ValueError: the file is empty or too large, or as `decode_photo`; the message says which.
    """
    _check_size(len(data), limits)
    memory = backbones.PhotoLimits(memory_megabytes=limits.max_memory_megabytes)
    photo = backbones.decode_photo(data, limits=memory)
    return photo.pixels, photo.notes


def _check_size(size: int, limits: Limits) -> None:
    if size == 0:
        raise ValueError("the file is empty")
    if size > limits.max_megabytes * 1e6:
        raise ValueError(f"the file has {size / 1e6:,.1f} MB, the limit is {limits.max_megabytes:g} MB")
