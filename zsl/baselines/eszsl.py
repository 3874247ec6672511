"""ESZSL (Romera-Paredes & Torr 2015): a bilinear score under squared loss and three penalties, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from zsl.baselines.compatibility import (
    FeatureKind,
    FeatureMap,
    LinearCompatibility,
    SemanticKind,
    prepare_attributes,
)
from zsl.common.ranges import Positive, check_ranges
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class ESZSLConfig:
    """The settings of ESZSL.

    The paper's γ is `gamma` times the number of images, and its λ is `lam` times the number of seen classes.  So equal
    values have equal effects on every benchmark.
    """

    gamma: Positive = 1.0  # weight of ‖V a‖² over the seen classes
    lam: Positive = 3e-3  # weight of ‖x V‖² over the images
    features: FeatureKind = "centred"
    attributes: SemanticKind = "centred"

    def __post_init__(self) -> None:
        check_ranges(self)


GAMMAS = (0.01, 0.1, 1.0, 10.0)


def solve_eszsl(features: Tensor, targets: Tensor, attributes: Tensor, gamma: float, lam: float) -> Tensor:
    """Return the V [D, A] that minimises ‖XVSᵀ - Y‖²/(NS) + γ‖VSᵀ‖²/S + λ‖XV‖²/N + γλ‖V‖².

    features: X [N, D].  targets: columns of the true classes [N]; Y is 1 there and -1 elsewhere.  attributes: those of
    the seen classes [S, A].
    """
    x, s = features.double(), attributes.double()
    y = 2 * one_hot(targets, len(s)).double() - 1
    images = x.T @ x / len(x) + gamma * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    classes = s.T @ s / len(s) + lam * torch.eye(s.shape[1], dtype=x.dtype, device=x.device)
    right = torch.cholesky_solve(x.T @ y @ s / y.numel(), torch.linalg.cholesky(images))
    return torch.cholesky_solve(right.T, torch.linalg.cholesky(classes)).T.to(features.dtype)


@stage
def train_eszsl(train: TrainSplit, config: ESZSLConfig, *, log: Log = silent) -> LinearCompatibility:
    """Solve for V on trainval features and the attributes of seen classes."""
    train = prepare_attributes(train, config.attributes)
    prepare = FeatureMap(train.features, config.features)
    weight = solve_eszsl(
        prepare(train.features), train.seen_labels, train.attributes[train.seen], config.gamma, config.lam
    )
    return LinearCompatibility(train, prepare, weight)


METHOD = Method(
    name="eszsl",
    steps=one_step(train_eszsl),
    quick=True,
    config=ESZSLConfig(),
    rounds=(
        candidates(
            *(ESZSLConfig(gamma=gamma, lam=lam) for gamma, lam in product(GAMMAS, (3e-4, 3e-3, 3e-2))),
            *(
                ESZSLConfig(gamma=gamma, lam=3e-5, features="given", attributes="given") for gamma in GAMMAS
            ),  # as in the paper
        ),
    ),
    citation="Romera-Paredes, Torr: An Embarrassingly Simple Approach to Zero-Shot Learning, ICML 2015",
)
