"""Stage 4: softmax classifiers in visual, semantic and representation space, and their fusion (eq. 10)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.common.config import at_least_one
from zsl.dcrgan.gan import synthesize
from zsl.dcrgan.losses import class_means
from zsl.dcrgan.networks import Generator
from zsl.dcrgan.regressors import Regressors
from zsl.features.scaling import signed_power
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent, watch
from zsl.training.stage import stage

if TYPE_CHECKING:
    from zsl.dcrgan.dcrgan import Synthesizer

from zsl.dcrgan.heads import SoftmaxHead, discriminant, softmax_gradients


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """How the three softmax classifiers are fitted and fused.

    "softmax": by gradient; a space of fewer dimensions takes larger steps.  "discriminant": in closed form, see
    `discriminant`; a linear softmax classifier too.
    """

    fit: Literal["softmax", "discriminant"] = "softmax"
    shrinkage: tuple[float, float, float] = (0.9, 0.5, 0.5)  # of the discriminants' covariances in VS, SS, SRS

    gamma: float = 0.0  # calibrated stacking: taken off the fused GZSL score of every seen class
    images_per_unseen_class: int = 800  # synthetic features
    weight_vs: float = 1.0
    weight_ss: float = 1.0  # ω1
    weight_srs: float = 0.2  # ω2
    standardise: bool = True  # softmax heads see inputs in units of the real ones' spread, or as they are
    epochs: int = 5
    batch_size: int = 256
    semantic_epochs: int | None = None  # of SS and SRS; None: as VS
    semantic_batch_size: int | None = None
    least_steps: int = 32  # batches are smaller where an epoch would have fewer
    lr_falls: bool = True  # to 0 in a straight line, or it stays
    lr_vs: float = 1e-3  # at the start
    lr_ss: float = 3e-3
    lr_srs: float = 5e-2
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        at_least_one(self, "images_per_unseen_class", "batch_size", "least_steps")


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


class DCRGAN(nn.Module):
    """The trained model: it scores features, for ZSL over the unseen classes, for GZSL over seen and unseen ones."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`
    synthesizer: Synthesizer | None = None  # what it was made with (`zsl.dcrgan.dcrgan`); not part of its state
    feature_power: float = 1.0  # the power of features that its networks were trained on

    def __init__(
        self, regressors: Regressors, zsl: Ensemble, gzsl: Ensemble, train: TrainSplit, config: ClassifierConfig
    ) -> None:
        super().__init__()
        self.regressors, self.zsl, self.gzsl, self.config = regressors, zsl, gzsl, config
        self.register_buffer("zsl_classes", train.unseen)
        self.register_buffer("gzsl_classes", torch.cat([train.seen, train.unseen]))

    def inputs(self, features: Tensor) -> Tensor:
        """Features [N, D], scaled on trainval rows, as the networks see them."""
        return signed_power(features, self.feature_power)

    def zsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, U]."""
        return self.zsl(self.inputs(features), self.regressors, self.config)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""
        is_seen = ~torch.isin(self.gzsl_classes, self.zsl_classes)
        return self.gzsl(self.inputs(features), self.regressors, self.config) - self.config.gamma * is_seen


@stage
def train_classifiers(
    train: TrainSplit,
    generator: Generator,
    condition: Tensor,
    regressors: Regressors,
    config: ClassifierConfig,
    *,
    log: Log = silent,
) -> DCRGAN:
    """Train the heads on real seen and synthetic unseen features, and for ZSL on the synthetic ones alone.

    condition: what the generator takes for each class [C, A + R].  This is where unseen attributes first play a part.
    """
    synthetic, which = synthesize(generator, condition[train.unseen], config.images_per_unseen_class)
    seen_count, unseen_count = len(train.seen), len(train.unseen)
    targets = torch.cat([train.seen_labels, which + seen_count])
    zsl, gzsl = [], []
    spaces = (nn.Identity(), regressors.attributes, regressors.representations)
    lrs = (config.lr_vs, config.lr_ss, config.lr_srs)
    for name, space, lr, shrinkage in zip(("VS", "SS", "SRS"), spaces, lrs, config.shrinkage, strict=True):
        with torch.no_grad():
            real, fake = space(train.features), space(synthetic)
        if config.fit == "discriminant":
            of_seen = class_means(real, train.seen_labels, seen_count)
            means = torch.cat([of_seen, class_means(fake, which, unseen_count)])
            weight, bias = discriminant(means, real - of_seen[train.seen_labels], shrinkage)
            zsl.append(SoftmaxHead.given(weight[seen_count:], bias[seen_count:]))
            gzsl.append(SoftmaxHead.given(weight, bias))
            continue
        yardstick = real if config.standardise else torch.zeros_like(real[:2])  # without spread: inputs as they are
        of_unseen, of_all = (SoftmaxHead(yardstick, count) for count in (unseen_count, seen_count + unseen_count))
        own = config if name == "VS" else _for_semantic_heads(config)
        inputs = of_all.standardise(torch.cat([real, fake]))
        zsl.append(fit_head(f"{name} of ZSL", of_unseen, inputs[len(real) :], which, lr, own, log=log))
        gzsl.append(fit_head(f"{name} of GZSL", of_all, inputs, targets, lr, own, log=log))
    return DCRGAN(regressors, Ensemble(*zsl), Ensemble(*gzsl), train, config).eval().requires_grad_(False)


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
    for epoch in log.steps(name, config.epochs, {"head": head}, {"head": optimizer}):
        batches = torch.randperm(len(targets), device=targets.device).split(batch_size)
        for number, batch in enumerate(batches):
            if config.lr_falls:
                optimizer.param_groups[0]["lr"] = lr * (1 - (epoch + number / len(batches)) / config.epochs)
            logits = softmax_gradients(head.linear, standardised[batch], targets[batch])
            optimizer.step()
        watch(log, name, epoch, {"cross entropy": cross_entropy(logits, targets[batch])})
    return head.eval()
