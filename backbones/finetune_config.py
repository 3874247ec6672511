"""The configurations of fine-tuning and augmentation, as plain data: the `--config.…` flags of scripts/finetune.py.

This module imports neither timm nor torch, so that `--help` is fast.  Only the check of a RandAugment notation imports
timm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from backbones.ranges import Count, Decay, NotNegative, Part, Portion, Positive, Share, Whole, check_ranges

RANDAUGMENT = re.compile(r"rand(-(m|n|p|mstd|mmax|inc)[0-9][0-9.]*|-t[a-z0-9]+)*")  # the sections of timm's notation


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random views.  The last four are off by default, because short fine-tuning rather underfits than overfits."""

    scale: tuple[Portion, Portion] = (0.5, 1.0)  # share of the photo's area that a random resized crop keeps
    ratio: tuple[Positive, Positive] = (0.8, 1.25)  # ratio of width to height, after the photo became square
    flip: Share = 0.5  # probability of mirroring
    randaugment: str | None = None  # timm's notation, such as rand-m9-mstd0.5-inc1
    mixup: NotNegative = 0.0  # alpha of the Beta distribution
    cutmix: NotNegative = 0.0  # alpha of the Beta distribution
    erase: Share = 0.0  # probability that a rectangle gets the view's mean colour

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"augment.{name} is {low}, {high}; it goes from a lower to a higher value")
        if self.randaugment is not None:
            _check_randaugment(self.randaugment)


def _check_randaugment(notation: str) -> None:
    """Raise a ValueError if timm does not know `notation`."""
    from timm.data.auto_augment import rand_augment_transform

    try:
        if not RANDAUGMENT.fullmatch(notation):  # timm leaves out a section without a number, such as inc or m
            raise ValueError
        rand_augment_transform(notation, {})
    except (AssertionError, ValueError) as error:
        raise ValueError(
            f"augment.randaugment is {notation!r}; it is timm's notation, such as rand-m9-mstd0.5-inc1"
        ) from error


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """The configuration of one fine-tuning; the defaults suit a CNN and some thousand photos."""

    head: Literal["linear", "attributes"] = "linear"  # logits: W f + b, or scale · cos(W f, attributes)
    scale: Positive = 20.0  # factor of the cosine
    attribute_loss: NotNegative = 0.0  # weight of the squared error of regressed attributes, summed over attributes
    label_smoothing: Decay = 0.1  # share of the target that all classes get alike
    image_size: Count | None = None  # input size of training and later extraction; None: the size of the weights
    epochs: Count = 3  # passes over the training images at most
    patience: Count = 3  # with --folds: training ends after so many epochs without a lower loss on the held-out images
    held_out: Part = 0.1  # with --folds: share of each class's training images that only stops training early
    batch_size: Count = 32  # images of one update, over all processes
    accumulation: Count = 1  # number of parts in which a process computes its share of a batch
    optimizer: str = "adamw"  # any optimizer of timm
    lr: Positive = 6e-4  # step size of the encoder's last layer
    lr_head: Positive = 2e-3  # step size of the head
    layer_decay: Positive = 0.8  # step size of a layer, as a share of the next layer's
    weight_decay: NotNegative = 0.02  # factor of the decay of weights in each update
    warmup: Decay = 0.1  # share of all updates in which the step size rises; then it falls along a cosine
    clip: NotNegative = 5.0  # largest norm of the gradient; 0: no limit
    lr_probe: Positive = 2e-3  # step size of the head alone at the start
    probe_steps: Whole = 300  # updates of the head alone at the start, with a frozen encoder (Kumar et al. 2022)
    frozen_stages: Whole | None = None  # 1: the stem is frozen, 2: also the first stage, …; 0: none; None: half
    freeze_norm: bool = True  # batch norms keep their statistics, because statistics of small batches are poor
    ema: Decay = 0.0  # decay of the moving average of weights, which is the result; 0: no average
    l2sp: NotNegative = 0.0  # weight of half the squared distance to the pretrained weights (Li et al. 2018)
    distill: NotNegative = 3.0  # weight of the squared distance of normalised features from those of frozen weights
    wise: tuple[Portion, ...] = (0.25, 0.5, 0.75, 1.0)  # shares of the tuned weights in the mean (Wortsman et al. 2022)
    checkpoint_gradients: bool = False  # take less memory and a third more time
    seed: Whole = 0  # seed of all draws
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.checkpoint_gradients and not self.freeze_norm:
            raise ValueError(
                "checkpoint_gradients computes each layer twice, so that batch norms would count each batch twice; "
                "leave freeze_norm on"
            )
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch size {self.batch_size} is no multiple of accumulation {self.accumulation}")
        if not self.wise:
            raise ValueError("wise is empty; it holds one or more shares above 0 and at most 1")
