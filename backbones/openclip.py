"""Models of images and texts in one space (CLIP, SigLIP) from the package open_clip, the extra `clip`.

The image tower is a backbone like any other: its features are the embeddings of photos.  The text tower embeds prompts
in the same space.  A backbone's name is `openclip_MODEL` or `openclip_MODEL.TAG`, as open_clip calls model and weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from backbones.presets import OPENCLIP, Preset, did_you_mean
from backbones.weights import check_finite, read_state, unwrap_entries

IMAGE_TOWER = "visual."  # of the names of the image tower's tensors
EXTRA = "pip install 'zsl-dcrgan[clip]'"
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # if open_clip names no file
Tokenizer = Callable[[list[str]], Tensor]  # texts to tokens [n, length]


class ImageTower(nn.Module):
    """The image tower of an open_clip model, with what timm's functions ask of a model."""

    def __init__(self, visual: nn.Module, settings: dict[str, Any]) -> None:
        super().__init__()
        self.visual = visual
        self.pretrained_cfg = settings

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings [B, D] of images [B, 3, H, W]; their length is not 1."""
        embeddings = self.visual(images)
        return embeddings[0] if isinstance(embeddings, tuple) else embeddings

    def reset_classifier(self, count: int) -> None:
        """Do nothing: the model has no classifier."""


def open_model(preset: Preset, weights: Path | None = None, *, whole: bool = True) -> Any:
    """Make open_clip's model with published weights, or with the weights in the file `weights`.

    whole: whether the text tower is needed; without it a file of the image tower is enough.

    Raises:
        ValueError: open_clip is not installed, has no such model or weights, or the file does not fit the model.
        FileNotFoundError: the weights cannot be loaded; the message says what to do.
    """
    open_clip = _package()
    model_name = preset.timm_name.removeprefix(OPENCLIP)
    if model_name not in open_clip.list_models():
        raise ValueError(f"open_clip has no model {model_name!r}{did_you_mean(model_name, open_clip.list_models())}")
    if weights is not None:
        model = open_clip.create_model(model_name, pretrained=None)
        _load(model, weights, whole=whole)
        return model.eval()
    if not preset.weights_tag:
        raise ValueError(f"{preset.timm_name} names no weights: give --weights FILE, or a tag as in openclip_MODEL.TAG")
    try:
        return _published(open_clip, model_name, preset.weights_tag).eval()
    except Exception as error:  # the hub's client raises many types, and none of them tells a user what to do
        raise FileNotFoundError(
            f"the weights of {preset.full_name} could not be fetched ({type(error).__name__}); fill the hub's cache on "
            "a machine with internet (HF_HOME names its place), or give the file of weights by --weights"
        ) from error


def _published(open_clip: Any, model_name: str, tag: str) -> Any:
    """The model with the published weights `tag`, and with QuickGELU if they were trained with it.

    OpenAI's weights are found under `ViT-B-32` and under `ViT-B-32-quickgelu`.  With the activation of the first one
    open_clip 3 only warns, and every embedding is a little wrong.
    """
    facts = open_clip.get_pretrained_cfg(model_name, tag) or {}
    return open_clip.create_model(model_name, pretrained=tag, force_quick_gelu=bool(facts.get("quick_gelu")))


def published_place(preset: Preset) -> tuple[str, tuple[str, ...]]:
    """Where open_clip fetches published weights from: the hub's repository and the names that the file may have there.

    For weights that lie outside the hub, it is their URL and no names.

    Raises:
        ValueError: open_clip is not installed, or publishes no such weights.
    """
    model_name = preset.timm_name.removeprefix(OPENCLIP)
    facts = _package().get_pretrained_cfg(model_name, preset.weights_tag) or {}
    repository, _, file = str(facts.get("hf_hub") or "").rpartition("/")  # OWNER/NAME/FILE, or OWNER/NAME/
    if repository:
        return repository, (file,) if file else HUB_FILES
    if facts.get("url"):
        return str(facts["url"]), ()
    tag = preset.weights_tag or "without a tag (as in openclip_MODEL.TAG)"
    raise ValueError(f"open_clip publishes no weights {tag} of {model_name}")


def image_tower(model: Any) -> ImageTower:
    """The image tower of open_clip's model."""
    visual = model.visual
    stated = getattr(visual, "preprocess_cfg", {})
    size = getattr(visual, "image_size", None) or stated["size"]
    height, width = (size, size) if isinstance(size, int) else size
    settings = {
        "input_size": (3, height, width),
        "mean": tuple(stated["mean"]),
        "std": tuple(stated["std"]),
        "interpolation": stated.get("interpolation", "bicubic"),
    }
    return ImageTower(visual, settings)


def random_tower(preset: Preset) -> ImageTower:
    """The image tower with random weights, to count its operations."""
    return image_tower(_package().create_model(preset.timm_name.removeprefix(OPENCLIP), pretrained=None))


def open_tokenizer(preset: Preset) -> Tokenizer:
    """The tokenizer of the model's text tower; that of SigLIP needs the package transformers and its own files.

    Raises:
        ValueError: a package that it needs is not installed.
        FileNotFoundError: its files cannot be loaded.
    """
    try:
        tokenizer: Tokenizer = _package().get_tokenizer(preset.timm_name.removeprefix(OPENCLIP))
    except ImportError as error:
        raise ValueError(
            f"the tokenizer of {preset.timm_name} needs a package that is not installed ({error}); pip install "
            "transformers"
        ) from error
    except OSError as error:
        raise FileNotFoundError(
            f"the tokenizer of {preset.timm_name} could not be fetched ({type(error).__name__}); fill the hub's cache "
            "on a machine with internet (HF_HOME names its place)"
        ) from error
    return tokenizer


@torch.inference_mode()
def embed_texts(model: Any, tokenizer: Tokenizer, texts: Sequence[str], batch_size: int = 64) -> Tensor:
    """Embed texts by the model's text tower: [n, D] of length 1."""
    batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
    return torch.cat([normalize(model.encode_text(tokenizer(list(batch))).float(), dim=-1) for batch in batches])


def _package() -> Any:
    if find_spec("open_clip") is None:
        raise ValueError(f"openclip backbones need the package open_clip, which is not installed; {EXTRA}")
    import open_clip

    return open_clip


def _load(model: Any, weights: Path, *, whole: bool) -> None:
    state = unwrap_entries(read_state(weights), weights)
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    check_finite(state, weights)
    part = model if whole else model.visual
    if not whole:
        state = {name.removeprefix(IMAGE_TOWER): value for name, value in state.items() if name.startswith(IMAGE_TOWER)}
    try:
        part.load_state_dict(state)
    except RuntimeError as error:
        towers = "both towers" if whole else "the image tower"
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"{weights} does not hold {towers} of this model ({reason}); is --backbone the model?"
        ) from error
