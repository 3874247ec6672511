"""Decode the bytes of a photo to pixels: the one decoder of extraction, fine-tuning, prediction and reports.

The limits are in `photo_limits`, and the formats in `photo_format`.  libjpeg-turbo decodes JPEGs, and tells of damage.
Pillow decodes the other formats, and JPEGs that libjpeg-turbo cannot decode to RGB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor

from backbones.orientation import TAG, UPRIGHT, turn, turn_back
from backbones.photo_header import (
    DAMAGED,
    DamagedPhoto,
    PhotoHeader,
    describe_error,
    is_transparent,
    open_photo,
    read_header,
)
from backbones.photo_limits import PhotoLimits

try:
    from torchvision.io import ImageReadMode, decode_jpeg  # nvJPEG
except ImportError:  # torchvision has announced that it will drop its decoders
    decode_jpeg = None

Box = tuple[int, int, int, int]
LIMITS = PhotoLimits()
STRIP = 2**18  # number of pixels that are converted at a time
DAMAGE = ("Corrupt JPEG data", "Premature end")  # how warnings of libjpeg begin that say that pixels are lost
SURPLUS = re.compile(r"(\d+) extraneous bytes")
MAX_SURPLUS = 64  # bytes after the pixels' data; some encoders leave a few, zeros in their place leave thousands


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A decoded photo."""

    pixels: Tensor  # uint8 [3, h, w] in RGB, upright
    notes: tuple[str, ...]  # changes by decoding, in words


def decode_photo(
    data: bytes,
    box: Box | None = None,
    *,
    limits: PhotoLimits = LIMITS,
    device: torch.device | None = None,
) -> Photo:
    """Decode a photo, or a box of it, and turn it upright as its EXIF says.

    A `box` [x0, y0, x1, y1] crops the photo to columns x0..x1-1 and rows y0..y1-1.  They count from 0 in the stored
    pixels, as in the boxes of VOC; the turn comes after the crop.  16-bit pixels keep their upper 8 bits, and
    transparent pixels get a white background.  On a CUDA `device`, nvJPEG decodes the JPEGs that it supports and that
    need no turn; its pixels may differ from the CPU's by a few grey levels.

    Raises:
        ValueError: the bytes are not an image of a known format, or are cut short; or the photo is animated, above the
            limits, or has pixels of unknown scale; or the box is empty or not inside the photo.
    """
    try:
        header = read_header(data, limits)
        _check_box(box, header)
        pixels = _on_gpu(data, header, device)
        if pixels is None:
            pixels = _stored(data, header, limits)
            pixels = pixels if device is None else pixels.to(device)
    except DamagedPhoto as error:
        raise ValueError(f"{len(data):,} bytes are not a whole image: {error}") from error
    if box is not None:
        x0, y0, x1, y1 = box
        pixels = pixels[:, y0:y1, x0:x1]
    return Photo(pixels=_upright(pixels, header.orientation), notes=header.notes)


def decode_image(data: bytes, box: Box | None = None, *, device: torch.device | None = None) -> Tensor:
    """Decode a photo as `decode_photo` does, and return its pixels alone, uint8 [3, h, w] in RGB."""
    return decode_photo(data, box, device=device).pixels


def _check_box(box: Box | None, header: PhotoHeader) -> None:
    if box is None:
        return
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= header.width and 0 <= y0 < y1 <= header.height):
        stored = "" if header.orientation == UPRIGHT else ", as they are stored, before EXIF turns them"
        raise ValueError(
            f"box {[x0, y0, x1, y1]} (x0, y0, x1, y1) is not inside the image of {header.width} x {header.height} "
            f"pixels{stored}"
        )


def _upright(pixels: Tensor, orientation: int) -> Tensor:
    """Turn stored pixels [3, h, w] upright; the channels of each pixel stay side by side in memory."""
    if orientation == UPRIGHT:
        return pixels
    upright = turn(pixels.cpu().permute(1, 2, 0).numpy(), orientation)
    return torch.from_numpy(np.ascontiguousarray(upright)).permute(2, 0, 1).to(pixels.device)


# --- stored pixels ---------------------------------------------------------------------------------------------------


def _on_gpu(data: bytes, header: PhotoHeader, device: torch.device | None) -> Tensor | None:
    """Decode with nvJPEG to uint8 [3, h, w]; None if the CPU has to decode, because nvJPEG has no turn and no CMYK."""
    is_simple = header.format == "JPEG" and header.orientation == UPRIGHT and not header.is_cmyk
    if decode_jpeg is None or device is None or device.type != "cuda" or not is_simple:
        return None
    try:
        return decode_jpeg(_as_tensor(data), ImageReadMode.RGB, device=device)
    except Exception:  # the decoder on the CPU then reports what is wrong
        return None


def _stored(data: bytes, header: PhotoHeader, limits: PhotoLimits) -> Tensor:
    """Decode the stored pixels, uint8 [3, h, w], on the CPU."""
    pixels = None
    if header.format == "JPEG":
        pixels = _by_libjpeg(data, "CMYK" if header.is_cmyk else "RGB")
        if pixels is None or header.is_cmyk:  # Pillow takes more memory
            read_header(data, limits, by_pillow=True)
            pixels = None
    return torch.from_numpy(_by_pillow(data, header) if pixels is None else pixels).permute(2, 0, 1)


def _by_libjpeg(data: bytes, colours: str) -> np.ndarray | None:
    """Decode a JPEG to uint8 [h, w, colours]; None if libjpeg-turbo has no decoder for this kind of JPEG.

    Raises:
        DamagedPhoto: pixels are lost, although there may be an end marker.
    """
    try:
        return simplejpeg.decode_jpeg(data, colours, strict=True)
    except ValueError as error:
        warning = str(error)
    surplus = SURPLUS.search(warning)
    if any(word in warning for word in DAMAGE) and not (surplus and int(surplus[1]) <= MAX_SURPLUS):
        raise DamagedPhoto(f"{DAMAGED} ({warning})")
    try:
        return simplejpeg.decode_jpeg(data, colours, strict=False)
    except ValueError:
        return None


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _by_pillow(data: bytes, header: PhotoHeader) -> np.ndarray:
    """Decode the stored pixels, uint8 [h, w, 3], with Pillow."""
    with open_photo(data, header.format) as image:
        try:
            image.load()
        except Exception as error:  # Pillow raises TypeError, IndexError, struct.error, … on unexpected bytes
            raise DamagedPhoto(f"{DAMAGED} ({describe_error(error)})") from error
        # Newer versions of Pillow turn TIFFs while loading them, and then drop the tag.
        is_turned = header.format == "TIFF" and TAG not in image.tag_v2  # type: ignore[attr-defined]
        pixels = _as_rgb_array(image, header.format)
    return np.ascontiguousarray(turn_back(pixels, header.orientation)) if is_turned else pixels


def _as_rgb_array(image: Image.Image, kind: str) -> np.ndarray:
    """Convert a loaded image to uint8 [h, w, 3] strip by strip, because a whole copy would take twice the memory."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = np.asarray(_as_rgb(strip, kind))
    return pixels


def _as_rgb(image: Image.Image, kind: str) -> Image.Image:
    """Convert any mode to 8-bit RGB.  `convert` alone would clip 16 bits to white and ignore transparency."""
    # Before version 11, Pillow gave the 16 bits of a PNG as 32.
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if is_transparent(image):
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
