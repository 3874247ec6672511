"""Stage 4: softmax classifiers in visual, semantic and representation space, and their fusion (eq. 10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zsl.common.profile import span
from zsl.common.ranges import NotNegative, Positive, Share
from zsl.dcrgan.fitting import FitConfig, History, Space, fit_heads
from zsl.dcrgan.gan import synthesize
from zsl.dcrgan.heads import SoftmaxHead
from zsl.dcrgan.networks import Generator
from zsl.dcrgan.regressors import Regressors
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(FitConfig):
    """The settings of the three softmax classifiers and of their fusion.

    `placement_error` is for discriminants: how much the error of placed class means counts, in VS, SS, SRS.
    """

    shrinkage: tuple[Share, Share, Share] = (0.9, 0.5, 0.5)  # of the discriminants' covariances in VS, SS, SRS
    placement_error: tuple[NotNegative, NotNegative, NotNegative] = (0.0, 0.0, 0.0)  # share of it in the covariances
    weight_vs: NotNegative = 1.0
    weight_ss: NotNegative = 1.0  # ω1
    weight_srs: NotNegative = 0.2  # ω2
    lr_vs: Positive = 1e-3  # learning rate of the first step
    lr_ss: Positive = 3e-3
    lr_srs: Positive = 5e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.weight_vs or self.weight_ss or self.weight_srs):
            raise ValueError("the fusion weights weight_vs, weight_ss and weight_srs are all 0; give one above 0")


Spaces = tuple[Tensor, Tensor, Tensor]  # of images: features x [B, D], F1(x) [B, A], F2(x) [B, R]
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
    with span("synthesis"):
        synthetic, targets = synthesize(generator, condition[train.unseen], config.images_per_unseen_class)
    zsl, gzsl = [], []
    for space in _spaces(regressors, condition[train.seen], config):
        with torch.no_grad():
            real, fake = space.map(train.features), space.map(synthetic)
        of_space: tuple[History, History] | None = None if histories is None else ([], [])
        with span(f"heads of {space.name}"):
            zsl_head, gzsl_head = fit_heads(space, train, real, fake, targets, config, log, of_space)
        if histories is not None and of_space is not None:
            histories.append(of_space)
        zsl.append(zsl_head)
        gzsl.append(gzsl_head)
    return _frozen(Ensemble(*zsl)), _frozen(Ensemble(*gzsl))


def _spaces(regressors: Regressors, conditions: Tensor, config: ClassifierConfig) -> tuple[Space, Space, Space]:
    """List the three spaces; conditions: the generator's input for each seen class [S, A + R]."""
    vs, ss, srs = config.shrinkage
    of_vs, of_ss, of_srs = (config.placement(conditions, share) for share in config.placement_error)
    return (
        Space(name="VS", map=nn.Identity(), lr=config.lr_vs, shrinkage=vs, semantic=False, placement=of_vs),
        Space(name="SS", map=regressors.attributes, lr=config.lr_ss, shrinkage=ss, semantic=True, placement=of_ss),
        Space(
            name="SRS", map=regressors.representations, lr=config.lr_srs, shrinkage=srs, semantic=True,
            placement=of_srs,
        ),
    )  # fmt: skip


def _frozen(ensemble: Ensemble) -> Ensemble:
    return ensemble.eval().requires_grad_(False)
