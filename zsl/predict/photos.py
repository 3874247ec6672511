"""Photos of a user's own: the files that a command line means, and the pixels in bytes that nobody has checked.

A file that gives no pixels gives the reason in words.
"""

from __future__ import annotations

import glob
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from torch import Tensor

import backbones
from zsl.common.ranges import Positive, check_flags

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")  # others are not even opened
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
MAX_MEGABYTES, MAX_MEGAPIXELS = 20.0, 50.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest photo that is read."""

    max_megabytes: Positive = MAX_MEGABYTES  # size of a photo's file, in units of 1,000,000 bytes
    max_megapixels: Positive = MAX_MEGAPIXELS  # width x height as the header says; checked before anything is decoded

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
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def find_photos(words: Sequence[str], within: Path | None = None) -> Iterator[Path | Unread]:
    """The files that the words of a command line mean.

    A word is a file, a folder (all photos in it and below it) or a pattern (all matches).  Each file comes once, in the
    order of the words.  With `within`, a file outside that folder gives an Unread; links are followed first.
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
    path = Path(word)
    if path.is_dir():
        inside: list[Path | Unread] = [p for p in sorted(path.rglob("*")) if _is_photo(p)]
        return inside or [Unread(word, f"a folder without photos ({', '.join(sorted(SUFFIXES))})")]
    if path.is_file():
        return [path]
    if glob.has_magic(word):
        found = sorted(glob.glob(word, recursive=True))  # noqa: PTH207  Path.glob takes no absolute pattern
        matches: list[Path | Unread] = [p for p in map(Path, found) if p.is_file()]
        return matches or [Unread(word, "no file matches this pattern")]
    return [Unread(word, "no such file or folder")]


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")


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
        ValueError: empty, too large, no image, animated, of no known scale, or cut short; the message says which.
    """
    _check_size(len(data), limits)
    notes = _check_header(data, limits)
    try:
        return backbones.decode_image(data), notes
    except ValueError as error:
        raise ValueError(f"the image is cut short or damaged ({_cause(error)})") from error


def _check_size(size: int, limits: Limits) -> None:
    if size == 0:
        raise ValueError("the file is empty")
    if size > limits.max_megabytes * 1e6:
        raise ValueError(f"the file has {size / 1e6:,.1f} MB, the limit is {limits.max_megabytes:g} MB")


def _check_header(data: bytes, limits: Limits) -> tuple[str, ...]:
    header = _read_header(data, limits)
    _check_pixels(*header.size, limits)
    if header.moves:
        raise ValueError("animated or of several pages; save the frame you mean as a photo")
    if header.no_scale:
        raise ValueError(header.no_scale)
    notes = ("CMYK, converted to RGB without its colour profile",) if header.mode == "CMYK" else ()
    return (*notes, "transparent, laid on white") if header.transparent else notes


@dataclass(frozen=True, kw_only=True)
class _Header:
    size: tuple[int, int]  # width, height
    mode: str
    moves: bool  # animated, or of several pages
    transparent: bool
    no_scale: str | None


def _read_header(data: bytes, limits: Limits) -> _Header:
    from backbones.preprocess import is_transparent, no_scale

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `limits` has the limit that counts
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:  # reads no pixels
                # A phone's MPO is a photo and its preview.  Counting frames would read every frame's header.
                moves = image.format != "MPO" and bool(getattr(image, "is_animated", False))
                return _Header(
                    size=image.size, mode=image.mode, moves=moves, transparent=is_transparent(image),
                    no_scale=no_scale(image.mode, image.format),
                )  # fmt: skip
    except Image.DecompressionBombError as error:
        raise ValueError(f"more pixels than the limit of {limits.max_megapixels:g} megapixels ({error})") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"not an image, whatever its name says; read are {', '.join(FORMATS)}") from error
    except Exception as error:  # whatever Pillow raises at bytes it did not expect: TypeError, struct.error, …
        raise ValueError(f"the image is cut short or damaged ({error})") from error


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_megapixels * 1e6:
        raise ValueError(
            f"{width:,} x {height:,} pixels are {width * height / 1e6:,.1f} megapixels, "
            f"the limit is {limits.max_megapixels:g}"
        )


def _cause(error: ValueError) -> str:
    return str(error.__cause__ or error)
