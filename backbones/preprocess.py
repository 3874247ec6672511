"""Convert decoded pixels to uint8 tensors at the model's input size; the device normalises them later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, five_crop, resize

MOST_SCALED_PIXELS = 50_000_000  # of a photo that is scaled as a whole before it is cropped
FIVE_CROPS_SHARE = 0.875  # share of each side that one of five crops keeps, without crop_pct


@dataclass(frozen=True, kw_only=True)
class Transform:
    """The transform of a photo to the input size, and its normalisation.

    The default keeps the whole image without a crop (Xian et al. 2019: "no cropping is applied").  It scales each side
    separately, so the aspect ratio changes and every pixel of the photo is used.  With `crop_pct` the aspect ratio
    stays: the shorter side becomes size / crop_pct, and the centre is cut out (timm's evaluation transform).  Five
    crops are the corners and the centre of this scaled image; without `crop_pct` its size is size / 0.875.
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

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a transformed photo: [3, *size], or five crops of it."""
        return (3, *self.size) if self.crops == 1 else (self.crops, 3, *self.size)

    def __call__(self, image: Tensor) -> Tensor:
        """Scale uint8 [3, h, w] to uint8 [3, *size], or to five crops [5, 3, *size], with antialiasing in integers.

        Raises:
            ValueError: the photo is so narrow that its longer side would be scaled to too many pixels.
        """
        size = list(self.size)
        if self.crop_pct is not None:
            shorter = int(size[0] / self.crop_pct)
            _check_aspect(image, shorter)
            scaled = self._resize(image, [shorter])
        elif self.crops == 5:
            scaled = self._resize(image, [int(side / FIVE_CROPS_SHARE) for side in size])
        else:
            return self._resize(image, size)
        return torch.stack(five_crop(scaled, size)) if self.crops == 5 else center_crop(scaled, size)

    def _resize(self, image: Tensor, size: list[int]) -> Tensor:
        return resize(image, size, InterpolationMode(self.interpolation), antialias=True)

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise uint8 [..., 3, H, W] to float32 of the same shape, on the device of the images."""
        mean = torch.tensor(self.mean, device=images.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, device=images.device).view(3, 1, 1) * 255
        return (images.float() - mean) / std


def _check_aspect(image: Tensor, shorter: int) -> None:
    """Check that the photo [3, h, w] is not too large when its shorter side is scaled to `shorter` pixels."""
    sides = sorted(image.shape[-2:])
    if shorter * shorter * sides[1] / sides[0] > MOST_SCALED_PIXELS:
        raise ValueError(
            f"{image.shape[-1]:,} x {image.shape[-2]:,} pixels are too narrow for --crop-pct: with {shorter} pixels on "
            f"the shorter side it would be more than {MOST_SCALED_PIXELS // 10**6} megapixels"
        )
