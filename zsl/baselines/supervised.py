"""Softmax on the seen classes alone: an upper bound on S.  It never names an unseen class, so U and H are 0."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from zsl.baselines.compatibility import ClassScorer, FeatureKind, FeatureMap
from zsl.baselines.logistic import fit_logistic
from zsl.common.ranges import Positive, check_ranges
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig:
    """Multinomial logistic regression on real features."""

    l2: Positive = 1e-2  # of ½‖W‖², beside the mean loss over images
    features: FeatureKind = "standardised"

    def __post_init__(self) -> None:
        check_ranges(self)


class Supervised(ClassScorer):
    """log p(class | x), which is -inf for every unseen class; T1 is thus that of the first one, 1/U."""

    weight: Tensor  # [D, S]
    bias: Tensor  # [S]

    def __init__(self, train: TrainSplit, prepare: FeatureMap, weight: Tensor, bias: Tensor) -> None:
        super().__init__(train)
        self.prepare = prepare
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.eval().requires_grad_(False)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""
        seen = (self.prepare(features) @ self.weight + self.bias).log_softmax(dim=1)
        return torch.cat([seen, seen.new_full((len(seen), len(self.zsl_classes)), -torch.inf)], dim=1)


@stage
def train_supervised(train: TrainSplit, config: SupervisedConfig, *, log: Log = silent) -> Supervised:
    """Fit the softmax on trainval features; attributes play no part."""
    prepare = FeatureMap(train.features, config.features)
    targets = train.seen_labels
    weight, bias = fit_logistic(
        prepare(train.features), len(train.seen), lambda logits: cross_entropy(logits, targets), config.l2,
        "supervised", log,
    )  # fmt: skip
    return Supervised(train, prepare, weight, bias)


METHOD = Method(
    name="supervised",
    steps=one_step(train_supervised),
    config=SupervisedConfig(),
    rounds=(candidates(*(SupervisedConfig(l2=l2) for l2 in (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0))),),
    goal="acc_seen",
    citation="softmax on real features of the seen classes: no zero-shot method, but an upper bound on S",
)
