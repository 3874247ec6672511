"""From the bytes of a photo to its pixels: the one decoder of extraction, fine-tuning, prediction and reports.

Its limits are in `photo_limits`, its formats in `photo_format`.  JPEGs go through torchvision, or through Pillow where
torchvision does not decode them; all else goes through Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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
    from torchvision.io import ImageReadMode, decode_jpeg
except ImportError:  # torchvision announces that it will drop its decoders
    decode_jpeg = None

Box = tuple[int, int, int, int]
LIMITS = PhotoLimits()
STRIP = 2**18  # pixels that are converted at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A decoded photo."""

    pixels: Tensor  # uint8 [3, h, w] in RGB, upright
    notes: tuple[str, ...]  # on what decoding changed, in words


def decode_photo(
    data: bytes,
    box: Box | None = None,
    *,
    limits: PhotoLimits = LIMITS,
    device: torch.device | None = None,
) -> Photo:
    """A photo, or a box of it, turned upright as its EXIF says.

    A `box` [x0, y0, x1, y1] crops the photo to columns x0..x1-1 and rows y0..y1-1, counted from 0 in the pixels as they
    are stored; the crop is turned upright afterwards.  So boxes of VOC are meant.  Of 16 bits the upper 8 are kept, and
    what is transparent is laid on white.  On a CUDA `device` nvJPEG decodes the JPEGs that it can and that need no
    turning; its pixels may differ from the CPU's by a few grey levels.

    Raises:
        ValueError: the bytes are not an image of a format that is read, or are cut short; or the photo is animated,
            above the limits, or has pixels of no known scale; or the box is empty or reaches out of it.
    """
    try:
        header = read_header(data, limits, by_pillow=decode_jpeg is None)
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
    """The pixels of `decode_photo` alone, uint8 [3, h, w] in RGB."""
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
    """Stored pixels [3, h, w] turned upright, with each pixel's channels side by side in memory as before."""
    if orientation == UPRIGHT:
        return pixels
    upright = turn(pixels.cpu().permute(1, 2, 0).numpy(), orientation)
    return torch.from_numpy(np.ascontiguousarray(upright)).permute(2, 0, 1).to(pixels.device)


# --- stored pixels ---------------------------------------------------------------------------------------------------


def _on_gpu(data: bytes, header: PhotoHeader, device: torch.device | None) -> Tensor | None:
    """uint8 [3, h, w] by nvJPEG, or None where the CPU has to do it: nvJPEG neither turns photos nor knows CMYK."""
    is_simple = header.format == "JPEG" and header.orientation == UPRIGHT and not header.is_cmyk
    if decode_jpeg is None or device is None or device.type != "cuda" or not is_simple:
        return None
    try:
        return decode_jpeg(_as_tensor(data), ImageReadMode.RGB, device=device)
    except Exception:  # the CPU's decoder says what is wrong
        return None


def _stored(data: bytes, header: PhotoHeader, limits: PhotoLimits) -> Tensor:
    """uint8 [3, h, w], as stored, on the CPU."""
    if header.format == "JPEG" and decode_jpeg is not None:
        try:
            return decode_jpeg(_as_tensor(data), ImageReadMode.RGB)
        except RuntimeError:
            read_header(data, limits, by_pillow=True)  # Pillow knows more kinds of JPEG, and takes more memory
    return torch.from_numpy(_by_pillow(data, header)).permute(2, 0, 1)


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _by_pillow(data: bytes, header: PhotoHeader) -> np.ndarray:
    """uint8 [h, w, 3], as stored."""
    with open_photo(data, header.format) as image:
        try:
            image.load()
        except Exception as error:  # Pillow raises TypeError, IndexError, struct.error, … at bytes it did not expect
            raise DamagedPhoto(f"{DAMAGED} ({describe_error(error)})") from error
        # Newer versions of Pillow turn TIFFs as they load them, and then drop the tag.
        is_turned = header.format == "TIFF" and TAG not in image.tag_v2  # type: ignore[attr-defined]
        pixels = _as_rgb_array(image, header.format)
    return np.ascontiguousarray(turn_back(pixels, header.orientation)) if is_turned else pixels


def _as_rgb_array(image: Image.Image, kind: str) -> np.ndarray:
    """uint8 [h, w, 3] of a loaded image, strip by strip: a whole copy in another mode would cost as much again."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = np.asarray(_as_rgb(strip, kind))
    return pixels


def _as_rgb(image: Image.Image, kind: str) -> Image.Image:
    """8-bit RGB of any mode; `convert` alone would clip 16 bits to white and uncover what is under transparency."""
    # Before version 11 Pillow gave a PNG's 16 bits as 32.
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if is_transparent(image):
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
