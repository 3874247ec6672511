"""F1 and F2: regressors from visual features back to attributes and class representations (eq. 7, 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from zsl.common.ranges import Count, Positive, Whole, check_ranges
from zsl.dcrgan.networks import Output, Regressor
from zsl.features.split import TrainSplit
from zsl.training.log import Log, Watch, silent
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class RegressorConfig:
    """F1 and F2: trained in the GAN's loop on generated features (the paper), or before it on real ones.

    `pretrain_epochs` = 0 and `frozen` = False is the paper; the reference code has 50 and 100 epochs, then frozen.
    """

    hidden_dim: Count = 512
    attributes_output: Literal["linear", "relu"] = "linear"  # of F1; the reference code has a ReLU
    pretrain_epochs: Whole = 0
    pretrain_epochs_representations: Whole | None = None  # of F2; None: as many as F1
    frozen: bool = False
    batch_size: Count = 64
    lr: Positive = 1e-4

    def __post_init__(self) -> None:
        check_ranges(self)


class Regressors(nn.Module):
    """F1 (to attributes) and F2 (to class representations)."""

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
    """Make F1 and F2 and, if the config says so, pre-train them on trainval features with the squared error.

    representations: R(a) of all classes [C, R]; only the seen classes' are used.  Frozen regressors come back without
    gradients.
    """
    regressors = Regressors(
        train.features.shape[1], config.hidden_dim, train.attributes.shape[1], representations.shape[1],
        config.attributes_output,
    ).to(train.device)  # fmt: skip
    optimizer = torch.optim.Adam(regressors.parameters(), lr=config.lr, fused=True)
    an_epoch = max(1, len(train.features) // config.batch_size)
    of_f2 = config.pretrain_epochs_representations
    f1_steps = an_epoch * config.pretrain_epochs
    f2_steps = f1_steps if of_f2 is None else an_epoch * of_f2
    steps = max(f1_steps, f2_steps)
    over = torch.zeros((), device=train.device)  # the term of a regressor whose epochs are over
    watch = Watch(log, "regressors", steps=steps, every=100, device=train.device)
    state = {"regressors": regressors, "watch": watch}
    for step in log.steps("regressors", steps, state, {"regressors": optimizer}):
        batch = torch.randint(len(train.features), (config.batch_size,), device=train.device)
        features, labels = train.features[batch], train.labels[batch]
        terms = {"attributes": over, "representations": over}
        if step < f1_steps:
            terms["attributes"] = mse_loss(regressors.attributes(features), train.attributes[labels])
        if step < f2_steps:
            terms["representations"] = mse_loss(regressors.representations(features), representations[labels])
        optimizer.zero_grad()  # to None: Adam leaves a regressor whose epochs are over as it is
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        watch(step, terms)
    return regressors.requires_grad_(not config.frozen)
