"""From decoded pixels to uint8 tensors at the model's input size; normalisation happens later, on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, five_crop, resize

FIVE_CROPS_SHARE = 0.875  # of either side, where no crop_pct is given


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
