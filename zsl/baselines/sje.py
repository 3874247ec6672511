"""SJE (Akata et al. 2015): a bilinear score under the structured SVM's loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zsl.baselines.compatibility import LinearCompatibility, RankingConfig, fit_ranking, margins, ranking_candidates
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class SJEConfig(RankingConfig):
    """The settings of SJE, whose loss is that of the class with the largest violation."""


def sje_loss(scores: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Mean over the batch of max_k (Δ(y, k) + F(x, k) - F(x, y)), Δ(y, y) = 0 (Akata et al. 2015).

    The class y itself makes the maximum at least 0.

    scores: [B, S].  targets: true columns y [B].
    """
    return margins(scores, targets, margin).amax(dim=1).mean()


@stage
def train_sje(train: TrainSplit, config: SJEConfig, *, log: Log = silent) -> LinearCompatibility:
    """Fit W on trainval features and the attributes of seen classes."""
    return fit_ranking(train, config, sje_loss, "SJE", log)


METHOD = Method(
    name="sje",
    steps=one_step(train_sje),
    config=SJEConfig(),
    rounds=(candidates(*ranking_candidates(SJEConfig)),),
    citation=(
        "Akata, Reed, Walter, Lee, Schiele: Evaluation of Output Embeddings for Fine-Grained Image "
        "Classification, CVPR 2015"
    ),
)
