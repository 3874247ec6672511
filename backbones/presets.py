"""Study names: architecture, weights tag, and what the weights were trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backbones.efficientnet_lite import lite_weights, rename_lite_keys


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named backbone.

    `pretraining` is the data behind the weights: it decides whether the unseen classes of a benchmark were unseen.
    `weights_file` and `rename_keys` serve weights that come in an installed package instead of timm's hub.
    """

    timm_name: str
    weights_tag: str
    pretraining: str
    weights_file: Callable[[], Path] | None = None
    rename_keys: Callable[..., dict] | None = None

    @property
    def full_name(self) -> str:
        """`architecture.weights_tag`."""
        return f"{self.timm_name}.{self.weights_tag}"


PRESETS: dict[str, Preset] = {
    "resnet101": Preset(timm_name="resnet101", weights_tag="tv_in1k", pretraining="ImageNet-1k"),
    "efficientnet_lite0": Preset(
        timm_name="tf_efficientnet_lite0",
        weights_tag="offline_in1k",
        pretraining="ImageNet-1k",
        weights_file=lambda: lite_weights(0),
        rename_keys=rename_lite_keys,
    ),
}
OFFLINE_PRESET = "efficientnet_lite0"


def find_preset(name: str) -> Preset:
    """The preset `name`, or one made on the spot for any timm model, `arch` or `arch.weights_tag`.

    Raises:
        ValueError: neither a preset nor a model of timm.
    """
    import timm

    if name in PRESETS:
        return PRESETS[name]
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = timm.list_models(f"*{architecture[:6]}*")[:5]
        raise ValueError(
            f"no backbone {name!r}; there are {', '.join(sorted(PRESETS))} and timm's models"
            + (f" such as {', '.join(near)}" if near else "")
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ValueError(f"no weights {tag!r} for {architecture}; there are {', '.join(tags) or 'none'}")
    default = timm.get_pretrained_cfg(architecture)
    tag = tag or (default.tag if default and default.tag else "default")
    return Preset(timm_name=architecture, weights_tag=tag, pretraining=_pretraining(tag))


def _pretraining(tag: str) -> str:
    """What a timm weights tag says about its training data; tags end in e.g. `in1k` or `in22k_ft_in1k`."""
    for mark, data in (  # first the large collections: most such weights were tuned on ImageNet-1k last
        ("laion", "LAION"),
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
        ("in1k", "ImageNet-1k"),
    ):
        if mark in tag:
            return data
    return f"unknown (weights tag {tag!r})"
