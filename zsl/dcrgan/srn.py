"""Stage 2: representations of all classes: the Semantic Rectifying Network (eq. 4), or LDF's linear sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zsl.common.ranges import Decay, NotNegative, Positive, Whole, check_ranges
from zsl.dcrgan.losses import norm_representation_loss, representation_loss
from zsl.dcrgan.networks import SRN
from zsl.features.split import TrainSplit
from zsl.training.log import Log, Watch, silent
from zsl.training.stage import penalised_adam, stage


@dataclass(frozen=True, kw_only=True)
class SRNConfig:
    """SRN; every step sees all seen classes."""

    output: Literal["linear", "sigmoid"] = "linear"  # paper; the reference code's sigmoid goes with `unit_prototypes`
    loss: Literal["squared", "norm"] = "squared"  # eq. 4, or the reference code's `norm_representation_loss`
    weight_decay: NotNegative = 5e-6  # factor of ‖θ_R‖² in eq. 4
    steps: Whole = 3000
    lr: Positive = 3e-4
    betas: tuple[Decay, Decay] = (0.5, 0.9)

    def __post_init__(self) -> None:
        check_ranges(self)


@stage
def train_srn(train: TrainSplit, prototypes: Tensor, config: SRNConfig, *, log: Log = silent) -> SRN:
    """Regress the seen classes' prototypes [S, R] from their attributes [S, A]; unseen attributes play no part."""
    srn = SRN(train.attributes.shape[1], prototypes.shape[1], config.output).to(train.device)
    loss_of = {"squared": representation_loss, "norm": norm_representation_loss}[config.loss]
    optimizer = penalised_adam(srn, config.weight_decay, lr=config.lr, betas=config.betas)
    attributes = train.attributes[train.seen]
    watch = Watch(log, "SRN", steps=config.steps, every=500, device=train.device)
    for step in log.steps("SRN", config.steps, {"srn": srn, "watch": watch}, {"srn": optimizer}):
        loss = loss_of(srn(attributes), prototypes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch(step, {"representation": loss})
    return srn.eval()


def sample_linearly(train: TrainSplit, prototypes: Tensor, ridge: float) -> Tensor:
    """Representations of all classes [C, R] as LDF has them (Li et al. 2018), which the paper argues against.

    A seen class keeps its prototype [S, R]; an unseen one mixes them by the W that best mixes its attributes from those
    of the seen classes: A_u ≈ W A_s, in the least squares with `ridge` * ‖W‖².
    """
    seen = train.attributes[train.seen]  # [S, A]
    gram = seen @ seen.T + ridge * torch.eye(len(seen), device=seen.device)
    weights = torch.linalg.solve(gram, seen @ train.attributes[train.unseen].T).T  # [U, S]
    representations = prototypes.new_zeros(len(train.attributes), prototypes.shape[1])
    representations[train.seen] = prototypes
    representations[train.unseen] = weights @ prototypes
    return representations
