"""The decorator of stages.  A stage is a function from a TrainSplit and a config to a trained module.

`stage` gives each function its own random state, refuses all data but a TrainSplit, and records the rows that were
read in the split.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import nn

from zsl.common.determinism import seeded
from zsl.common.profile import span
from zsl.features.split import RowsRead, TrainSplit

Params = ParamSpec("Params")
Result = TypeVar("Result")


def stage(
    function: Callable[Concatenate[TrainSplit, Params], Result],
) -> Callable[..., Result]:
    """Let `function(train, …)` run with a random state that depends on the run's `seed` and the stage's name only.

    The decorated function takes `seed` as one more keyword.  A stage gives the same result whether the stages before it
    ran now or came from a checkpoint.  `train.reads` gets a record of the rows that the stage could read.

    Raises:
        TypeError: the data is not a TrainSplit, for example a TestSplit.
        FloatingPointError: the data or the result hold values that are not finite.
    """

    @functools.wraps(function)
    def run(train: TrainSplit, *args: Any, seed: int, **kwargs: Any) -> Result:
        check_split(train, function.__name__)
        train.reads.append(RowsRead(function.__name__, train.rows))
        with seeded(seed, function.__name__, train.device), span(function.__name__.removeprefix("train_")):
            result = function(train, *args, **kwargs)
        for part in result if isinstance(result, tuple) else (result,):
            _check_weights(part, function.__name__)
        return result

    return run


def check_split(train: TrainSplit, stage: str) -> None:
    """Refuse all data but a TrainSplit of finite values.  A closed form would spread the others.

    Raises:
        TypeError: the data is not a TrainSplit.
        FloatingPointError: a feature or an attribute is not finite; the message names its row or class.
    """
    if type(train) is not TrainSplit:
        raise TypeError(f"{stage} takes a TrainSplit; a {type(train).__name__} holds rows it may not see")
    for what, values in (("features", train.features), ("attributes", train.attributes)):
        finite = values.isfinite().all(dim=1)
        if not finite.all():
            first = int((~finite).nonzero()[0])
            whose = f"of row {int(train.rows[first])}" if what == "features" else f"of class {train.class_names[first]}"
            raise FloatingPointError(f"{stage}: the {what} {whose} are not finite; make them anew")


def _check_weights(result: Any, stage: str) -> None:
    for name, value in result.state_dict().items() if isinstance(result, nn.Module) else ():
        if not value.isfinite().all():
            raise FloatingPointError(f"{stage}: {name!r} of its result is not finite; try a smaller learning rate")


def penalised_adam(
    module: nn.Module, weight_decay: float, *, lr: float, betas: tuple[float, float]
) -> torch.optim.Adam:
    """Make Adam for the loss plus `weight_decay` * ‖θ‖², where θ are the weights without the biases (eq. 3, 4).

    The gradient of this penalty is 2 * weight_decay * θ.  torch's own `weight_decay`, set to twice the value, adds it
    without a sum over millions of squares.
    """
    weights = [p for p in module.parameters() if p.dim() > 1]
    biases = [p for p in module.parameters() if p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": 2 * weight_decay}, {"params": biases}]
    return torch.optim.Adam(groups, lr=lr, betas=betas, fused=True)
