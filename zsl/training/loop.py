"""The loop of a stage that minimises one sum of losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zsl.training.log import Log, Watch

Terms = Mapping[str, Tensor]


def minimise(
    stage: str,
    steps: int,
    module: nn.Module,
    optimizer: Optimizer,
    terms: Callable[[int], Terms],
    log: Log,
    *,
    every: int,
    others: Mapping[str, Optimizer] | None = None,
) -> None:
    """Take `steps` steps of `optimizer`, each on the sum of the losses that `terms` returns for the step's number.

    A killed stage goes on at its last checkpoint, with equal bits.

    module: holds all parameters that learn.  every: the steps between two lines of the log.  others: further optimizers
    that `terms` itself steps; a loss of theirs is returned detached, for the log alone.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    watch = Watch(log, stage, steps=steps, every=every, device=next(module.parameters()).device)
    optimizers = {"optimizer": optimizer, **(others or {})}
    for step in log.steps(stage, steps, {"module": module, "watch": watch}, optimizers):
        values = terms(step)
        descend(optimizer, reduce(torch.add, values.values()))
        watch(step, values)


def descend(optimizer: Optimizer, loss: Tensor) -> None:
    """Take one step of `optimizer` on `loss`, one number."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
