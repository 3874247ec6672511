"""SAE (Kodirov et al. 2017): a linear autoencoder with attributes as its code, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

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

Direction = Literal["to_attributes", "to_features"]


@dataclass(frozen=True, kw_only=True)
class SAEConfig:
    """λ weighs the encoder's error against the decoder's."""

    lam: Positive = 1.0
    direction: Direction = "to_features"  # compare there: the encoded feature (F → S) or the decoded class (S → F)
    features: FeatureKind = "unit"
    attributes: SemanticKind = "centred"

    def __post_init__(self) -> None:
        check_ranges(self)


DIRECTIONS: tuple[Direction, ...] = ("to_attributes", "to_features")
ATTRIBUTES: tuple[SemanticKind, ...] = ("given", "centred")


class SAE(LinearCompatibility):
    """Cosine between encoded feature x W and attributes, or between feature and decoded attributes W a."""

    def __init__(self, train: TrainSplit, prepare: FeatureMap, weight: Tensor, direction: Direction) -> None:
        super().__init__(train, prepare, weight)
        self.direction = direction

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""
        x = self.prepare(features)
        if self.direction == "to_attributes":
            return normalize(x @ self.weight) @ normalize(self.attributes).T
        return normalize(x) @ normalize(self.attributes @ self.weight.T).T


def solve_sae(features: Tensor, attributes: Tensor, lam: float) -> Tensor:
    """W [D, A] that minimises ‖X - S Wᵀ‖² + λ‖X W - S‖² (Kodirov et al. 2017), the shortest if there are many.

    features: X [N, D]; attributes: each image's S [N, A].  The first-order condition is the Sylvester equation
    λ XᵀX W + W SᵀS = (1 + λ) Xᵀ S; both matrices are symmetric, so their eigenvectors turn it into divisions.  A
    general solver takes ten times as long, and fails where N < D, as the equation is singular there.
    """
    x, s = features.double(), attributes.double()
    of_images, q = torch.linalg.eigh(lam * x.T @ x)
    of_classes, p = torch.linalg.eigh(s.T @ s)
    divisor = of_images[:, None] + of_classes[None, :]
    scale = divisor.max()
    solved = q.T @ ((1 + lam) * x.T @ s) @ p / divisor.clamp(min=1e-12 * scale)
    return (q @ solved.masked_fill(divisor < 1e-12 * scale, 0.0) @ p.T).to(features.dtype)


@stage
def train_sae(train: TrainSplit, config: SAEConfig, *, log: Log = silent) -> SAE:
    """Solve for W on trainval features and the attributes of seen classes."""
    train = prepare_attributes(train, config.attributes)
    prepare = FeatureMap(train.features, config.features)
    weight = solve_sae(prepare(train.features), train.attributes[train.labels], config.lam)
    return SAE(train, prepare, weight, config.direction)


METHOD = Method(
    name="sae",
    steps=one_step(train_sae),
    config=SAEConfig(),
    rounds=(
        candidates(
            *(
                SAEConfig(lam=lam, direction=direction, attributes=attributes)
                for direction, attributes, lam in product(DIRECTIONS, ATTRIBUTES, (0.01, 0.1, 1.0, 10.0))
            )
        ),
    ),
    goal="acc_zsl",
    citation="Kodirov, Xiang, Gong: Semantic Autoencoder for Zero-Shot Learning, CVPR 2017",
)
