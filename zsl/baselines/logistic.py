"""Regularised linear classifiers by L-BFGS, all outputs at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zsl.training.log import Log, Watch


def fit_logistic(
    inputs: Tensor, outputs: int, loss: Callable[[Tensor], Tensor], l2: float, name: str, log: Log, steps: int = 30
) -> tuple[Tensor, Tensor]:
    """W [D, outputs] and b [outputs] that minimise loss(x W + b) + l2 / 2 ‖W‖², for inputs [N, D] of mean 0.

    `loss` takes logits [N, outputs] to a mean over the images.  The logistic loss curves nowhere more than XᵀX / 4N
    (Böhning 1992).  In coordinates in which this bound is the identity a handful of steps do; in the plain ones a
    hundred do not, as the features' spread differs so much from one direction to another.
    """
    spread, q = torch.linalg.eigh(inputs.T @ inputs / (4 * len(inputs)))
    bound = spread.clamp(min=0) + l2
    coordinates = q / bound.sqrt()  # [D, D]: W = coordinates @ free
    moved = torch.cat([inputs @ coordinates, torch.full_like(inputs[:, :1], 2.0)], dim=1)  # curvature of a bias: 1/4
    penalty = torch.cat([l2 / bound, bound.new_zeros(1)])[:, None]
    free = nn.Parameter(torch.zeros(moved.shape[1], outputs, dtype=inputs.dtype, device=inputs.device))
    optimizer = torch.optim.LBFGS([free], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        return loss(moved @ free) + (penalty * free.square()).sum() / 2

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective()
        value.backward()
        return value

    watch = Watch(log, name, steps=1, every=1, device=inputs.device)
    for step in log.steps(name, 1, {"weights": nn.ParameterDict({"free": free})}, {}):  # all of L-BFGS is one step
        optimizer.step(closure)
        with torch.no_grad():
            watch(step, {"objective": objective()})
    return coordinates @ free[:-1].detach(), 2.0 * free[-1].detach()
