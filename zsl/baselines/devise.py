"""DeViSE (Frome et al. 2013): a bilinear score under a pairwise ranking hinge loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zsl.baselines.compatibility import LinearCompatibility, RankingConfig, fit_ranking, margins, ranking_candidates
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class DeViSEConfig(RankingConfig):
    """The settings of DeViSE, whose loss sums over all classes that violate the margin."""


def devise_loss(scores: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Mean over the batch of Σ_{k ≠ y} max(0, margin - F(x, y) + F(x, k)) (Frome et al. 2013, eq. 1).

    scores: [B, S].  targets: true columns y [B].
    """
    return margins(scores, targets, margin).clamp(min=0).sum(dim=1).mean()


@stage
def train_devise(train: TrainSplit, config: DeViSEConfig, *, log: Log = silent) -> LinearCompatibility:
    """Fit W on trainval features and the attributes of seen classes."""
    return fit_ranking(train, config, devise_loss, "DeViSE", log)


METHOD = Method(
    name="devise",
    steps=one_step(train_devise),
    config=DeViSEConfig(),
    rounds=(candidates(*ranking_candidates(DeViSEConfig)),),
    citation="Frome et al.: DeViSE: A Deep Visual-Semantic Embedding Model, NeurIPS 2013",
)
