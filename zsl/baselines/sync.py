"""SYNC (Changpinyo et al. 2016): the classifier of an unseen class is a mixture of base classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from zsl.baselines.compatibility import ClassScorer, FeatureKind, FeatureMap
from zsl.baselines.logistic import fit_logistic
from zsl.common.ranges import Positive, check_ranges
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class SYNCConfig:
    """The settings of SYNC with one-versus-other classifiers, and the seen classes as phantom classes."""

    lam: Positive = 1e-3  # λ, the weight of ½‖W‖² beside the mean loss over images and classes
    sigma: Positive = 0.25  # σ: how fast similarity falls with the squared distance of attributes
    features: FeatureKind = "unit"

    def __post_init__(self) -> None:
        check_ranges(self)


class SYNC(ClassScorer):
    """The model of SYNC: its score is x Vᵀ s_y, where s_y has the similarities of class y to the phantom classes."""

    bases: Tensor  # V [S, D], the classifiers of the phantom classes
    similarity: Tensor  # [S + U, S], each row sums to 1

    def __init__(self, train: TrainSplit, prepare: FeatureMap, bases: Tensor, similarity: Tensor) -> None:
        super().__init__(train)
        self.prepare = prepare
        self.register_buffer("bases", bases)
        self.register_buffer("similarity", similarity)
        self.eval().requires_grad_(False)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""
        classifiers = self.similarity @ self.bases
        return (self.prepare(features).to(classifiers.dtype) @ classifiers.T).to(features.dtype)


def one_versus_other_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean over images and classes of max(0, 1 - t F(x, c))², t = 1 for the true class, else -1 (eq. 3 of the paper).

    scores: [N, S].  targets: true columns y [N].
    """
    signs = 2 * one_hot(targets, scores.shape[1]) - 1
    return (1 - signs * scores).clamp(min=0).square().mean()


def similarities(attributes: Tensor, phantoms: Tensor, sigma: float) -> Tensor:
    """Compute s_cr = exp(-σ‖a_c - b_r‖²) / Σ_r' exp(-σ‖a_c - b_r'‖²) [C, R] of attributes [C, A], phantoms b [R, A]."""
    return (-sigma * torch.cdist(attributes.double(), phantoms.double()).square()).softmax(dim=1)


def fit_one_versus_other(inputs: Tensor, targets: Tensor, classes: int, lam: float, log: Log) -> Tensor:
    """Return the classifiers W [S, D] that minimise the one-versus-other loss plus λ/2 ‖W‖², without biases.

    `fit_logistic` wants a loss with a curvature of at most XᵀX / 4N.  That of the squared hinge is 2 XᵀX / NS.  So loss
    and λ are multiplied by S / 8.
    """
    scale = classes / 8
    weight, _ = fit_logistic(
        inputs, classes, lambda scores: scale * one_versus_other_loss(scores, targets), scale * lam, "SYNC", log,
        steps=50, bias=False,
    )  # fmt: skip
    return weight.T


@stage
def train_sync(train: TrainSplit, config: SYNCConfig, *, log: Log = silent) -> SYNC:
    """Fit W on trainval features, and solve W = S_ss V for V with the attributes of seen classes."""
    prepare = FeatureMap(train.features, config.features)
    weight = fit_one_versus_other(prepare(train.features), train.seen_labels, len(train.seen), config.lam, log)
    phantoms, everyone = train.attributes[train.seen], torch.cat([train.seen, train.unseen])
    bases = torch.linalg.pinv(similarities(phantoms, phantoms, config.sigma)) @ weight.double()
    return SYNC(train, prepare, bases, similarities(train.attributes[everyone], phantoms, config.sigma))


METHOD = Method(
    name="sync",
    steps=one_step(train_sync),
    config=SYNCConfig(),
    rounds=(
        candidates(
            *(SYNCConfig(lam=lam, sigma=sigma) for lam, sigma in product((3e-4, 1e-3, 3e-3), (0.0625, 0.25, 1.0, 4.0))),
        ),
    ),
    citation="Changpinyo, Chao, Gong, Sha: Synthesized Classifiers for Zero-Shot Learning, CVPR 2016",
)
