"""Frozen image encoders: presets, timm's models with their transforms, decoding and preprocessing.

Importing this package is fast, because presets and options are plain data.  The names in `LAZY` need timm or
torchvision, whose import takes seconds, so such a name is imported at its first use (PEP 562).  A module that a command
line imports for its `--help` writes `import backbones` and `backbones.load_backbone(…)`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from backbones.options import EncodeOptions
from backbones.photo_format import FORMATS
from backbones.photo_limits import PhotoLimits
from backbones.presets import PRESETS, Preset, UnseenClasses, find_preset, unseen_classes

if TYPE_CHECKING:  # mypy and editors see the same names without running anything
    from backbones.backbone import (
        Backbone,
        Cost,
        compile_backbone,
        export_manifest,
        load_backbone,
        measure_cost,
        weight_tensors,
    )
    from backbones.decode import Photo, decode_image, decode_photo
    from backbones.preprocess import Transform

LAZY = {  # name -> the module that holds it
    "Backbone": "backbones.backbone",
    "Cost": "backbones.backbone",
    "Photo": "backbones.decode",
    "Transform": "backbones.preprocess",
    "compile_backbone": "backbones.backbone",
    "decode_image": "backbones.decode",
    "decode_photo": "backbones.decode",
    "export_manifest": "backbones.backbone",
    "load_backbone": "backbones.backbone",
    "measure_cost": "backbones.backbone",
    "weight_tensors": "backbones.backbone",
}

__all__ = [
    "FORMATS",
    "PRESETS",
    "Backbone",
    "Cost",
    "EncodeOptions",
    "Photo",
    "PhotoLimits",
    "Preset",
    "Transform",
    "UnseenClasses",
    "compile_backbone",
    "decode_image",
    "decode_photo",
    "export_manifest",
    "find_preset",
    "load_backbone",
    "measure_cost",
    "unseen_classes",
    "weight_tensors",
]


def __getattr__(name: str) -> Any:
    """Import a name of `LAZY` now, and keep it for the next time."""
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(LAZY[name]), name)
    return value
