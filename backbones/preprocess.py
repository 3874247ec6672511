"""From the bytes of a photo to a uint8 tensor at the model's input size; normalisation happens later, on the device."""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import pil_to_tensor, resize

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Whole image to the input size, no crop (Xian et al. 2019: "no cropping is applied"), then normalisation.

    The sides are scaled apart, so the aspect ratio changes and every pixel of the photo is used.
    """

    size: tuple[int, int]  # height, width
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str  # bilinear or bicubic

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 [3, h, w] to uint8 [3, *size]; antialiased, in integer arithmetic."""
        return resize(image, list(self.size), InterpolationMode(self.interpolation), antialias=True)

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] to float32 of the same shape, on the images' device."""
        mean = torch.tensor(self.mean, device=images.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, device=images.device).view(3, 1, 1) * 255
        return (images.float() - mean) / std


def decode_image(data: bytes, box: Box | None = None) -> Tensor:
    """A photo as uint8 [3, h, w] in RGB, turned upright as its EXIF says.

    `box` [x0, y0, x1, y1] in 0-based pixels crops it to columns x0..x1-1 and rows y0..y1-1.  JPEGs go through
    torchvision; all else that Pillow knows (PNG, …) goes through Pillow.

    Raises:
        ValueError: not an image, or cut short, or the box is empty or reaches out of it.
    """
    if not data:
        raise ValueError("0 bytes are not a whole image: the file is empty")
    try:
        image = decode_jpeg(
            torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB, apply_exif_orientation=True
        )
    except RuntimeError:
        image = _decode_with_pillow(data)
    if box is None:
        return image
    x0, y0, x1, y1 = box
    height, width = image.shape[1:]
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"box {[x0, y0, x1, y1]} (x0, y0, x1, y1) is not inside the image of {width} x {height} pixels"
        )
    return image[:, y0:y1, x0:x1]


def _decode_with_pillow(data: bytes) -> Tensor:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return pil_to_tensor(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{len(data):,} bytes are not a whole image: {error}") from error
