"""Options of extraction, as plain data: this module imports neither timm nor torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from backbones.ranges import Count, Portion, check_ranges

# NAME-288px-crop0.9-5crops-flip-at-LAYER, as `EncodeOptions.tag` writes it; names of models and weights have no dash.
NAMED = re.compile(
    r"(?P<name>[^-]+)(-(?P<image_size>\d+)px)?(-crop(?P<crop_pct>\d*\.?\d+))?(?P<crops>-5crops)?(?P<flip>-flip)?"
    r"(-at-(?P<layer>[^-+]+))?"
)
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


def named_options(name: str, options: EncodeOptions = EncodeOptions()) -> tuple[str, EncodeOptions]:
    """Split `NAME-288px-flip` into the backbone's name and its options; `options` are those that the name leaves open.

    A name that does not end in options stays as it is.

    Raises:
        ValueError: an option is out of range.
    """
    match = NAMED.fullmatch(name)
    if match is None:
        return name, options
    said = match.groupdict()
    changes: dict[str, Any] = {
        "image_size": said["image_size"] and int(said["image_size"]),
        "crop_pct": said["crop_pct"] and float(said["crop_pct"]),
        "crops": said["crops"] and 5,
        "flip": said["flip"] and True,
        "layer": said["layer"],
    }
    return said["name"], replace(options, **{key: value for key, value in changes.items() if value is not None})
