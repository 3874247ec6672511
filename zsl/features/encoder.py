"""The encoder of an extraction: PyTorch's, plain or compiled, or another engine's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import interpolate

from backbones import Backbone, compile_backbone
from backbones.engines import TORCH, Engine, with_engine
from zsl.features.choice import Choice, Compile, Decision, choose
from zsl.features.manifest import Comparison

Encode = Callable[[Tensor], Tensor]  # from uint8 [B, 3, H, W] or [B, 5, 3, H, W] to fp32 [B, D] on the device
ROUNDS = 2  # in which a plain and a compiled batch are timed in turn; the faster one counts
LEAST_COSINE = 0.95  # of an engine's feature to PyTorch's; bf16 has 0.98
PATCHES = 7  # drawn images have so many patches of colour a side

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """What turns photos into features, and what a manifest says about it."""

    encode: Encode
    compiled: bool = False
    choice: Choice | None = None  # of --compile auto; None: nothing was to choose
    comparison: Comparison | None = None  # of an engine's features with PyTorch's; None: PyTorch itself


def make_encoder(
    backbone: Backbone, accelerator: Accelerator, *, batch_size: int, compile: Compile, engine: Engine,
    decision: Decision,
) -> Encoder:  # fmt: skip
    """Make the encoder that the settings ask for, on the device and in the precision of `accelerator`.

    Raises:
        ValueError: the engine does not take the model; or what this table was begun with does not work here.
    """
    if engine != TORCH:
        return engine_encoder(backbone, accelerator, batch_size, engine)
    if compile == "auto":
        return choose_encoder(backbone, accelerator, batch_size, decision)
    encode = compiled_encoder(backbone, accelerator, batch_size) if compile == "on" else None
    return Encoder(encode=encode or plain_encoder(backbone, accelerator), compiled=encode is not None)


def plain_encoder(backbone: Backbone, accelerator: Accelerator) -> Encode:
    """The encoder as PyTorch runs it, in the precision and on the device of `accelerator`."""
    backbone.encoder.to(accelerator.device)
    return partial(_encode, backbone, accelerator)


def compiled_encoder(backbone: Backbone, accelerator: Accelerator, batch_size: int) -> Encode | None:
    """The encoder through torch.compile; None, and a warning, if the compiler fails on a first batch."""
    backbone.encoder.to(accelerator.device)
    encode = _padded(partial(_encode, compile_backbone(backbone, accelerator.device.type), accelerator), batch_size)
    try:
        encode(drawn_images(backbone, 1))
    except Exception as error:  # the compiler's errors have no common type, and all of them mean the same here
        log.warning("--compile does not work here (%s); going on without", str(error).strip().splitlines()[0])
        return None
    return encode


def engine_encoder(backbone: Backbone, accelerator: Accelerator, batch_size: int, engine: Engine) -> Encoder:
    """The encoder that another engine runs, compared with PyTorch's fp32 on one batch of drawn images.

    Raises:
        ValueError: the engine does not take the model, or computes something else.
    """
    changed = with_engine(backbone, engine, accelerator.mixed_precision, batch_size)
    encode, images = _padded(partial(_encode, changed, accelerator), batch_size), drawn_images(backbone, batch_size)
    with torch.inference_mode():
        reference = backbone.encode(images)
    comparison = compare(encode(images), reference)
    if not comparison.smallest_cosine >= LEAST_COSINE:
        raise ValueError(
            f"--engine {engine} computes other features of {backbone.name} than PyTorch: their cosine is "
            f"{comparison.smallest_cosine:.3f}; take --engine torch"
        )
    return Encoder(encode=encode, comparison=comparison)


def compare(features: Tensor, reference: Tensor) -> Comparison:
    """Compare the features [B, D] of an engine with those of PyTorch."""
    return Comparison(
        largest_difference=float((features - reference).abs().max() / reference.abs().max()),
        smallest_cosine=float(torch.cosine_similarity(features.double(), reference.double()).min()),
    )


def choose_encoder(backbone: Backbone, accelerator: Accelerator, batch_size: int, decision: Decision) -> Encoder:
    """The plain or the compiled encoder, as `--compile auto` decides.

    Raises:
        ValueError: the table was begun with a compiled encoder, and compiling does not work here.
    """
    plain = plain_encoder(backbone, accelerator)
    attempts: list[Encode | None] = []
    images = partial(drawn_images, backbone, batch_size)

    def time_compiled() -> tuple[float, float, float] | None:
        started = time.perf_counter()
        attempts.append(compiled_encoder(backbone, accelerator, batch_size))
        fast, spent = attempts[0], time.perf_counter() - started
        if fast is None:
            return None
        times = [(_seconds(plain, images()), _seconds(fast, images())) for _ in range(ROUNDS)]
        return spent, min(first for first, _ in times), min(second for _, second in times)

    def time_plain() -> float:
        return min(_seconds(plain, images()) for _ in range(ROUNDS))

    choice = decision.made(lambda: choose(decision.batches, time_plain, time_compiled))
    if not choice.compiled:
        return Encoder(encode=plain, choice=choice)
    encode = attempts[0] if attempts else compiled_encoder(backbone, accelerator, batch_size)
    if encode is None:
        raise ValueError(
            "this table was begun with a compiled encoder, and compiling does not work here; --compile off makes all "
            "of it anew"
        )
    return Encoder(encode=encode, compiled=True, choice=choice)


def drawn_images(backbone: Backbone, count: int) -> Tensor:
    """Images as the transform gives them, of patches of colour: uint8 [count, 3, H, W] or [count, 5, 3, H, W]."""
    crops, size = backbone.transform.crops, backbone.transform.size
    colours = torch.rand(count * crops, 3, PATCHES, PATCHES, generator=torch.Generator().manual_seed(0))
    images = (255 * interpolate(colours, size, mode="bilinear")).to(torch.uint8)
    return images if crops == 1 else images.unflatten(0, (count, crops))


def _encode(backbone: Backbone, accelerator: Accelerator, images: Tensor) -> Tensor:
    with torch.inference_mode(), accelerator.autocast():
        return backbone.encode(images.to(accelerator.device, non_blocking=True)).float()


def _padded(encode: Encode, batch_size: int) -> Encode:
    """Return `encode` with batches that all have the same shape, which compilers and engines ask for."""

    def encode_padded(images: Tensor) -> Tensor:
        if len(images) == batch_size:  # without a copy, a batch for a GPU stays in memory that it reads fast
            return encode(images)
        padding = images.new_zeros(batch_size - len(images), *images.shape[1:])
        return encode(torch.cat([images, padding]))[: len(images)]

    return encode_padded


def _seconds(encode: Encode, images: Tensor) -> float:
    """The time to encode `images`, on a GPU including its queue."""
    started = time.perf_counter()
    encode(images).cpu()
    return time.perf_counter() - started
