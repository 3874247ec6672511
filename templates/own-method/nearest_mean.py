"""A template for your own method: ridge regression infers class means from attributes, and the nearest mean wins.

    python scripts/train_dcrgan.py --method templates/own-method/nearest_mean.py:METHOD
    python scripts/table.py --methods eszsl dcrgan templates/own-method/nearest_mean.py:METHOD

docs/own-method.md explains each part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zsl.common.ranges import Positive, check_ranges
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class NearestMeanConfig:
    """The configuration; each field has a flag `--config.…`."""

    ridge: Positive = 0.1  # weight of ‖W‖² against the mean squared error over classes

    def __post_init__(self) -> None:
        check_ranges(self)


class NearestMean(nn.Module):
    """A model whose scores are minus the squared distance of a feature to each class's mean."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`
    means: Tensor  # [S + U, D]

    def __init__(self, train: TrainSplit, means: Tensor) -> None:
        super().__init__()
        self.register_buffer("zsl_classes", train.unseen)
        self.register_buffer("gzsl_classes", torch.cat([train.seen, train.unseen]))
        self.register_buffer("means", means)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Return the scores [N, S + U] of features [N, D] for all classes."""
        return -torch.cdist(features, self.means).square()

    def zsl_scores(self, features: Tensor) -> Tensor:
        """Return the scores [N, U] of features [N, D] for the unseen classes."""
        return self.gzsl_scores(features)[:, -len(self.zsl_classes) :]


@stage  # gives the function its own random state, checks its data, and notes which rows it gets
def train_nearest_mean(train: TrainSplit, config: NearestMeanConfig, *, log: Log = silent) -> NearestMean:
    """Fit the seen classes' means [S, D] by their attributes [S, A], and infer the means of unseen classes."""
    means = torch.stack([train.features[train.labels == class_id].mean(0) for class_id in train.seen])
    attributes, centre = train.attributes[train.seen], train.attributes[train.seen].mean(0)
    centred = attributes - centre
    gram = centred.T @ centred / len(centred) + config.ridge * torch.eye(centred.shape[1], device=train.device)
    weight = torch.linalg.solve(gram, centred.T @ (means - means.mean(0)) / len(centred))  # W [A, D]
    inferred = (train.attributes[train.unseen] - centre) @ weight + means.mean(0)
    return NearestMean(train, torch.cat([means, inferred]))


METHOD = Method(
    name="nearest-mean",
    steps=one_step(train_nearest_mean),
    config=NearestMeanConfig(),
    rounds=(candidates(*(NearestMeanConfig(ridge=ridge) for ridge in (1e-3, 1e-2, 0.1, 1.0))),),
    goal="acc_zsl",
    citation="the template of docs/own-method.md",
)
