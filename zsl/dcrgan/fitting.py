"""Softmax heads on real and synthetic inputs of one space: for ZSL and for GZSL, by gradient or in closed form."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.common.ranges import Count, Decay, Positive, check_ranges
from zsl.dcrgan.heads import SoftmaxHead, discriminant, softmax_gradients
from zsl.dcrgan.placement import Placement
from zsl.features.class_statistics import class_means
from zsl.features.split import TrainSplit
from zsl.training.log import Log, Watch, silent


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """The settings of softmax heads that do not depend on their space.

    `fit` "softmax" trains the heads by gradient; a space of fewer dimensions takes larger steps.  "discriminant"
    computes their weights in closed form (see `discriminant`); the result is a linear softmax classifier, too.
    """

    fit: Literal["softmax", "discriminant"] = "softmax"
    images_per_unseen_class: Count = 800  # number of synthetic features
    standardise: bool = True  # whether softmax heads divide their inputs by the spread of the real inputs
    epochs: Count = 5
    batch_size: Count = 256
    semantic_epochs: Count | None = None  # epochs of heads in other spaces than that of features; None: as many
    semantic_batch_size: Count | None = None
    least_steps: Count = 32  # steps of an epoch, at least; batches become smaller where needed
    lr_falls: bool = True  # whether the learning rate falls to 0 in a straight line; otherwise it is constant
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    seen_placement_error: Positive = 1.0  # of discriminants: factor of the placement error's share for seen classes
    placement_ridge: Positive = 1.0  # of the regression whose error that is

    def __post_init__(self) -> None:
        check_ranges(self)

    def for_semantic_heads(self) -> FitConfig:
        """Return these settings with the epochs and the batch size of heads in other spaces than that of features."""
        return replace(
            self,
            epochs=self.epochs if self.semantic_epochs is None else self.semantic_epochs,
            batch_size=self.batch_size if self.semantic_batch_size is None else self.semantic_batch_size,
        )

    def placement(self, conditions: Tensor, share: float) -> Placement | None:
        """Return how unseen classes are placed, for discriminants that count its error; None if its share is 0.

        conditions: the generator's input for each seen class [S, K].
        """
        if share == 0:
            return None
        return Placement(
            conditions=conditions, share=share, seen_factor=self.seen_placement_error, ridge=self.placement_ridge
        )


History = list[SoftmaxHead]  # one head after each epoch


@dataclass(frozen=True, kw_only=True)
class Space:
    """A space where heads classify: the map from features to it, and the settings of its heads."""

    name: str
    map: nn.Module  # maps features [N, D] to the space [N, dim]
    lr: float
    shrinkage: float
    semantic: bool  # False: it is the space of features
    placement: Placement | None = None  # how unseen classes are placed, if discriminants count its error


def fit_heads(
    space: Space, train: TrainSplit, real: Tensor, fake: Tensor, targets: Tensor, config: FitConfig, log: Log,
    histories: tuple[History, History] | None = None,
) -> tuple[SoftmaxHead, SoftmaxHead]:  # fmt: skip
    """Make the head of the unseen classes and the head of all classes, seen ones first.

    real: inputs of all trainval rows in this space [N, dim].  fake: synthetic inputs of unseen classes [n, dim].
    targets: position in `train.unseen` of the class of each row of `fake` [n].  histories: of the two heads.
    """
    fit = _fit_discriminants if config.fit == "discriminant" else _fit_softmax
    return fit(space, train, real, fake, targets, config, log, histories)


def _fit_discriminants(
    space: Space, train: TrainSplit, real: Tensor, fake: Tensor, targets: Tensor, config: FitConfig, log: Log,
    histories: tuple[History, History] | None,
) -> tuple[SoftmaxHead, SoftmaxHead]:  # fmt: skip
    """Compute the two heads in closed form; each history gets one head."""
    seen_count = len(train.seen)
    seen_means = class_means(real, train.seen_labels, seen_count)
    means = torch.cat([seen_means, class_means(fake, targets, len(train.unseen))])
    within, placement = real - seen_means[train.seen_labels], space.placement
    errors = None if placement is None else placement.errors(seen_means)
    weight, bias = discriminant(means, within, space.shrinkage, errors)
    if placement is not None and errors is not None and placement.seen_factor != 1:
        wider = discriminant(seen_means, within, space.shrinkage, placement.seen_factor**0.5 * errors)
        weight, bias = (torch.cat([seen, all_[seen_count:]]) for seen, all_ in zip(wider, (weight, bias), strict=True))
    heads = SoftmaxHead.from_weights(weight[seen_count:], bias[seen_count:]), SoftmaxHead.from_weights(weight, bias)
    for history, head in zip(histories or (), heads, strict=False):
        history.append(head)
    return heads


def _fit_softmax(
    space: Space, train: TrainSplit, real: Tensor, fake: Tensor, targets: Tensor, config: FitConfig, log: Log,
    histories: tuple[History, History] | None,
) -> tuple[SoftmaxHead, SoftmaxHead]:  # fmt: skip
    """Train the two heads by gradient."""
    seen_count, unseen_count = len(train.seen), len(train.unseen)
    yardstick = real if config.standardise else torch.zeros_like(real[:2])  # no spread: inputs do not change
    zsl_head, gzsl_head = (SoftmaxHead(yardstick, count) for count in (unseen_count, seen_count + unseen_count))
    if space.semantic:
        config = config.for_semantic_heads()
    inputs = gzsl_head.standardise(torch.cat([real, fake]))
    all_targets = torch.cat([train.seen_labels, targets + seen_count])
    of_zsl, of_gzsl = histories or (None, None)
    fit_head(f"{space.name} of ZSL", zsl_head, inputs[len(real) :], targets, space.lr, config, history=of_zsl, log=log)
    fit_head(f"{space.name} of GZSL", gzsl_head, inputs, all_targets, space.lr, config, history=of_gzsl, log=log)
    return zsl_head, gzsl_head


def fit_head(
    name: str,
    head: SoftmaxHead,
    standardised: Tensor,
    targets: Tensor,
    lr: float,
    config: FitConfig,
    *,
    history: History | None = None,
    log: Log = silent,
) -> SoftmaxHead:
    """Train a head on its standardised inputs [N, dim] and its local class indices, targets [N].

    history: gets a copy of the head after each epoch.

    The problem is convex.  So a few epochs with large steps do as well as many with small ones, if the last steps are
    small and the weights start at 0.  Random weights would be noise that so few steps cannot remove.
    """
    head = head.to(standardised.device)
    nn.init.zeros_(head.linear.weight)
    nn.init.zeros_(head.linear.bias)
    optimizer = torch.optim.Adam(head.linear.parameters(), lr=lr, betas=config.betas, fused=True)
    batch_size = min(config.batch_size, -(-len(targets) // config.least_steps))
    watch = Watch(log, name, steps=config.epochs, every=1, device=standardised.device)
    for epoch in log.steps(name, config.epochs, {"head": head}, {"head": optimizer}):
        batches = torch.randperm(len(targets), device=targets.device).split(batch_size)
        for number, batch in enumerate(batches):
            if config.lr_falls:
                optimizer.param_groups[0]["lr"] = lr * (1 - (epoch + number / len(batches)) / config.epochs)
            logits = softmax_gradients(head.linear, standardised[batch], targets[batch])
            optimizer.step()
        watch(epoch, {"cross entropy": cross_entropy(logits, targets[batch])})
        if history is not None:
            history.append(copy.deepcopy(head).eval())
    return head.eval()
