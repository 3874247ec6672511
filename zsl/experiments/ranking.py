"""A ranking of methods by AUSUC, with groups of methods that the test cannot tell apart, and its drawing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsl.common.drawing import COLOURS, INK, Plot, drawing, finish
from zsl.common.markdown import markdown_table
from zsl.scores.bootstrap import COLUMNS, Level, Resamples, resampled_seeds
from zsl.scores.details import Details

AUSUC, H = COLUMNS.index("AUSUC"), COLUMNS.index("H")
LEVELS: tuple[Level, ...] = ("images", "classes", "seeds")
LINE = 0.28  # inches of a method's line in the drawing


@dataclass(frozen=True, kw_only=True)
class ScoreInterval:
    """A score and the ends of its 95 % interval; fractions."""

    mean: float
    low: float
    high: float

    @property
    def percent(self) -> str:
        """The interval as text."""
        return f"{100 * self.mean:.1f} ({100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True, kw_only=True)
class Rank:
    """The place of a method in the ranking."""

    name: str
    ausuc: ScoreInterval
    harmonic: ScoreInterval
    group: int  # from 1; methods of a group cannot be told apart from its first


def rank_methods(
    runs: Mapping[str, Mapping[int, Details]],
    *,
    over: Collection[Level] = LEVELS,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Rank]:
    """Rank methods by AUSUC, the best first.

    The best method begins the first group.  From there down, a method belongs to the group if the 95 % interval of its
    difference from the group's first method holds 0.  The first one that does not begins the next group, and so on; no
    method is compared with the head of a group that is closed.

    runs: by method, then by seed; all were tested on the same rows.  over: what the bootstrap draws.
    """
    rng = np.random.default_rng(seed)
    first = next(iter(next(iter(runs.values())).values()))
    drawn, whole = Resamples.draw(first, resamples, rng, over), Resamples.none(first)
    of_seeds: dict[tuple[int, ...], np.ndarray] = {}  # methods with equal seeds get equal draws of them

    def scores(run: Mapping[int, Details]) -> tuple[np.ndarray, np.ndarray]:
        key = tuple(run)
        if key not in of_seeds:
            of_seeds[key] = resampled_seeds(key, resamples, rng, over)
        per_seed = np.stack([drawn.scores(details) for details in run.values()], axis=-1)  # [5, resamples, seeds]
        means = np.mean([whole.scores(details)[:, 0] for details in run.values()], axis=0)
        return means, (per_seed * of_seeds[key]).sum(-1)

    scored = {name: scores(run) for name, run in runs.items()}
    order = sorted(scored, key=lambda name: -scored[name][0][AUSUC])
    ranks: list[Rank] = []
    head, group = order[0], 1
    for name in order:
        difference = scored[head][1][AUSUC] - scored[name][1][AUSUC]
        if np.quantile(difference, 0.025) > 0:
            head, group = name, group + 1
        ausuc, harmonic = (_interval(*scored[name], column) for column in (AUSUC, H))
        ranks.append(Rank(name=name, ausuc=ausuc, harmonic=harmonic, group=group))
    return ranks


def _interval(means: np.ndarray, resampled: np.ndarray, column: int) -> ScoreInterval:
    low, high = np.quantile(resampled[column], (0.025, 0.975)).tolist()
    return ScoreInterval(mean=means[column].item(), low=low, high=high)


def ranking_text(ranks: Sequence[Rank], published: Mapping[str, float]) -> str:
    """Write the ranking in Markdown, in per cent; published: H of methods as published, chosen on test rows."""
    head = ["group", "method", "AUSUC (95 % interval)", "H (95 % interval)", "H as published, selected on test"]
    rows = [
        [str(rank.group), rank.name, rank.ausuc.percent, rank.harmonic.percent, _published(published.get(rank.name))]
        for rank in ranks
    ]
    return markdown_table(head, rows)


def _published(harmonic: float | None) -> str:
    return "" if harmonic is None else f"{harmonic:.1f}"


def draw_ranking(ranks: Sequence[Rank], published: Mapping[str, float], folder: Path) -> Plot:
    """Draw AUSUC and H of each method with their intervals, and H as published as a hollow mark."""
    with drawing(1.2 + LINE * len(ranks)) as (figure, axes):
        places = np.arange(len(ranks))[::-1]
        for offset, colour, marker, label, key in (
            (0.14, COLOURS[0], "o", "AUSUC", "ausuc"), (-0.14, COLOURS[1], "s", "H", "harmonic"),
        ):  # fmt: skip
            intervals = [getattr(rank, key) for rank in ranks]
            means = np.array([100 * interval.mean for interval in intervals])
            ends = np.array([[100 * interval.low, 100 * interval.high] for interval in intervals]).T
            axes.errorbar(
                means, places + offset, xerr=np.abs(ends - means), fmt=marker, color=colour, label=label, ms=4
            )
        hollow = np.array([published.get(rank.name, np.nan) for rank in ranks])
        if np.isfinite(hollow).any():
            label = "H as published, selected on test"
            axes.scatter(hollow, places, s=26, marker="s", facecolors="none", edgecolors=INK, label=label, zorder=3)
        axes.set_yticks(places, [rank.name for rank in ranks])
        axes.set_ylim(-0.6, len(ranks) - 0.4)
        axes.set_xlabel("per cent; 95 % intervals over\nimages, classes and seeds")
        axes.grid(axis="x")
        figure.legend(loc="outside upper center", ncols=3)
        best = ranks[0]
        alt = f"AUSUC and H of {len(ranks)} methods; the best is {best.name} with AUSUC {best.ausuc.percent}"
        return finish(figure, "ranking", alt, folder)
