"""DAP (Lampert et al. 2014): the probabilities of attributes give the probabilities of classes."""

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
    """The settings of one logistic regression per attribute; the paper trains SVMs and calibrates their outputs."""

    l2: Positive = 1.0  # weight of ½‖w‖² beside the mean loss over images
    prior: Literal["seen", "uniform"] = "seen"  # p(attribute): the share of seen classes that have it, or one half
    features: FeatureKind = "standardised"

    def __post_init__(self) -> None:
        check_ranges(self)


class DAP(ClassScorer):
    """The model of DAP: its scores are log p(class | x) for equal class priors (Lampert et al. 2014)."""

    weight: Tensor  # [D, M], one column for each of the M attributes that some seen classes have and others have not
    bias: Tensor  # [M]
    prior: Tensor  # [M] p(attribute)
    present: Tensor  # [S + U, M], 1 where the class has the attribute, else 0

    def __init__(
        self, train: TrainSplit, prepare: FeatureMap, weight: Tensor, bias: Tensor, prior: Tensor, present: Tensor
    ) -> None:
        """Set the model up; `present` is [C, M], by class id."""
        super().__init__(train)
        self.prepare = prepare
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("prior", prior)
        self.register_buffer("present", present[self.gzsl_classes])
        self.eval().requires_grad_(False)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Compute Σ_m log p(a_m = a_m of the class | x) - log p(a_m), normalised over classes: [N, D] to [N, S + U]."""
        logits = self.prepare(features) @ self.weight + self.bias
        present, absent = self.present, 1 - self.present
        evidence = logsigmoid(logits) @ present.T + logsigmoid(-logits) @ absent.T
        prior = present @ self.prior.log() + absent @ (1 - self.prior).log()
        return (evidence - prior).log_softmax(dim=1)


@stage
def train_dap(train: TrainSplit, config: DAPConfig, *, log: Log = silent) -> DAP:
    """Fit the attribute classifiers on trainval features.

    A class has an attribute if its value is above the mean over the seen classes.  An attribute of no seen class, or of
    all seen classes, cannot be learnt and is left out.
    """
    seen = train.attributes[train.seen]
    present = (train.attributes > seen.mean(0)).to(train.features.dtype)  # [C, A]
    share = present[train.seen].mean(0)
    present = present[:, (share > 0) & (share < 1)]
    share = share[(share > 0) & (share < 1)]
    if not len(share):
        raise ValueError("no attribute tells the seen classes apart: each is above its mean in all of them or in none")
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
    citation=(
        "Lampert, Nickisch, Harmeling: Attribute-Based Classification for Zero-Shot Visual Object "
        "Categorization, TPAMI 2014"
    ),
)
