"""The training of a method by random batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from zsl.common.ranges import Count, NotNegative, Positive, check_ranges
from zsl.training.log import Log
from zsl.training.loop import Terms, minimise
from zsl.training.stage import penalised_adam

BatchLoss = Callable[[Tensor, Tensor], Tensor]  # inputs [B, D], targets [B]


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """The settings of Adam on a mean loss over random batches."""

    steps: Count = 300
    batch_size: Count = 256
    lr: Positive = 2e-3  # learning rate of the first step; it falls to 0 along a line
    weight_decay: NotNegative = 1e-2  # weight of ‖W‖², without biases

    def __post_init__(self) -> None:
        check_ranges(self)


def fit_batches(
    inputs: Tensor, targets: Tensor, module: nn.Module, loss: BatchLoss, config: BatchConfig, name: str, log: Log
) -> None:
    """Minimise the mean of `loss` over inputs [N, D] and targets [N] by the parameters of `module`."""
    rates = list(accumulate(range(config.steps, 0, -1), lambda rate, left: rate * (1 - 1 / left), initial=config.lr))
    optimizer = penalised_adam(module, config.weight_decay, lr=config.lr, betas=(0.9, 0.999))

    def loss_at(step: int) -> Terms:
        for group in optimizer.param_groups:
            group["lr"] = rates[step]  # depends on the step alone, so a resumed run has the same rates
        batch = torch.randint(len(inputs), (config.batch_size,), device=inputs.device)
        return {"loss": loss(inputs[batch], targets[batch])}

    minimise(name, config.steps, module, optimizer, loss_at, log, every=20)
