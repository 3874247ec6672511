"""DAP (Lampert et al. 2014): a probability for each attribute, and of a class by the attributes it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from zsl.baselines.compatibility import ClassScorer, FeatureKind, FeatureMap
from zsl.baselines.logistic import fit_logistic
from zsl.common.ranges import Positive, check_ranges
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class DAPConfig:
    """Logistic regression for each attribute; the paper trains SVMs and calibrates them to probabilities."""

    l2: Positive = 1.0  # of ½‖w‖², beside the mean loss over images
    prior: Literal["seen", "uniform"] = "seen"  # p(attribute): its share of the seen classes, or one half
    features: FeatureKind = "standardised"

    def __post_init__(self) -> None:
        check_ranges(self)


class DAP(ClassScorer):
    """log p(class | x) under equal class priors (Lampert et al. 2014)."""

    weight: Tensor  # [D, M], one column for each of M attributes that tell seen classes apart
    bias: Tensor  # [M]
    prior: Tensor  # [M] p(attribute)
    present: Tensor  # [S + U, M] 1 where the class has the attribute

    def __init__(
        self, train: TrainSplit, prepare: FeatureMap, weight: Tensor, bias: Tensor, prior: Tensor, present: Tensor
    ) -> None:
        """present: [C, M]."""
        super().__init__(train)
        self.prepare = prepare
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("prior", prior)
        self.register_buffer("present", present[self.gzsl_classes])
        self.eval().requires_grad_(False)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]: Σ_m log p(a_m = a_m of the class | x) - log p(a_m), normalised over the classes."""
        logits = self.prepare(features) @ self.weight + self.bias
        present, absent = self.present, 1 - self.present
        evidence = logsigmoid(logits) @ present.T + logsigmoid(-logits) @ absent.T
        prior = present @ self.prior.log() + absent @ (1 - self.prior).log()
        return (evidence - prior).log_softmax(dim=1)


@stage
def train_dap(train: TrainSplit, config: DAPConfig, *, log: Log = silent) -> DAP:
    """Fit the attribute classifiers on trainval features.

    A class has an attribute if its value is above the mean over the seen classes.  An attribute that no seen class or
    every one of them has cannot be learnt, and is left out.
    """
    seen = train.attributes[train.seen]
    present = (train.attributes > seen.mean(0)).to(train.features.dtype)  # [C, A]
    share = present[train.seen].mean(0)
    present = present[:, (share > 0) & (share < 1)]
    share = share[(share > 0) & (share < 1)]
    prepare = FeatureMap(train.features, config.features)
    targets = present[train.labels]

    def loss(logits: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(targets)

    weight, bias = fit_logistic(prepare(train.features), present.shape[1], loss, config.l2, "DAP", log)
    prior = share if config.prior == "seen" else torch.full_like(share, 0.5)
    return DAP(train, prepare, weight, bias, prior, present)


METHOD = Method(
    name="dap",
    steps=one_step(train_dap),
    config=DAPConfig(),
    rounds=(
        candidates(
            *(DAPConfig(l2=l2) for l2 in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)),
            *(DAPConfig(l2=l2, prior="uniform") for l2 in (0.1, 1.0)),
        ),
    ),
    goal="acc_zsl",
    citation=(
        "Lampert, Nickisch, Harmeling: Attribute-Based Classification for Zero-Shot Visual Object "
        "Categorization, TPAMI 2014"
    ),
)
