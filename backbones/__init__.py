"""Frozen image encoders: a study name, timm's model with its own transform, decoding and preprocessing."""

from backbones.backbone import Backbone, EncodeOptions, compile_backbone, load_backbone
from backbones.preprocess import Transform, decode_image
from backbones.presets import PRESETS, Preset, find_preset

__all__ = [
    "PRESETS",
    "Backbone",
    "EncodeOptions",
    "Preset",
    "Transform",
    "compile_backbone",
    "decode_image",
    "find_preset",
    "load_backbone",
]
