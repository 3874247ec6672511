"""Stage 2: representations of all classes, from the Semantic Rectifying Network (eq. 4) or LDF's linear sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zsl.common.ranges import Decay, NotNegative, Positive, Whole, check_ranges
from zsl.dcrgan.losses import norm_representation_loss, representation_loss
from zsl.dcrgan.networks import SRN
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.loop import Terms, minimise
from zsl.training.stage import penalised_adam, stage


@dataclass(frozen=True, kw_only=True)
class SRNConfig:
    """The settings of SRN; every step uses all seen classes."""

    output: Literal["linear", "sigmoid"] = "linear"  # linear: paper; sigmoid: reference code, with `unit_prototypes`
    loss: Literal["squared", "norm"] = "squared"  # squared: eq. 4; norm: the reference code
    weight_decay: NotNegative = 5e-6  # factor of ‖θ_R‖² in eq. 4
    steps: Whole = 3000
    lr: Positive = 3e-4
    betas: tuple[Decay, Decay] = (0.5, 0.9)

    def __post_init__(self) -> None:
        check_ranges(self)


@stage
def train_srn(train: TrainSplit, prototypes: Tensor, config: SRNConfig, *, log: Log = silent) -> SRN:
    """Regress the seen classes' prototypes [S, R] from their attributes [S, A]; unseen attributes are not used."""
    srn = SRN(train.attributes.shape[1], prototypes.shape[1], config.output).to(train.device)
    loss_of = {"squared": representation_loss, "norm": norm_representation_loss}[config.loss]
    optimizer = penalised_adam(srn, config.weight_decay, lr=config.lr, betas=config.betas)
    attributes = train.attributes[train.seen]

    def loss(_: int) -> Terms:
        return {"representation": loss_of(srn(attributes), prototypes)}

    minimise("SRN", config.steps, srn, optimizer, loss, log, every=500)
    return srn.eval()


def sample_linearly(train: TrainSplit, prototypes: Tensor, ridge: float) -> Tensor:
    """Compute the representations of all classes [C, R] of LDF (Li et al. 2018), the paper's counter-example.

    The representation of a seen class is its prototype [S, R].  The representation of an unseen class is a mixture of
    these prototypes.  Its weights W mix the attributes of seen classes to those of the unseen class: A_u ≈ W A_s.  W
    minimises ‖A_u - W A_s‖² + `ridge` * ‖W‖².
    """
    seen = train.attributes[train.seen]  # [S, A]
    gram = seen @ seen.T + ridge * torch.eye(len(seen), device=seen.device)
    weights = torch.linalg.solve(gram, seen @ train.attributes[train.unseen].T).T  # [U, S]
    representations = prototypes.new_zeros(len(train.attributes), prototypes.shape[1])
    representations[train.seen] = prototypes
    representations[train.unseen] = weights @ prototypes
    return representations
