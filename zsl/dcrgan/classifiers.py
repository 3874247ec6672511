"""Stage 4: softmax classifiers in visual, semantic and representation space, and their fusion (eq. 10)."""

from __future__ import annotations

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
from zsl.dcrgan.regressors import Regressors
from zsl.features.split import TrainSplit
from zsl.training.log import Log, Watch, silent
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """How the three softmax classifiers are fitted and fused.

    "softmax": by gradient; a space of fewer dimensions takes larger steps.  "discriminant": in closed form, see
    `discriminant`; a linear softmax classifier too.
    """

    fit: Literal["softmax", "discriminant"] = "softmax"
    shrinkage: tuple[Share, Share, Share] = (0.9, 0.5, 0.5)  # of the discriminants' covariances in VS, SS, SRS

    images_per_unseen_class: Count = 800  # synthetic features
    weight_vs: NotNegative = 1.0
    weight_ss: NotNegative = 1.0  # ω1
    weight_srs: NotNegative = 0.2  # ω2
    standardise: bool = True  # softmax heads see inputs in units of the real ones' spread, or as they are
    epochs: Count = 5
    batch_size: Count = 256
    semantic_epochs: Count | None = None  # of SS and SRS; None: as VS
    semantic_batch_size: Count | None = None
    least_steps: Count = 32  # batches are smaller where an epoch would have fewer
    lr_falls: bool = True  # to 0 in a straight line, or it stays
    lr_vs: Positive = 1e-3  # at the start
    lr_ss: Positive = 3e-3
    lr_srs: Positive = 5e-2
    betas: tuple[Decay, Decay] = (0.9, 0.999)

    def __post_init__(self) -> None:
        check_ranges(self)


class Ensemble(nn.Module):
    """f = f_VS + ω1 f_SS + ω2 f_SRS over one set of classes (eq. 10); each f is a head's log-probabilities.

    The paper's f_VS has the weight 1; 0 leaves it out, as in the variants C-2 and C-3 of Table III.
    """

    def __init__(self, visual: SoftmaxHead, semantic: SoftmaxHead, representation: SoftmaxHead) -> None:
        super().__init__()
        self.visual, self.semantic, self.representation = visual, semantic, representation

    def forward(self, features: Tensor, regressors: Regressors, config: ClassifierConfig) -> Tensor:
        """Features [B, D] to fused scores [B, classes]."""
        visual, semantic, representation = self.votes(features, regressors, config)
        return visual + semantic + representation

    def votes(self, features: Tensor, regressors: Regressors, config: ClassifierConfig) -> tuple[Tensor, ...]:
        """What VS, SS and SRS add to the fused scores, each [B, classes]: weighted log-probabilities."""
        return (
            config.weight_vs * self.visual(features),
            config.weight_ss * self.semantic(regressors.attributes(features)),
            config.weight_srs * self.representation(regressors.representations(features)),
        )


@stage
def train_classifiers(
    train: TrainSplit,
    generator: Generator,
    condition: Tensor,
    regressors: Regressors,
    config: ClassifierConfig,
    *,
    log: Log = silent,
) -> tuple[Ensemble, Ensemble]:
    """Heads for ZSL, trained on synthetic unseen features, and for GZSL, trained on real seen ones beside them.

    condition: what the generator takes for each class [C, A + R].  This is where unseen attributes first play a part.
    """
    synthetic, which = synthesize(generator, condition[train.unseen], config.images_per_unseen_class)
    zsl, gzsl = [], []
    for space in _spaces(regressors, config):
        with torch.no_grad():
            real, fake = space.map(train.features), space.map(synthetic)
        fit = _fit_discriminants if config.fit == "discriminant" else _fit_softmax
        of_unseen, of_all = fit(space, train, real, fake, which, config, log)
        zsl.append(of_unseen)
        gzsl.append(of_all)
    return _frozen(Ensemble(*zsl)), _frozen(Ensemble(*gzsl))


@dataclass(frozen=True, kw_only=True)
class _Space:
    """One of the three spaces: how features get there, and how its heads are fitted."""

    name: str
    map: nn.Module  # features [N, D] to the space [N, dim]
    lr: float
    shrinkage: float


def _spaces(regressors: Regressors, config: ClassifierConfig) -> tuple[_Space, _Space, _Space]:
    vs, ss, srs = config.shrinkage
    return (
        _Space(name="VS", map=nn.Identity(), lr=config.lr_vs, shrinkage=vs),
        _Space(name="SS", map=regressors.attributes, lr=config.lr_ss, shrinkage=ss),
        _Space(name="SRS", map=regressors.representations, lr=config.lr_srs, shrinkage=srs),
    )


def _fit_discriminants(
    space: _Space, train: TrainSplit, real: Tensor, fake: Tensor, which: Tensor, config: ClassifierConfig, log: Log
) -> tuple[SoftmaxHead, SoftmaxHead]:
    """Heads of the unseen classes and of all, in closed form; which: the unseen class of each fake row."""
    seen_count = len(train.seen)
    of_seen = class_means(real, train.seen_labels, seen_count)
    means = torch.cat([of_seen, class_means(fake, which, len(train.unseen))])
    weight, bias = discriminant(means, real - of_seen[train.seen_labels], space.shrinkage)
    return SoftmaxHead.from_weights(weight[seen_count:], bias[seen_count:]), SoftmaxHead.from_weights(weight, bias)


def _fit_softmax(
    space: _Space, train: TrainSplit, real: Tensor, fake: Tensor, which: Tensor, config: ClassifierConfig, log: Log
) -> tuple[SoftmaxHead, SoftmaxHead]:
    """The same two heads by gradient."""
    seen_count, unseen_count = len(train.seen), len(train.unseen)
    yardstick = real if config.standardise else torch.zeros_like(real[:2])  # without spread: inputs as they are
    of_unseen, of_all = (SoftmaxHead(yardstick, count) for count in (unseen_count, seen_count + unseen_count))
    if space.name != "VS":
        config = _for_semantic_heads(config)
    inputs = of_all.standardise(torch.cat([real, fake]))
    targets = torch.cat([train.seen_labels, which + seen_count])
    fit_head(f"{space.name} of ZSL", of_unseen, inputs[len(real) :], which, space.lr, config, log=log)
    fit_head(f"{space.name} of GZSL", of_all, inputs, targets, space.lr, config, log=log)
    return of_unseen, of_all


def _frozen(ensemble: Ensemble) -> Ensemble:
    return ensemble.eval().requires_grad_(False)


def _for_semantic_heads(config: ClassifierConfig) -> ClassifierConfig:
    """`config` with the epochs and batches of SS and SRS."""
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
    log: Log = silent,
) -> SoftmaxHead:
    """Train a head on its standardised inputs [N, dim] and local class indices targets [N].

    A few passes with large steps do what many with small ones do, as long as the last steps are small and the weights
    start at 0: the problem is convex, and random ones are noise that so few steps do not unlearn.
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
    return head.eval()
