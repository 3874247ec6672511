"""Frozen image encoders: a study name, timm's model with its own transform, decoding and preprocessing."""

from backbones.backbone import (
    Backbone,
    Cost,
    EncodeOptions,
    compile_backbone,
    export_manifest,
    export_weights,
    load_backbone,
    measure_cost,
)
from backbones.preprocess import Transform, decode_image
from backbones.presets import PRESETS, Preset, UnseenClasses, find_preset, unseen_classes

__all__ = [
    "PRESETS",
    "Backbone",
    "Cost",
    "EncodeOptions",
    "Preset",
    "Transform",
    "UnseenClasses",
    "compile_backbone",
    "decode_image",
    "export_manifest",
    "export_weights",
    "find_preset",
    "load_backbone",
    "measure_cost",
    "unseen_classes",
]
