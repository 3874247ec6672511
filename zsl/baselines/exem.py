"""EXEM (Changpinyo et al. 2017): predict each class's mean feature from its attributes, then take the nearest mean."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from zsl.baselines.compatibility import ClassScorer
from zsl.common.ranges import Count, Portion, Positive, check_ranges
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage

Distance = Literal["plain", "standardised"]


@dataclass(frozen=True, kw_only=True)
class EXEMConfig:
    """The settings of EXEM with one nearest neighbour among the predicted exemplars."""

    components: Count = 500  # number of principal components, at most as many as the features have
    cost: Positive = 8.0  # C of the support vector regressions: the bound of a class's weight
    nu: Portion = 0.5  # ν: a bound of the share of classes outside the tube
    gamma: Positive = 1.0  # γ of the kernel exp(-γ ‖a - b‖²)
    distance: Distance = "standardised"  # whether a difference counts in units of the spread within classes

    def __post_init__(self) -> None:
        check_ranges(self)


class EXEM(ClassScorer):
    """The model of EXEM: its score is minus the Euclidean distance between a projected feature and an exemplar."""

    exemplars: Tensor  # [S + U, P], predicted for seen and unseen classes alike
    mean: Tensor  # [D]
    projection: Tensor  # [D, P]

    def __init__(self, train: TrainSplit, mean: Tensor, projection: Tensor, exemplars: Tensor) -> None:
        super().__init__(train)
        self.register_buffer("mean", mean)
        self.register_buffer("projection", projection)
        self.register_buffer("exemplars", exemplars)
        self.eval().requires_grad_(False)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""
        return -torch.cdist((features - self.mean) @ self.projection, self.exemplars)


def principal_components(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean [D] and the first principal directions [D, P] of features [N, D], P ≤ `count`."""
    mean = features.mean(0)
    centred = (features - mean).double()
    spread, directions = torch.linalg.eigh(centred.T @ centred)
    rank = int((spread > 1e-10 * spread[-1]).sum())
    return mean, directions.flip(1)[:, : min(count, rank)].to(features.dtype)


def class_statistics(projected: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return each class's mean [S, P], and the mean over classes of the standard deviation within a class [P].

    projected: [N, P].  targets: classes of the rows [N].
    """
    of_class = [projected[targets == c] for c in range(classes)]
    means = torch.stack([rows.mean(0) for rows in of_class])
    spread = torch.stack([rows.std(0, correction=0) for rows in of_class]).mean(0)
    return means, torch.where(spread > 0, spread, 1.0)


def predict_exemplars(attributes: Tensor, known: Tensor, means: Tensor, config: EXEMConfig) -> Tensor:
    """Predict exemplars [C, P] from attributes [C, A], with one support vector regression (ν-SVR) for each component.

    The regressions run on the CPU, in double precision.

    known: attributes of the seen classes [S, A].  means: their projected means [S, P].
    """
    from sklearn.svm import NuSVR  # takes half a second, which other methods need not wait for

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (-config.gamma * torch.cdist(a.double().cpu(), b.double().cpu()).square()).exp()

    fit, predict = kernel(known, known).numpy(), kernel(attributes, known).numpy()
    svr = NuSVR(kernel="precomputed", C=config.cost, nu=config.nu)
    columns = (svr.fit(fit, column).predict(predict) for column in means.double().cpu().T.numpy())
    return torch.stack([torch.from_numpy(column) for column in columns], dim=1).to(means)


@stage
def train_exem(train: TrainSplit, config: EXEMConfig, *, log: Log = silent) -> EXEM:
    """Fit projection and regressions on trainval features and the attributes of seen classes."""
    mean, projection = principal_components(train.features, config.components)
    means, spread = class_statistics((train.features - mean) @ projection, train.seen_labels, len(train.seen))
    if config.distance == "standardised":
        projection_of_scores, unit = projection / spread, spread
    else:
        projection_of_scores, unit = projection, torch.ones_like(spread)
    everyone = torch.cat([train.seen, train.unseen])
    exemplars = predict_exemplars(train.attributes[everyone], train.attributes[train.seen], means, config)
    return EXEM(train, mean, projection_of_scores, exemplars / unit)


DISTANCES: tuple[Distance, ...] = ("plain", "standardised")

METHOD = Method(
    name="exem",
    steps=one_step(train_exem),
    quick=True,
    config=EXEMConfig(),
    rounds=(
        candidates(
            *(
                EXEMConfig(gamma=gamma, cost=cost, distance=distance)
                for gamma, cost, distance in product((0.25, 1.0, 4.0), (1.0, 8.0), DISTANCES)
            ),
        ),
    ),
    citation="Changpinyo, Chao, Sha: Predicting Visual Exemplars of Unseen Classes for Zero-Shot Learning, ICCV 2017",
)
