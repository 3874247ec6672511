"""A method of one's own: class means inferred from attributes by ridge regression, nearest mean wins.

    python scripts/train_dcrgan.py --method templates/own-method/nearest_mean.py:METHOD
    python scripts/table.py --methods eszsl dcrgan templates/own-method/nearest_mean.py:METHOD

docs/own-method.md says what the parts are for.
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
    """All that is chosen; each field is a flag `--config.…`."""

    ridge: Positive = 0.1  # weight of ‖W‖² beside the mean squared error over classes

    def __post_init__(self) -> None:
        check_ranges(self)


class NearestMean(nn.Module):
    """Scores are minus the squared distance of a feature to each class's mean."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`
    means: Tensor  # [S + U, D]

    def __init__(self, train: TrainSplit, means: Tensor) -> None:
        super().__init__()
        self.register_buffer("zsl_classes", train.unseen)
        self.register_buffer("gzsl_classes", torch.cat([train.seen, train.unseen]))
        self.register_buffer("means", means)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""
        return -torch.cdist(features, self.means).square()

    def zsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, U]."""
        return self.gzsl_scores(features)[:, -len(self.zsl_classes) :]


@stage  # gives the function its own random state, checks its data and notes which rows it was given
def train_nearest_mean(train: TrainSplit, config: NearestMeanConfig, *, log: Log = silent) -> NearestMean:
    """Regress the seen classes' means [S, D] from their attributes [S, A]; infer those of unseen classes."""
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
