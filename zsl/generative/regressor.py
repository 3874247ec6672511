"""A regressor from features to attributes that is trained on real features of seen classes, then frozen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import mse_loss

from zsl.common.ranges import Count, Positive, Whole, check_ranges
from zsl.features.split import TrainSplit
from zsl.training.log import Log
from zsl.training.loop import Terms, minimise


@dataclass(frozen=True, kw_only=True)
class RegressionConfig:
    """The settings of the training."""

    steps: Whole = 400
    batch_size: Count = 256
    lr: Positive = 1e-3

    def __post_init__(self) -> None:
        check_ranges(self)


def fit_regressor(regressor: nn.Module, train: TrainSplit, config: RegressionConfig, log: Log) -> nn.Module:
    """Train `regressor` (features [N, D] to attributes [N, A]) by the mean squared error, freeze and return it."""
    regressor = regressor.to(train.device)
    optimizer = torch.optim.Adam(regressor.parameters(), lr=config.lr, fused=True)

    def error(_: int) -> Terms:
        batch = torch.randint(len(train.features), (config.batch_size,), device=train.device)
        return {"attributes": mse_loss(regressor(train.features[batch]), train.attributes[train.labels[batch]])}

    minimise("regressor", config.steps, regressor, optimizer, error, log, every=100)
    return regressor.eval().requires_grad_(False)
