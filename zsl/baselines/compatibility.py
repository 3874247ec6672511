"""What the linear baselines share: prepared inputs, scores x W a over classes, and training W by a ranking loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from zsl.common.ranges import Count, NotNegative, Positive, check_ranges
from zsl.features.split import TrainSplit, centre_attributes
from zsl.training.log import Log, Watch

FeatureKind = Literal["given", "centred", "standardised", "unit"]
SemanticKind = Literal["given", "centred"]
RankingLoss = Callable[[Tensor, Tensor, float], Tensor]  # scores [B, S], targets [B], margin


class FeatureMap(nn.Module):
    """Features as a method takes them; mean and spread are those of the trainval features.

    given: scaled to [0, 1], as in the split; centred: minus the mean; standardised: and divided by the standard
    deviation; unit: centred and of length 1.
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
        """[N, D] to [N, D]."""
        moved = (features - self.mean) / self.std
        return normalize(moved) if self.kind == "unit" else moved


def prepare_attributes(train: TrainSplit, kind: SemanticKind) -> TrainSplit:
    """The same split with attributes as given (`att` has length 1 a class, as the papers want) or centred.

    Centred: minus the seen classes' mean, scaled to a mean length of 1 over them.  It gives ESZSL 12 points of T1 where
    features are as given, and nothing where they are centred too (50 classes of CUB, mean over the validation folds).
    """
    return centre_attributes(train, 1.0) if kind == "centred" else train


class ClassScorer(nn.Module):
    """A model with one column a class, the seen before the unseen; scores of unseen classes are its last U columns."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`

    def __init__(self, train: TrainSplit) -> None:
        super().__init__()
        self.register_buffer("zsl_classes", train.unseen)
        self.register_buffer("gzsl_classes", torch.cat([train.seen, train.unseen]))

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""
        raise NotImplementedError

    def zsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, U]."""
        return self.gzsl_scores(features)[:, len(self.gzsl_classes) - len(self.zsl_classes) :]


class LinearCompatibility(ClassScorer):
    """F(x, y) = x W a_y: one scale for seen and unseen classes."""

    weight: Tensor  # W [D, A]
    attributes: Tensor  # [S + U, A], here unseen ones play their first part

    def __init__(self, train: TrainSplit, prepare: FeatureMap, weight: Tensor) -> None:
        super().__init__(train)
        self.prepare = prepare
        self.register_buffer("weight", weight)
        self.register_buffer("attributes", train.attributes[self.gzsl_classes])
        self.eval().requires_grad_(False)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""
        return self.prepare(features) @ (self.weight @ self.attributes.T)


@dataclass(frozen=True, kw_only=True)
class RankingConfig:
    """Adam on a ranking loss over random batches; the papers of the three methods use plain SGD.

    With the margin, the best W and Adam's path to it from 0 grow in proportion, if lr grows with the margin and
    weight_decay with its inverse; so the candidates differ in the latter two alone.
    """

    margin: Positive = 1.0  # by which the true class is to win
    steps: Count = 300
    batch_size: Count = 256
    lr: Positive = 2e-3  # of the first step; falls to 0 along a line
    weight_decay: NotNegative = 1e-2  # weight of ‖W‖²
    features: FeatureKind = "given"
    attributes: SemanticKind = "centred"

    def __post_init__(self) -> None:
        check_ranges(self)


Config = TypeVar("Config", bound=RankingConfig)


def ranking_candidates(config_type: type[Config]) -> tuple[Config, ...]:
    """Long and short training, with much and little decay, on both kinds of features."""
    kinds: tuple[FeatureKind, ...] = ("given", "centred")
    return tuple(
        config_type(features=features, steps=steps, weight_decay=weight_decay)
        for features, steps, weight_decay in product(kinds, (100, 300), (1e-3, 1e-2, 3e-2, 1e-1))
    )


def fit_ranking(
    train: TrainSplit, config: RankingConfig, loss: RankingLoss, name: str, log: Log
) -> LinearCompatibility:
    """Minimise `loss` of the seen classes' scores.  They are linear in W, so it may start from 0."""
    train = prepare_attributes(train, config.attributes)
    prepare = FeatureMap(train.features, config.features)
    inputs, targets, seen = prepare(train.features), train.seen_labels, train.attributes[train.seen]
    weight = nn.Parameter(torch.zeros(inputs.shape[1], seen.shape[1], device=train.device))
    rates = list(accumulate(range(config.steps, 0, -1), lambda rate, left: rate * (1 - 1 / left), initial=config.lr))
    optimizer = torch.optim.Adam([weight], lr=config.lr, weight_decay=2 * config.weight_decay, fused=True)
    watch = Watch(log, name, steps=config.steps, every=20, device=train.device)
    modules = {"weight": nn.ParameterList([weight]), "watch": watch}
    for step in log.steps(name, config.steps, modules, {"weight": optimizer}):
        optimizer.param_groups[0]["lr"] = rates[step]  # of the step alone: whatever a killed run goes on from
        batch = torch.randint(len(inputs), (config.batch_size,), device=train.device)
        value = loss(inputs[batch] @ (weight @ seen.T), targets[batch], config.margin)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        watch(step, {"loss": value})
    return LinearCompatibility(train, prepare, weight.detach())


def margins(scores: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Δ(y, k) + F(x, k) - F(x, y) for scores [B, S], targets y [B]; Δ is `margin`, and 0 for k = y; [B, S]."""
    true = one_hot(targets, scores.shape[1]).bool()
    return (scores - scores.gather(1, targets[:, None]) + margin).masked_fill(true, 0.0)
