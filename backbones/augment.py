"""Random views of uint8 photos for training; the view of a photo depends on (seed, epoch, row) and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from timm.data.auto_augment import rand_augment_transform
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torch.nn.functional import one_hot
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import pil_to_tensor, resized_crop, to_pil_image

from backbones.finetune_config import AugmentConfig


def augment(
    images: Tensor, rows: Tensor, size: tuple[int, int], config: AugmentConfig, *, seed: int, epoch: int
) -> Tensor:
    """Make random views, uint8 [B, 3, *size], of photos, uint8 [B, 3, h, w], of official `rows` [B].

    The random numbers of a photo depend on (seed, epoch, row), and not on its batch, its process or earlier calls.
    """
    pairs = zip(images, rows.tolist(), strict=True)
    return torch.stack([_view(image, size, config, np.random.default_rng((seed, epoch, row))) for image, row in pairs])


def _view(image: Tensor, size: tuple[int, int], config: AugmentConfig, draw: np.random.Generator) -> Tensor:
    top, left, height, width = _crop(image.shape[-2], image.shape[-1], config, draw)
    view = resized_crop(image, top, left, height, width, list(size), InterpolationMode.BILINEAR, antialias=True)
    if draw.random() < config.flip:
        view = view.flip(-1)
    if config.randaugment is not None:
        with _python_randomness(int(draw.integers(2**32))):
            view = pil_to_tensor(_randaugment(config.randaugment, min(size))(to_pil_image(view)))
    if config.erase:
        with _python_randomness(int(draw.integers(2**32))):
            kept = RandomErasing(config.erase, mode="const", device="cpu")(torch.ones_like(view)).bool()
        view = torch.where(kept, view, view.float().mean((1, 2), keepdim=True).to(view.dtype))
    return view


def _crop(height: int, width: int, config: AugmentConfig, draw: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw the top, left, height and width of a crop: random area and aspect ratio, within the photo."""
    area = height * width * draw.uniform(*config.scale)
    ratio = np.exp(draw.uniform(*np.log(config.ratio)))
    h = int(np.clip(round((area / ratio) ** 0.5), 1, height))
    w = int(np.clip(round((area * ratio) ** 0.5), 1, width))
    return int(draw.integers(height - h + 1)), int(draw.integers(width - w + 1)), h, w


@lru_cache
def _randaugment(notation: str, size: int) -> Any:
    return rand_augment_transform(notation, {"translate_const": round(0.45 * size), "img_mean": (128, 128, 128)})


@contextmanager
def _python_randomness(seed: int) -> Iterator[None]:
    """Seed the global states of `random` and NumPy, from which timm draws, and restore them after the block."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def mix(
    images: Tensor, labels: Tensor, classes: int, config: AugmentConfig, *, seed: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Mix images [B, 3, H, W] within the batch, if `config` says so; return them and soft targets [B, classes].

    B is even.  labels: [B] in [0, classes).
    """
    if not (config.mixup or config.cutmix):
        return images, one_hot(labels, classes).float()
    mixer = Mixup(mixup_alpha=config.mixup, cutmix_alpha=config.cutmix, label_smoothing=0.0, num_classes=classes)
    with _python_randomness(int(np.random.default_rng(seed).integers(2**32))):
        mixed: tuple[Tensor, Tensor] = mixer(images.clone(), labels)
    return mixed
