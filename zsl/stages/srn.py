"""Stage 2: the Semantic Rectifying Network, from attributes to class representations (eq. 4)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zsl.features import TrainSplit
from zsl.losses import representation_loss
from zsl.networks import SRN
from zsl.progress import progress_bar
from zsl.stages import Log, penalised_adam, silent, stage, watch


@dataclass(frozen=True, kw_only=True)
class SRNConfig:
    """SRN; every step sees all seen classes."""

    weight_decay: float = 5e-6  # factor of ‖θ_R‖² in eq. 4
    steps: int = 3000
    lr: float = 3e-4
    betas: tuple[float, float] = (0.5, 0.9)


@stage
def train_srn(train: TrainSplit, prototypes: Tensor, config: SRNConfig, *, log: Log = silent) -> SRN:
    """Regress the seen classes' prototypes [S, R] from their attributes [S, A]; unseen attributes play no part."""
    srn = SRN(train.attributes.shape[1], prototypes.shape[1]).to(train.device)
    optimizer = penalised_adam(srn, config.weight_decay, lr=config.lr, betas=config.betas)
    attributes = train.attributes[train.seen]
    for step in progress_bar(range(config.steps), what="SRN", unit=" steps"):
        loss = representation_loss(srn(attributes), prototypes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 500 == 0:
            watch(log, "SRN", step, {"representation": loss})
    return srn.eval()
