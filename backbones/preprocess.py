"""From the bytes of a photo to uint8 tensors at the model's input size; normalisation happens later, on the device."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, five_crop, pil_to_tensor, resize

Box = tuple[int, int, int, int]
FIVE_CROPS_SHARE = 0.875  # of either side, where no crop_pct is given
EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Photo to the input size, then normalisation.

    By default the whole image, no crop (Xian et al. 2019: "no cropping is applied"): the sides are scaled apart, so the
    aspect ratio changes and every pixel of the photo is used.  With `crop_pct` the aspect ratio is kept, the shorter
    side becomes size / crop_pct, and the centre is cut out (timm's evaluation transform).  Five crops are the corners
    and the centre of what would be cropped, without `crop_pct` of the whole image scaled to size / 0.875.
    """

    size: tuple[int, int]  # height, width
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str  # bilinear or bicubic
    crop_pct: float | None = None
    crops: Literal[1, 5] = 1

    def __post_init__(self) -> None:
        if self.crop_pct is not None and not 0 < self.crop_pct <= 1:
            raise ValueError(
                f"crop_pct is {self.crop_pct}; it is the share of the shorter side that is kept, in (0, 1]"
            )
        if self.crop_pct is not None and self.size[0] != self.size[1]:
            raise ValueError(f"crop_pct needs a square input, that of this model is {self.size[0]} x {self.size[1]}")

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 [3, h, w] to uint8 [3, *size], or [5, 3, *size] of five crops; antialiased, in integer arithmetic."""
        size = list(self.size)
        if self.crop_pct is not None:
            scaled = self._resize(image, [int(size[0] / self.crop_pct)])  # one number: the shorter side
        elif self.crops == 5:
            scaled = self._resize(image, [int(side / FIVE_CROPS_SHARE) for side in size])
        else:
            return self._resize(image, size)
        return torch.stack(five_crop(scaled, size)) if self.crops == 5 else center_crop(scaled, size)

    def _resize(self, image: Tensor, size: list[int]) -> Tensor:
        return resize(image, size, InterpolationMode(self.interpolation), antialias=True)

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 [..., 3, H, W] to float32 of the same shape, on the images' device."""
        mean = torch.tensor(self.mean, device=images.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, device=images.device).view(3, 1, 1) * 255
        return (images.float() - mean) / std


def decode_image(data: bytes, box: Box | None = None, *, device: torch.device | None = None) -> Tensor:
    """A photo as uint8 [3, h, w] in RGB, turned upright as its EXIF says.

    `box` [x0, y0, x1, y1] in 0-based pixels crops it to columns x0..x1-1 and rows y0..y1-1.  JPEGs go through
    torchvision; all else that Pillow knows (PNG, …) goes through Pillow.  Of 16 bits the upper 8 are kept, and what is
    transparent is laid on white.  On a CUDA `device` nvJPEG decodes the JPEGs that it can and that need no turning;
    its pixels may differ from the CPU's by a few grey levels.

    Raises:
        ValueError: not an image, or cut short, or its pixels have no known scale, or the box is empty or reaches out
            of it.
    """
    if not data:
        raise ValueError("0 bytes are not a whole image: the file is empty")
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    image = _decode_with_nvjpeg(encoded, data, device) if device is not None and device.type == "cuda" else None
    if image is None:
        try:
            image = decode_jpeg(encoded, ImageReadMode.RGB, apply_exif_orientation=True)
        except RuntimeError:
            image = _decode_with_pillow(data)
        image = image if device is None else image.to(device)
    if box is None:
        return image
    x0, y0, x1, y1 = box
    height, width = image.shape[1:]
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"box {[x0, y0, x1, y1]} (x0, y0, x1, y1) is not inside the image of {width} x {height} pixels"
        )
    return image[:, y0:y1, x0:x1]


def _decode_with_nvjpeg(encoded: Tensor, data: bytes, device: torch.device) -> Tensor | None:
    """uint8 [3, h, w] on `device`, or None where the CPU has to do it: nvJPEG neither turns photos nor knows CMYK."""
    try:
        with Image.open(io.BytesIO(data)) as header:  # reads no pixels
            if header.mode not in ("RGB", "L") or header.getexif().get(EXIF_ORIENTATION, 1) != 1:
                return None
        return decode_jpeg(encoded, ImageReadMode.RGB, device=device)
    except Exception:  # a broken header, in one of Pillow's many ways; the CPU's decoder says what is wrong
        return None


def _decode_with_pillow(data: bytes) -> Tensor:
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image)
            upright.load()
    except Exception as error:  # Pillow raises TypeError, IndexError, struct.error, … at bytes it did not expect
        raise ValueError(f"{len(data):,} bytes are not a whole image: {error}") from error
    return pil_to_tensor(_as_rgb(upright, image.format))


def _as_rgb(image: Image.Image, kind: str | None) -> Image.Image:
    """8-bit RGB of any mode; `convert` alone would clip 16 bits to white and uncover what is under transparency."""
    # Before version 11 Pillow gave a PNG's 16 bits as 32.
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if reason := no_scale(image.mode, kind):
        raise ValueError(reason)
    if is_transparent(image):
        own = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", own.size, "white"), own).convert("RGB")
    return image.convert("RGB")


def no_scale(mode: str, kind: str | None) -> str | None:
    """Why pixels of this Pillow mode and file format cannot be brought to 8 bits; None where they can."""
    if mode == "F" or (mode == "I" and kind != "PNG"):
        return f"its pixels are 32-bit numbers without a known scale (mode {mode}); save it with 8 or 16 bits"
    return None


def is_transparent(image: Image.Image) -> bool:
    """Whether pixels may be transparent."""
    return "A" in image.getbands() or "transparency" in image.info
