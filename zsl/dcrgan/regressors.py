"""F1 and F2: the regressors from visual features back to attributes and class representations (eq. 7, 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from zsl.common.ranges import Count, Positive, Whole, check_ranges
from zsl.dcrgan.networks import Output, Regressor
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.loop import Terms, minimise
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class RegressorConfig:
    """The settings of F1 and F2.

    In the paper, F1 and F2 learn in the GAN's loop on generated features: `pretrain_epochs` is 0 and `frozen` is False.
    In the reference code, they learn before the GAN on real features, for 50 and 100 epochs, and are then frozen.
    """

    hidden_dim: Count = 512
    attributes_output: Literal["linear", "relu"] = "linear"  # output of F1; the reference code has a ReLU
    pretrain_epochs: Whole = 0
    pretrain_epochs_representations: Whole | None = None  # epochs of F2; None: as many as F1
    frozen: bool = False
    batch_size: Count = 64
    lr: Positive = 1e-4

    def __post_init__(self) -> None:
        check_ranges(self)


class Regressors(nn.Module):
    """F1, which predicts attributes, and F2, which predicts class representations."""

    def __init__(
        self,
        feature_dim: int,
        hidden_dim: int,
        attribute_dim: int,
        representation_dim: int,
        attributes_output: Output = "linear",
    ) -> None:
        super().__init__()
        self.attributes = Regressor(feature_dim, hidden_dim, attribute_dim, attributes_output)
        self.representations = Regressor(feature_dim, hidden_dim, representation_dim)


@stage
def train_regressors(
    train: TrainSplit, representations: Tensor, config: RegressorConfig, *, log: Log = silent
) -> Regressors:
    """Make F1 and F2 and, if `config` says so, pre-train them on trainval features with the squared error.

    If `config.frozen` is set, the result's parameters take no gradients.

    representations: R(a) of all classes [C, R]; only those of seen classes are used.
    """
    regressors = Regressors(
        train.features.shape[1], config.hidden_dim, train.attributes.shape[1], representations.shape[1],
        config.attributes_output,
    ).to(train.device)  # fmt: skip
    optimizer = torch.optim.Adam(regressors.parameters(), lr=config.lr, fused=True)
    epoch_steps = max(1, len(train.features) // config.batch_size)
    f2_epochs = config.pretrain_epochs_representations
    f1_steps = epoch_steps * config.pretrain_epochs
    f2_steps = f1_steps if f2_epochs is None else epoch_steps * f2_epochs
    steps = max(f1_steps, f2_steps)
    zero = torch.zeros((), device=train.device)  # the term of a regressor after its last epoch

    def errors(step: int) -> Terms:
        batch = torch.randint(len(train.features), (config.batch_size,), device=train.device)
        features, labels = train.features[batch], train.labels[batch]
        terms = {"attributes": zero, "representations": zero}
        if step < f1_steps:
            terms["attributes"] = mse_loss(regressors.attributes(features), train.attributes[labels])
        if step < f2_steps:
            terms["representations"] = mse_loss(regressors.representations(features), representations[labels])
        return terms

    # A regressor without a term in the sum has no gradients, so that Adam does not move it after its last epoch.
    minimise("regressors", steps, regressors, optimizer, errors, log, every=100)
    return regressors.requires_grad_(not config.frozen)
