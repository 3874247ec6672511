"""Regularised linear classifiers, trained by L-BFGS for all outputs at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zsl.training.log import Log, Watch


def fit_logistic(
    inputs: Tensor,
    outputs: int,
    loss: Callable[[Tensor], Tensor],
    l2: float,
    name: str,
    log: Log,
    *,
    steps: int = 30,
    bias: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return the W [D, outputs] and b [outputs] that minimise loss(x W + b) + l2 / 2 ‖W‖².

    XᵀX / 4N is an upper bound of the logistic loss's curvature (Böhning 1992).  The search uses coordinates in which
    this bound is the identity; there a few steps are enough.  In the plain coordinates a hundred steps are not enough,
    because the features' spread differs much between directions.

    inputs: x [N, D] of mean 0.  outputs: the number of outputs.  loss: maps logits [N, outputs] to a mean over images.
    bias: whether b is fitted; otherwise it is 0, and the mean of x may be any.
    """
    spread, q = torch.linalg.eigh(inputs.T @ inputs / (4 * len(inputs)))
    bound = spread.clamp(min=0) + l2
    coordinates = q / bound.sqrt()  # [D, D]: W = coordinates @ free
    constant = torch.full_like(inputs[:, :1], 2.0 if bias else 0.0)  # the curvature of a bias is 1/4
    scaled = torch.cat([inputs @ coordinates, constant], dim=1)
    penalty = torch.cat([l2 / bound, bound.new_zeros(1)])[:, None]
    free = nn.Parameter(torch.zeros(scaled.shape[1], outputs, dtype=inputs.dtype, device=inputs.device))
    optimizer = torch.optim.LBFGS([free], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        return loss(scaled @ free) + (penalty * free.square()).sum() / 2

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
