"""Earlier methods, one file each; they have the same evaluator as DCR-GAN."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.baselines.compatibility import ClassScorer, LinearCompatibility, RankingConfig, fit_ranking
    from zsl.baselines.registry import BASELINES
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["BASELINES", "ClassScorer", "LinearCompatibility", "RankingConfig", "fit_ranking"]
