"""Classifiers on real inputs of seen classes and synthetic inputs of unseen classes, and the model that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from zsl.common.ranges import Count, NotNegative, Positive, Share
from zsl.dcrgan.fitting import FitConfig, Space, fit_heads
from zsl.features.scaling import signed_power
from zsl.features.split import TrainSplit
from zsl.generative.neighbours import Neighbours
from zsl.generative.synthesizer import Synthesizer
from zsl.training.log import Log, silent
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class HeadsConfig(FitConfig):
    """The settings of the classifiers; without `neighbours` they are softmax heads (see `FitConfig`)."""

    images_per_unseen_class: Count = 400
    epochs: Count = 20
    lr: Positive = 3e-3  # learning rate of the first step
    shrinkage: Share = 0.8  # of the discriminants' covariance
    placement_error: NotNegative = 0.0  # share of the error of placed class means in that covariance
    neighbours: Count | None = None  # k nearest neighbours of each class in place of a softmax
    metric: Literal["cosine", "euclidean"] = "cosine"  # of the neighbours
    neighbours_of_seen: Literal["real", "synthetic"] = "real"


@dataclass(frozen=True, kw_only=True)
class SemanticHeadsConfig(HeadsConfig):
    """The settings of heads in input space and of heads in a second space, whose scores are added."""

    semantic_weight: NotNegative = 0.5  # of the scores of the second space
    semantic_lr: Positive = 3e-3
    semantic_shrinkage: Share = 0.2


class SyntheticClassifier(nn.Module):
    """The trained model; the scores of its spaces are weighted and added."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`

    def __init__(
        self, synthesizer: Synthesizer, feature_power: float, maps: Sequence[nn.Module], weights: Sequence[float],
        zsl: Sequence[nn.Module], gzsl: Sequence[nn.Module],
    ) -> None:  # fmt: skip
        super().__init__()
        self.feature_power, self.weights, self.prepare = feature_power, tuple(weights), synthesizer.prepare
        self.maps, self.zsl, self.gzsl = nn.ModuleList(maps), nn.ModuleList(zsl), nn.ModuleList(gzsl)
        self.register_buffer("zsl_classes", synthesizer.zsl_classes)
        self.register_buffer("gzsl_classes", synthesizer.gzsl_classes)
        self.eval().requires_grad_(False)

    def zsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of unseen classes [N, U]."""
        return self._fused(features, self.zsl)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""
        return self._fused(features, self.gzsl)

    def _fused(self, features: Tensor, heads: nn.ModuleList) -> Tensor:
        inputs = self.prepare(signed_power(features, self.feature_power))
        scores = [
            weight * head(space(inputs)) for weight, space, head in zip(self.weights, self.maps, heads, strict=True)
        ]
        return torch.stack(scores).sum(0)


@stage
def train_heads(
    train: TrainSplit, synthesizer: Synthesizer, config: HeadsConfig, feature_power: float, *, log: Log = silent
) -> SyntheticClassifier:
    """Train heads for ZSL on synthetic inputs of unseen classes, and heads for GZSL on these and on those of seen ones.

    train: in the form that the networks take.  feature_power: brings features of the test to that form.
    """
    with torch.no_grad():
        real = synthesizer.real_inputs(train.features)
        fake = synthesizer.synthesize(train.unseen, config.images_per_unseen_class)
    targets = torch.arange(len(train.unseen), device=train.device).repeat_interleave(config.images_per_unseen_class)
    if config.neighbours is not None:
        zsl, gzsl = _neighbours(train, synthesizer, real, fake, targets, config)
        return SyntheticClassifier(synthesizer, feature_power, (nn.Identity(),), (1.0,), (zsl,), (gzsl,))
    spaces, weights = _spaces(synthesizer, train.attributes[train.seen], config)
    pairs = []
    for space in spaces:
        with torch.no_grad():
            of_real, of_fake = space.map(real), space.map(fake)
        pairs.append(fit_heads(space, train, of_real, of_fake, targets, config, log))
    of_zsl, of_gzsl = zip(*pairs, strict=True)
    return SyntheticClassifier(synthesizer, feature_power, [space.map for space in spaces], weights, of_zsl, of_gzsl)


def _spaces(
    synthesizer: Synthesizer, attributes: Tensor, config: HeadsConfig
) -> tuple[tuple[Space, ...], tuple[float, ...]]:
    """List the spaces and the weights of their scores; attributes: of the seen classes [S, A]."""
    first = Space(
        name="VS", map=nn.Identity(), lr=config.lr, shrinkage=config.shrinkage, semantic=False,
        placement=config.placement(attributes, config.placement_error),
    )  # fmt: skip
    if synthesizer.semantic is None or not isinstance(config, SemanticHeadsConfig):
        return (first,), (1.0,)
    second = Space(
        name="SS", map=synthesizer.semantic, lr=config.semantic_lr, shrinkage=config.semantic_shrinkage, semantic=True
    )
    return (first, second), (1.0, config.semantic_weight)


def _neighbours(
    train: TrainSplit, synthesizer: Synthesizer, real: Tensor, fake: Tensor, targets: Tensor, config: HeadsConfig
) -> tuple[Neighbours, Neighbours]:
    """Make the neighbours of the unseen classes and those of all classes, seen ones first."""
    assert config.neighbours is not None
    seen, labels = real, train.seen_labels
    if config.neighbours_of_seen == "synthetic":
        seen = synthesizer.synthesize(train.seen, config.images_per_unseen_class)
        labels = torch.arange(len(train.seen), device=train.device).repeat_interleave(config.images_per_unseen_class)
    points, all_targets = torch.cat([seen, fake]), torch.cat([labels, targets + len(train.seen)])
    return (
        Neighbours(fake, targets, config.neighbours, config.metric),
        Neighbours(points, all_targets, config.neighbours, config.metric),
    )
