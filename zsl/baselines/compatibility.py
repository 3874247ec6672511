"""The shared parts of the baselines: input scaling, the score x W a, and the training of W by a ranking loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from zsl.baselines.batches import BatchConfig, fit_batches
from zsl.common.ranges import Positive
from zsl.features.split import TrainSplit, centre_attributes
from zsl.training.log import Log

FeatureKind = Literal["given", "centred", "standardised", "unit"]
SemanticKind = Literal["given", "centred"]
RankingLoss = Callable[[Tensor, Tensor, float], Tensor]  # scores [B, S], targets [B], margin


class FeatureMap(nn.Module):
    """The map from a split's features to a method's inputs; mean and spread are those of the trainval features.

    - "given": features in [0, 1], as in the split
    - "centred": features minus their mean
    - "standardised": centred features divided by their standard deviation
    - "unit": centred features divided by their length
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trainval: Tensor, kind: FeatureKind) -> None:
        super().__init__()
        std = trainval.std(0)
        self.kind = kind
        self.register_buffer("mean", torch.zeros_like(std) if kind == "given" else trainval.mean(0))
        self.register_buffer("std", torch.where(std > 0, std, 1.0) if kind == "standardised" else torch.ones_like(std))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, D] to inputs [N, D]."""
        inputs = (features - self.mean) / self.std
        return normalize(inputs) if self.kind == "unit" else inputs


def prepare_attributes(train: TrainSplit, kind: SemanticKind) -> TrainSplit:
    """Return the split with the attributes of the split file ("given") or with centred attributes ("centred").

    The split file's attributes have length 1 for each class, as the papers want.  Centred attributes are these minus
    the mean of the seen classes, scaled to a mean length of 1 over the seen classes.  Centring gives ESZSL 12 points of
    T1 with "given" features, and none with centred features (50 classes of CUB, mean over the validation folds).
    """
    return centre_attributes(train, 1.0) if kind == "centred" else train


class ClassScorer(nn.Module):
    """A model with one column for each class: first the seen classes, then the unseen classes, the last U columns."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`

    def __init__(self, train: TrainSplit) -> None:
        super().__init__()
        self.register_buffer("zsl_classes", train.unseen)
        self.register_buffer("gzsl_classes", torch.cat([train.seen, train.unseen]))

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""
        raise NotImplementedError

    def zsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of unseen classes [N, U]."""
        return self.gzsl_scores(features)[:, len(self.gzsl_classes) - len(self.zsl_classes) :]


class LinearCompatibility(ClassScorer):
    """The bilinear score F(x, y) = x W a_y, which has one scale for seen and unseen classes."""

    weight: Tensor  # W [D, A]
    attributes: Tensor  # [S + U, A]; nothing before this uses attributes of unseen classes

    def __init__(self, train: TrainSplit, prepare: FeatureMap, weight: Tensor) -> None:
        super().__init__(train)
        self.prepare = prepare
        self.register_buffer("weight", weight)
        self.register_buffer("attributes", train.attributes[self.gzsl_classes])
        self.eval().requires_grad_(False)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""
        return self.prepare(features) @ (self.weight @ self.attributes.T)


@dataclass(frozen=True, kw_only=True)
class RankingConfig(BatchConfig):
    """The settings of Adam on a ranking loss over random batches; the methods' papers use plain SGD.

    A margin m times as large changes nothing, if lr is m times as large and weight_decay m times as small.  The best W,
    and Adam's path from 0 to it, are then m times as large.  So the candidates all have one margin.
    """

    margin: Positive = 1.0  # by which the score of the true class should be the highest
    features: FeatureKind = "given"
    attributes: SemanticKind = "centred"


Config = TypeVar("Config", bound=RankingConfig)


def ranking_candidates(config_type: type[Config]) -> tuple[Config, ...]:
    """List configurations with short and long training, little and much weight decay, and both kinds of features."""
    kinds: tuple[FeatureKind, ...] = ("given", "centred")
    return tuple(
        config_type(features=features, steps=steps, weight_decay=weight_decay)
        for features, steps, weight_decay in product(kinds, (100, 300), (1e-3, 1e-2, 3e-2, 1e-1))
    )


def fit_ranking(
    train: TrainSplit, config: RankingConfig, loss: RankingLoss, name: str, log: Log
) -> LinearCompatibility:
    """Minimise `loss` of the seen classes' scores over W.  The scores are linear in W, so W can start from 0."""
    train = prepare_attributes(train, config.attributes)
    prepare = FeatureMap(train.features, config.features)
    inputs, targets, seen = prepare(train.features), train.seen_labels, train.attributes[train.seen]
    weight = nn.Parameter(torch.zeros(inputs.shape[1], seen.shape[1], device=train.device))

    def batch_loss(x: Tensor, y: Tensor) -> Tensor:
        return loss(x @ (weight @ seen.T), y, config.margin)

    fit_batches(inputs, targets, nn.ParameterList([weight]), batch_loss, config, name, log)
    return LinearCompatibility(train, prepare, weight.detach())


def margins(scores: Tensor, targets: Tensor, margin: float | Tensor) -> Tensor:
    """Compute Δ(y, k) + F(x, k) - F(x, y) [B, S] of scores [B, S], targets y [B].

    margin: Δ(y, k), one number or [B, S].  For k = y the result is 0.
    """
    true = one_hot(targets, scores.shape[1]).bool()
    return (scores - scores.gather(1, targets[:, None]) + margin).masked_fill(true, 0.0)
