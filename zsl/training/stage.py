"""The stages of the method: functions from a TrainSplit and a config to a trained module.

`stage` gives each one its own random state, refuses anything but a TrainSplit as its data, and notes in it which rows
were read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import nn

from zsl.common.determinism import seeded
from zsl.features.split import RowsRead, TrainSplit

Params = ParamSpec("Params")
Result = TypeVar("Result")


def stage(
    function: Callable[Concatenate[TrainSplit, Params], Result],
) -> Callable[..., Result]:
    """Run `function(train, …)` under a random state that depends on the run's `seed` and the stage's name only.

    The decorated function takes `seed` as one more keyword.  A stage's result is thus the same whether the stages
    before it ran now or came from a checkpoint.  That the stage was given these rows is noted in `train.reads`.

    Raises:
        TypeError: the data is not a TrainSplit, for example a TestSplit.
        FloatingPointError: the data or the result hold values that are not finite.
    """

    @functools.wraps(function)
    def run(train: TrainSplit, *args: Any, seed: int, **kwargs: Any) -> Result:
        if type(train) is not TrainSplit:
            raise TypeError(
                f"{function.__name__} takes a TrainSplit; a {type(train).__name__} holds rows it may not see"
            )
        train.reads.append(RowsRead(function.__name__, train.rows))
        _check_data(train, function.__name__)
        with seeded(seed, function.__name__, train.device):
            result = function(train, *args, **kwargs)
        for part in result if isinstance(result, tuple) else (result,):
            _check_weights(part, function.__name__)
        return result

    return run


def _check_data(train: TrainSplit, stage: str) -> None:
    """Closed forms would spread such a value, or end in an error of linear algebra that says nothing of it."""
    for what, values in (("features", train.features), ("attributes", train.attributes)):
        fine = values.isfinite().all(dim=1)
        if not fine.all():
            first = int((~fine).nonzero()[0])
            whose = f"of row {int(train.rows[first])}" if what == "features" else f"of class {train.class_names[first]}"
            raise FloatingPointError(f"{stage}: the {what} {whose} are not finite; make them anew")


def _check_weights(result: Any, stage: str) -> None:
    for name, value in result.state_dict().items() if isinstance(result, nn.Module) else ():
        if not value.isfinite().all():
            raise FloatingPointError(f"{stage}: {name!r} of its result is not finite; try a smaller learning rate")


def penalised_adam(
    module: nn.Module, weight_decay: float, *, lr: float, betas: tuple[float, float]
) -> torch.optim.Adam:
    """Adam on the loss plus `weight_decay` * ‖θ‖² over the weights, biases left out (eq. 3, 4).

    The penalty's gradient, 2 * weight_decay * θ, is what torch adds for its own `weight_decay` twice as large; so no
    step spends time on a sum over millions of squares.
    """
    weights = [p for p in module.parameters() if p.dim() > 1]
    biases = [p for p in module.parameters() if p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": 2 * weight_decay}, {"params": biases}]
    return torch.optim.Adam(groups, lr=lr, betas=betas, fused=True)
