"""The header of a photo: what it states, and the photos that it lets the program refuse before decoding a pixel."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from backbones.gif import check_gif
from backbones.jpeg import MAX_SEGMENTS, read_structure
from backbones.orientation import TAG, UPRIGHT, read_orientation
from backbones.photo_format import FORMATS, HEAD_BYTES, describe_bytes, photo_format
from backbones.photo_limits import PhotoLimits, jpeg_memory, photo_memory
from backbones.png import check_rows, without_broken_chunks
from backbones.webp import check_webp

WIDTH_TAG, HEIGHT_TAG, BITS_TAG, PHOTOMETRIC_TAG = 256, 257, 258, 262  # tags of a TIFF
BLACK_IS_ZERO = 1  # value of PHOTOMETRIC_TAG
# Pillow's modes of pixels that can be converted to RGB; "I" is how older versions read 16 bits of a PNG.
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I", "I;16", "I;16L", "I;16B", "I;16N"}
DAMAGED = "the image is cut short or damaged"
MOVES = "animated or of several pages; save the frame you mean as a photo"
CHECKS: dict[str, Callable[[bytes], object]] = {"GIF": check_gif, "WEBP": check_webp}
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class DamagedPhoto(ValueError):
    """The bytes are not a photo, or only a part of one."""


@dataclass(frozen=True, kw_only=True)
class PhotoHeader:
    """The facts about a photo before it is decoded.  Sizes are in stored pixels, before EXIF turns them."""

    format: str  # one of FORMATS
    width: int
    height: int
    orientation: int  # EXIF's orientation, 1 to 8
    is_cmyk: bool = False
    is_transparent: bool = False
    samples: float = 0.0  # samples a pixel of a JPEG, all components together
    scans: int = 1  # number of scans of a JPEG

    @property
    def notes(self) -> tuple[str, ...]:
        """The changes that decoding makes, in words."""
        notes = ("CMYK, converted to RGB without its colour profile",) if self.is_cmyk else ()
        return (*notes, "transparent, laid on white") if self.is_transparent else notes


def read_header(data: bytes, limits: PhotoLimits, *, by_pillow: bool = False) -> PhotoHeader:
    """Read the header of the photo in `data`.

    by_pillow: whether Pillow decodes this JPEG, which takes more memory.

    Raises:
        DamagedPhoto: the bytes are empty, of no format in FORMATS, or end too early.
        ValueError: the photo is animated, has several pages or pixels of no known scale, or is above the limits.
    """
    if not data:
        raise DamagedPhoto("the file is empty")
    kind = photo_format(data[:HEAD_BYTES])
    if kind is None:
        raise DamagedPhoto(_no_photo(f"it is {describe_bytes(data[:HEAD_BYTES])}"))
    return _jpeg_header(data, limits, by_pillow=by_pillow) if kind == "JPEG" else _pillow_header(data, kind, limits)


def _jpeg_header(data: bytes, limits: PhotoLimits, *, by_pillow: bool) -> PhotoHeader:
    try:
        jpeg = read_structure(data)
    except ValueError as error:
        raise DamagedPhoto(f"{DAMAGED} ({error})") from error
    need = jpeg_memory(jpeg.width, jpeg.height, jpeg.samples, jpeg.scans, len(data), by_pillow=by_pillow)
    limits.check(jpeg.width, jpeg.height, "JPEG", need, jpeg.scans)
    if jpeg.segments > MAX_SEGMENTS:
        raise ValueError(f"this JPEG has more than {MAX_SEGMENTS:,} segments; a photo has tens, save it anew")
    if not jpeg.is_whole:
        raise DamagedPhoto(f"{DAMAGED} (it has no end marker: its end is missing, or is zeros)")
    if not jpeg.is_complete:
        raise DamagedPhoto(f"{DAMAGED} (its last scans are missing)")
    return PhotoHeader(
        format="JPEG",
        width=jpeg.width,
        height=jpeg.height,
        orientation=read_orientation(jpeg.exif),
        is_cmyk=jpeg.components == 4,
        samples=jpeg.samples,
        scans=jpeg.scans,
    )


def _pillow_header(data: bytes, kind: str, limits: PhotoLimits) -> PhotoHeader:
    try:
        CHECKS.get(kind, len)(data)
    except ValueError as error:
        raise DamagedPhoto(f"{DAMAGED} ({error})") from error
    try:
        with open_photo(data, kind) as image:
            width, height = _stored_size(image, kind)
            limits.check(width, height, kind, photo_memory(width, height, kind, len(data)))
            _check_frames(image)
            if reason := _unknown_pixels(image, kind):
                raise ValueError(reason)
            if kind == "PNG":
                _check_rows(data)
            return PhotoHeader(
                format=kind,
                width=width,
                height=height,
                orientation=_orientation(image),
                is_cmyk=image.mode == "CMYK",
                is_transparent=is_transparent(image),
            )
    except Image.DecompressionBombError as error:
        raise ValueError(f"more megapixels than any limit allows ({error})") from error


def open_photo(data: bytes, kind: str) -> Image.Image:
    """Open the photo with Pillow as format `kind` and no other.  This reads no pixel.

    Raises:
        DamagedPhoto: the header cannot be read.
        Image.DecompressionBombError: the photo has more pixels than Pillow takes.
    """
    stream = io.BytesIO(_sound_png(data) if kind == "PNG" else data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes, which `PhotoLimits` checks, and of unused tags
            return Image.open(stream, formats=[kind])
    except Image.DecompressionBombError:
        raise
    except UnidentifiedImageError as error:
        raise DamagedPhoto(_no_photo(f"it begins like a {kind}, whose header cannot be read")) from error
    except Exception as error:  # Pillow raises many types on unexpected bytes: TypeError, struct.error, …
        raise DamagedPhoto(f"{DAMAGED} ({describe_error(error)})") from error


def _stored_size(image: Image.Image, kind: str) -> tuple[int, int]:
    """Width and height before any turn.  Newer versions of Pillow give a TIFF's size after the turn."""
    if kind != "TIFF":
        return image.size
    width, height = sorted(image.size)
    tags = image.tag_v2  # type: ignore[attr-defined]  # only TIFFs have tags
    return (width, height) if tags[WIDTH_TAG] <= tags[HEIGHT_TAG] else (height, width)


def _check_frames(image: Image.Image) -> None:
    """Refuse a photo of several frames.  Counting them would read every frame's header."""
    try:
        moves = bool(getattr(image, "is_animated", False))
    except Exception as error:
        raise DamagedPhoto(f"{DAMAGED} ({describe_error(error)})") from error
    if moves:
        raise ValueError(MOVES)


def _sound_png(data: bytes) -> bytes:
    try:
        return without_broken_chunks(data)
    except ValueError as error:
        raise DamagedPhoto(f"{DAMAGED} ({error})") from error


def _check_rows(data: bytes) -> None:
    try:
        check_rows(data)
    except (ValueError, zlib.error) as error:
        raise DamagedPhoto(f"{DAMAGED} ({error})") from error


def _no_photo(reason: str) -> str:
    return f"not an image by its content: {reason}; read are {', '.join(FORMATS)}"


def describe_error(error: BaseException) -> str:
    """The text of an error without addresses of objects, so that equal runs give equal texts."""
    return ADDRESS.sub("", str(error)) or type(error).__name__


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation of an open photo; upright if EXIF is absent or broken."""
    try:
        if image.format == "TIFF":
            value = image.tag_v2.get(TAG, UPRIGHT)  # type: ignore[attr-defined]  # a TIFF's tags are its EXIF
            return value if value in range(1, 9) else UPRIGHT
        exif = image.info.get("exif") or _exif_of_old_pngs(image)
        return read_orientation(exif.removeprefix(b"Exif\0\0"))
    except Exception:  # EXIF breaks in many ways, but the pixels are sound
        return UPRIGHT


def _exif_of_old_pngs(image: Image.Image) -> bytes:
    """EXIF as ImageMagick wrote it before PNG had a chunk for it: three lines of text, then hexadecimal numbers."""
    lines = str(image.info.get("Raw profile type exif", "")).split("\n")
    return bytes.fromhex("".join(lines[3:]))


def _unknown_pixels(image: Image.Image, kind: str) -> str | None:
    """The reason why pixels of this kind cannot be converted to 8-bit RGB; None if they can."""
    mode = image.mode
    if mode == "F" or (mode == "I" and kind != "PNG"):
        return f"its pixels are 32-bit numbers without a known scale (mode {mode}); save it with 8 or 16 bits"
    if mode not in MODES:
        return f"its pixels are of mode {mode}, which is neither grey nor RGB nor CMYK; save it as RGB"
    if kind == "TIFF" and mode.startswith("I;16"):
        tags = image.tag_v2  # type: ignore[attr-defined]  # only TIFFs have tags
        bits, photometric = tags.get(BITS_TAG, (16,))[0], tags.get(PHOTOMETRIC_TAG, BLACK_IS_ZERO)
        if bits != 16 or photometric != BLACK_IS_ZERO:
            white = ", and 0 is white" if photometric != BLACK_IS_ZERO else ""
            return f"its grey pixels have {bits} bits{white}; save it with 8 or 16 bits, 0 for black"
    return None


def is_transparent(image: Image.Image) -> bool:
    """Whether some pixels may be transparent."""
    return "A" in image.getbands() or "transparency" in image.info
