"""Options of extraction, as plain data: this module imports neither timm nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backbones.ranges import Count, Portion, check_ranges

LEAST_CROP = 0.1  # of the shorter side; below that the scaled photo would not fit into memory


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """How a photo becomes a feature; by default the whole image, in one pass, with the model's own pooling."""

    image_size: Count | None = None  # side of the input in pixels; None: the size of the weights
    crop_pct: Portion | None = None  # keep the aspect ratio and cut out the centre: this share of the shorter side
    crops: Literal[1, 5] = 1  # 5: take the mean over four corners and the centre
    flip: bool = False  # take the mean over the image and its mirror image
    layer: str | None = None  # take the mean over positions of this stage's output, instead of the pooled output
    fp32_layers: tuple[str, ...] = ()  # modules that always compute in fp32, such as conv_stem

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"--image-size {self.image_size}: at least 1 pixel")
        check_ranges(self)
        if self.crop_pct is not None and self.crop_pct < LEAST_CROP:
            raise ValueError(f"crop_pct is {self.crop_pct}; it is at least {LEAST_CROP}, or a photo becomes too large")

    @property
    def tag(self) -> str:
        """The suffix that these options add to the name of a feature table; empty for the defaults."""
        parts = {
            f"{self.image_size}px": self.image_size,
            f"crop{self.crop_pct}": self.crop_pct,
            "5crops": self.crops == 5,
            "flip": self.flip,
            f"at-{self.layer}": self.layer,
            f"fp32-{'+'.join(self.fp32_layers)}": self.fp32_layers,
        }
        return "".join(f"-{part}" for part, value in parts.items() if value)
