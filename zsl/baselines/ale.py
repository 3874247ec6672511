"""ALE (Akata et al. 2016): a bilinear score under the weighted approximate ranking loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zsl.baselines.compatibility import LinearCompatibility, RankingConfig, fit_ranking, margins, ranking_candidates
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class ALEConfig(RankingConfig):
    """The settings of ALE, whose loss is larger the lower an image's class is ranked."""


def ale_loss(scores: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Mean over the batch of l_r / r Σ_k max(0, margin + F(x, k) - F(x, y)) (Akata et al. 2016).

    r is the number of classes k that violate the margin.  l_r = 1 + 1/2 + … + 1/r gives the top of the ranking the most
    weight.  The paper estimates r: it draws classes until one violates the margin.  For a hundred classes this code
    counts r.

    scores: [B, S].  targets: true columns y [B].
    """
    violation = margins(scores, targets, margin).clamp(min=0)
    rank = (violation > 0).sum(dim=1)
    harmonic = torch.arange(scores.shape[1], device=scores.device, dtype=scores.dtype).clamp(min=1).reciprocal()
    harmonic[0] = 0
    return (harmonic.cumsum(0)[rank] / rank.clamp(min=1) * violation.sum(dim=1)).mean()


@stage
def train_ale(train: TrainSplit, config: ALEConfig, *, log: Log = silent) -> LinearCompatibility:
    """Fit W on trainval features and the attributes of seen classes."""
    return fit_ranking(train, config, ale_loss, "ALE", log)


METHOD = Method(
    name="ale",
    steps=one_step(train_ale),
    config=ALEConfig(),
    rounds=(candidates(*ranking_candidates(ALEConfig)),),
    citation="Akata, Perronnin, Harchaoui, Schmid: Label-Embedding for Image Classification, TPAMI 2016",
)
