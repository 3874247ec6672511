"""Stage 4: softmax classifiers in visual, semantic and representation space, and their fusion (eq. 10)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.common.ranges import Count, Decay, NotNegative, Positive, Share, check_ranges
from zsl.dcrgan.gan import synthesize
from zsl.dcrgan.heads import SoftmaxHead, discriminant, softmax_gradients
from zsl.dcrgan.losses import class_means
from zsl.dcrgan.networks import Generator
from zsl.dcrgan.placement import left_out_errors
from zsl.dcrgan.regressors import Regressors
from zsl.features.split import TrainSplit
from zsl.training.log import Log, Watch, silent
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """The settings of the three softmax classifiers and of their fusion.

    `fit` "softmax" trains the classifiers by gradient; a space of fewer dimensions takes larger steps.  "discriminant"
    computes their weights in closed form (see `discriminant`); the result is a linear softmax classifier, too.
    `placement_error` is for discriminants: how much the error of placed class means counts, in VS, SS, SRS.
    """

    fit: Literal["softmax", "discriminant"] = "softmax"
    shrinkage: tuple[Share, Share, Share] = (0.9, 0.5, 0.5)  # of the discriminants' covariances in VS, SS, SRS
    placement_error: tuple[NotNegative, NotNegative, NotNegative] = (0.0, 0.0, 0.0)  # share of it in the covariances
    seen_placement_error: Positive = 1.0  # factor of these shares for the scores of seen classes
    placement_ridge: Positive = 1.0  # of the regression whose error that is
    images_per_unseen_class: Count = 800  # number of synthetic features
    weight_vs: NotNegative = 1.0
    weight_ss: NotNegative = 1.0  # ω1
    weight_srs: NotNegative = 0.2  # ω2
    standardise: bool = True  # whether softmax heads divide their inputs by the spread of the real inputs
    epochs: Count = 5
    batch_size: Count = 256
    semantic_epochs: Count | None = None  # epochs of SS and SRS; None: as many as VS
    semantic_batch_size: Count | None = None
    least_steps: Count = 32  # steps of an epoch, at least; batches become smaller where needed
    lr_falls: bool = True  # whether the learning rate falls to 0 in a straight line; otherwise it is constant
    lr_vs: Positive = 1e-3  # learning rate of the first step
    lr_ss: Positive = 3e-3
    lr_srs: Positive = 5e-2
    betas: tuple[Decay, Decay] = (0.9, 0.999)

    def __post_init__(self) -> None:
        check_ranges(self)
        if not (self.weight_vs or self.weight_ss or self.weight_srs):
            raise ValueError("the fusion weights weight_vs, weight_ss and weight_srs are all 0; give one above 0")


Spaces = tuple[Tensor, Tensor, Tensor]  # of images: features x [B, D], F1(x) [B, A], F2(x) [B, R]
History = list[SoftmaxHead]  # one head after each epoch
Histories = list[tuple[History, History]]  # for VS, SS and SRS: of the heads for ZSL and for GZSL


class Ensemble(nn.Module):
    """The fused classifier f = f_VS + ω1 f_SS + ω2 f_SRS over one set of classes (eq. 10).

    Each f is the log-probabilities of one head.  The paper's f_VS has the weight 1.  A weight of 0 leaves it out, as in
    the variants C-2 and C-3 of Table III.
    """

    def __init__(self, visual: SoftmaxHead, semantic: SoftmaxHead, representation: SoftmaxHead) -> None:
        super().__init__()
        self.visual, self.semantic, self.representation = visual, semantic, representation

    def forward(self, spaces: Spaces, config: ClassifierConfig) -> Tensor:
        """Map the images' places in the three spaces to fused scores [B, classes]."""
        visual, semantic, representation = self.votes(spaces, config)
        return visual + semantic + representation

    def votes(self, spaces: Spaces, config: ClassifierConfig) -> tuple[Tensor, ...]:
        """Return the summands of the fused scores: weighted log-probabilities of VS, SS and SRS, each [B, classes]."""
        visual, semantic, representation = spaces
        return (
            config.weight_vs * self.visual(visual),
            config.weight_ss * self.semantic(semantic),
            config.weight_srs * self.representation(representation),
        )


@stage
def train_classifiers(
    train: TrainSplit,
    generator: Generator,
    condition: Tensor,
    regressors: Regressors,
    config: ClassifierConfig,
    *,
    histories: Histories | None = None,
    log: Log = silent,
) -> tuple[Ensemble, Ensemble]:
    """Train the heads for ZSL and the heads for GZSL.

    The heads for ZSL learn from synthetic features of unseen classes.  The heads for GZSL learn from these and from the
    real features of seen classes.  This is the first stage that uses the attributes of unseen classes.

    condition: the generator's input for each class, beside noise [C, A + R].  histories: gets a copy of each head after
    each epoch; a head in closed form counts as one epoch.
    """
    synthetic, targets = synthesize(generator, condition[train.unseen], config.images_per_unseen_class)
    zsl, gzsl = [], []
    for space in _spaces(regressors, config):
        with torch.no_grad():
            real, fake = space.map(train.features), space.map(synthetic)
        of_space: tuple[History, History] | None = None if histories is None else ([], [])
        if config.fit == "discriminant":
            seen = condition[train.seen]
            zsl_head, gzsl_head = _fit_discriminants(space, train, real, fake, targets, seen, config, of_space)
        else:
            zsl_head, gzsl_head = _fit_softmax(space, train, real, fake, targets, config, log, of_space)
        if histories is not None and of_space is not None:
            histories.append(of_space)
        zsl.append(zsl_head)
        gzsl.append(gzsl_head)
    return _frozen(Ensemble(*zsl)), _frozen(Ensemble(*gzsl))


@dataclass(frozen=True, kw_only=True)
class _Space:
    """One of the three spaces: the map from features to it, and the settings of its heads."""

    name: str
    map: nn.Module  # maps features [N, D] to the space [N, dim]
    lr: float
    shrinkage: float
    placement_error: float


def _spaces(regressors: Regressors, config: ClassifierConfig) -> tuple[_Space, _Space, _Space]:
    vs, ss, srs = zip(config.shrinkage, config.placement_error, strict=True)
    return (
        _Space(name="VS", map=nn.Identity(), lr=config.lr_vs, shrinkage=vs[0], placement_error=vs[1]),
        _Space(name="SS", map=regressors.attributes, lr=config.lr_ss, shrinkage=ss[0], placement_error=ss[1]),
        _Space(name="SRS", map=regressors.representations, lr=config.lr_srs, shrinkage=srs[0], placement_error=srs[1]),
    )


def _fit_discriminants(
    space: _Space, train: TrainSplit, real: Tensor, fake: Tensor, targets: Tensor, conditions: Tensor,
    config: ClassifierConfig, histories: tuple[History, History] | None,
) -> tuple[SoftmaxHead, SoftmaxHead]:  # fmt: skip
    """Compute the head of the unseen classes and the head of all classes in closed form.

    targets: position in `train.unseen` of the class of each row of `fake`.  conditions: the generator's input for each
    seen class [S, A + R].  histories: of the two heads; they get one head each.
    """
    seen_count = len(train.seen)
    seen_means = class_means(real, train.seen_labels, seen_count)
    means = torch.cat([seen_means, class_means(fake, targets, len(train.unseen))])
    within = real - seen_means[train.seen_labels]
    errors = None
    if space.placement_error:
        errors = space.placement_error**0.5 * left_out_errors(conditions, seen_means, config.placement_ridge)
    weight, bias = discriminant(means, within, space.shrinkage, errors)
    if errors is not None and config.seen_placement_error != 1:
        wider = discriminant(seen_means, within, space.shrinkage, config.seen_placement_error**0.5 * errors)
        weight, bias = (torch.cat([seen, all_[seen_count:]]) for seen, all_ in zip(wider, (weight, bias), strict=True))
    heads = SoftmaxHead.from_weights(weight[seen_count:], bias[seen_count:]), SoftmaxHead.from_weights(weight, bias)
    for history, head in zip(histories or (), heads, strict=False):
        history.append(head)
    return heads


def _fit_softmax(
    space: _Space, train: TrainSplit, real: Tensor, fake: Tensor, targets: Tensor, config: ClassifierConfig, log: Log,
    histories: tuple[History, History] | None,
) -> tuple[SoftmaxHead, SoftmaxHead]:  # fmt: skip
    """Train the same two heads by gradient; the parameters mean what they do in `_fit_discriminants`."""
    seen_count, unseen_count = len(train.seen), len(train.unseen)
    yardstick = real if config.standardise else torch.zeros_like(real[:2])  # no spread: inputs do not change
    zsl_head, gzsl_head = (SoftmaxHead(yardstick, count) for count in (unseen_count, seen_count + unseen_count))
    if space.name != "VS":
        config = _for_semantic_heads(config)
    inputs = gzsl_head.standardise(torch.cat([real, fake]))
    all_targets = torch.cat([train.seen_labels, targets + seen_count])
    of_zsl, of_gzsl = histories or (None, None)
    fit_head(f"{space.name} of ZSL", zsl_head, inputs[len(real) :], targets, space.lr, config, history=of_zsl, log=log)
    fit_head(f"{space.name} of GZSL", gzsl_head, inputs, all_targets, space.lr, config, history=of_gzsl, log=log)
    return zsl_head, gzsl_head


def _frozen(ensemble: Ensemble) -> Ensemble:
    return ensemble.eval().requires_grad_(False)


def _for_semantic_heads(config: ClassifierConfig) -> ClassifierConfig:
    """Return `config` with the epochs and the batch size of SS and SRS."""
    return replace(
        config,
        epochs=config.epochs if config.semantic_epochs is None else config.semantic_epochs,
        batch_size=config.batch_size if config.semantic_batch_size is None else config.semantic_batch_size,
    )


def fit_head(
    name: str,
    head: SoftmaxHead,
    standardised: Tensor,
    targets: Tensor,
    lr: float,
    config: ClassifierConfig,
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
