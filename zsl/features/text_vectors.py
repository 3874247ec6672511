"""Names of classes as vectors: prompts, embedded by the text tower of a CLIP or SigLIP model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from backbones.openclip import Tokenizer, embed_texts, image_tower, open_model
from backbones.presets import OPENCLIP, Preset, find_preset
from zsl.datasets.class_vectors import ClassVectors, Origin
from zsl.datasets.prompts import is_siglip, make_prompts
from zsl.features.manifest import Manifest

NAMES = "class names"  # the kind of side information


@dataclass(frozen=True, kw_only=True)
class TextTower:
    """The facts of a model behind text vectors."""

    name: str  # of the backbone
    image_tower_sha256: str
    is_lower: bool  # whether its texts are in lower case

    def of(self, templates: Sequence[str]) -> Origin:
        """The origin of vectors that this tower makes of the templates."""
        return Origin(
            kind=NAMES,
            source=f"texts {' | '.join(templates)} by {self.name}, whose pretraining is unknown",
            image_tower_sha256=self.image_tower_sha256,
        )


def open_towers(backbone: str, weights: Path | None) -> tuple[Preset, Any, TextTower]:
    """Open the model `openclip_MODEL[.TAG]` with both of its towers.

    Raises:
        ValueError: the backbone is of another kind, open_clip is not installed, or the weights do not fit.
        FileNotFoundError: the weights cannot be loaded.
    """
    from backbones.backbone import state_sha256

    preset = find_preset(backbone)
    if not preset.timm_name.startswith(OPENCLIP):
        raise ValueError(f"--backbone {backbone}: only models of open_clip have a text tower; name one as openclip_…")
    model = open_model(preset, weights)
    sha256 = state_sha256(image_tower(model))
    name = f"{preset.timm_name}.{weights.stem}-{sha256[:8]}" if weights else preset.full_name
    return preset, model, TextTower(name=name, image_tower_sha256=sha256, is_lower=is_siglip(preset.timm_name))


def embed_names(
    model: Any, tokenizer: Tokenizer, names: Sequence[str], templates: Sequence[str], *, lower: bool
) -> Tensor:
    """Embed the names [C, D]: the mean over templates of vectors of length 1, divided by its length.

    model: of open_clip, with its text tower.  lower: whether texts are put in lower case.

    Raises:
        ValueError: a template has not exactly one place for the name.
    """
    prompts = make_prompts(names, templates, lower=lower)
    return normalize(torch.stack([embed_texts(model, tokenizer, texts) for texts in prompts]).mean(0), dim=1)


def check_same_model(vectors: ClassVectors | None, manifest: Manifest | None) -> None:
    """Check that class vectors and features are of the two towers of one model, as image-text similarity needs.

    manifest: of the features; None where there are none yet.

    Raises:
        ValueError: there are no class vectors, or they are of another model.
    """
    if vectors is None:
        raise ValueError("--method clip needs --class-vectors FILE.npy of scripts/embed_names.py")
    stated = vectors.origin.image_tower_sha256
    if manifest is not None and stated is not None and stated != manifest.weights_sha256:
        raise ValueError(
            f"--method clip: {vectors.path} is in the space of another model ({stated[:8]}) than the features of "
            f"{manifest.backbone} ({str(manifest.weights_sha256)[:8]}); embed the names with the backbone of "
            "the features"
        )
