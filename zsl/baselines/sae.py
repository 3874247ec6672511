"""SAE (Kodirov et al. 2017): a linear autoencoder whose code is the attributes, in closed form."""

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
    """The settings of SAE; `lam` is λ, the weight of the encoder's error beside the decoder's."""

    lam: Positive = 1.0
    direction: Direction = "to_features"  # compare encoded features (F → S) or decoded classes (S → F)
    features: FeatureKind = "unit"
    attributes: SemanticKind = "centred"

    def __post_init__(self) -> None:
        check_ranges(self)


DIRECTIONS: tuple[Direction, ...] = ("to_attributes", "to_features")
ATTRIBUTES: tuple[SemanticKind, ...] = ("given", "centred")


class SAE(LinearCompatibility):
    """The model of SAE: its score is the cosine between x W and attributes a, or between features x and W a."""

    def __init__(self, train: TrainSplit, prepare: FeatureMap, weight: Tensor, direction: Direction) -> None:
        super().__init__(train, prepare, weight)
        self.direction = direction

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""
        x = self.prepare(features)
        if self.direction == "to_attributes":
            return normalize(x @ self.weight) @ normalize(self.attributes).T
        return normalize(x) @ normalize(self.attributes @ self.weight.T).T


def solve_sae(features: Tensor, attributes: Tensor, lam: float) -> Tensor:
    """Return the W [D, A] that minimises ‖X - S Wᵀ‖² + λ‖X W - S‖² (Kodirov et al. 2017), the shortest of several.

    The first-order condition is the Sylvester equation λ XᵀX W + W SᵀS = (1 + λ) Xᵀ S.  XᵀX and SᵀS are symmetric, so
    their eigenvectors turn the equation into divisions.  A general solver takes ten times as long.  It also fails where
    N < D, because the equation is singular there.

    features: X [N, D].  attributes: S, the attributes of each image's class [N, A].
    """
    x, s = features.double(), attributes.double()
    image_values, q = torch.linalg.eigh(lam * x.T @ x)  # eigenvalues [D]
    class_values, p = torch.linalg.eigh(s.T @ s)  # eigenvalues [A]
    divisor = image_values[:, None] + class_values[None, :]
    scale = divisor.max()
    solution = q.T @ ((1 + lam) * x.T @ s) @ p / divisor.clamp(min=1e-12 * scale)
    return (q @ solution.masked_fill(divisor < 1e-12 * scale, 0.0) @ p.T).to(features.dtype)


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
    quick=True,
    config=SAEConfig(),
    rounds=(
        candidates(
            *(
                SAEConfig(lam=lam, direction=direction, attributes=attributes)
                for direction, attributes, lam in product(DIRECTIONS, ATTRIBUTES, (0.01, 0.1, 1.0, 10.0))
            )
        ),
    ),
    citation="Kodirov, Xiang, Gong: Semantic Autoencoder for Zero-Shot Learning, CVPR 2017",
)
