"""The ranking of compared runs by AUSUC, with the paper's printed H beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zsl.common.drawing import Plot
from zsl.experiments.compare import Run, check_comparable
from zsl.experiments.ranking import Rank, ScoreInterval, draw_ranking, rank_methods
from zsl.report.cells import Cell, Table, count, percent, word
from zsl.report.published_numbers import published_harmonic
from zsl.report.runs import ReportRun


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A ranking as a table and as a drawing."""

    table: Table
    plot: Plot
    of_one_seed: tuple[str, ...]  # names of runs whose intervals have no spread over seeds


def run_ranking(runs: Sequence[ReportRun], folder: Path) -> Ranking | None:
    """Rank the honest runs with answers that were tested on the rows of the first of them, and draw into `folder`.

    None where fewer than two such runs are there: a ranking of what was chosen on test rows would say nothing.
    """
    ranked: dict[str, ReportRun] = {}
    for run in runs:
        if run.honest and run.details and _tested_alike([*ranked.values(), run]):
            ranked[run.name] = run
    if len(ranked) < 2:
        return None
    ranks = rank_methods({name: run.details for name, run in ranked.items()})
    printed = published_harmonic(runs[0].results.benchmark, [run.results.method for run in ranked.values()])
    of_runs = {name: printed[run.results.method] for name, run in ranked.items() if run.results.method in printed}
    rows = tuple(
        (word(rank.name), count(rank.group), _cell(rank.ausuc), _cell(rank.harmonic), percent(_printed(rank, of_runs)))
        for rank in ranks
    )
    columns = ("run", "group", "AUSUC (95 % interval)", "H (95 % interval)", "H as published, selected on test")
    of_one_seed = tuple(name for name, run in ranked.items() if len(run.details) == 1)
    plot = draw_ranking(ranks, of_runs, folder)
    return Ranking(table=Table(columns=columns, rows=rows), plot=plot, of_one_seed=of_one_seed)


def _tested_alike(runs: Sequence[ReportRun]) -> bool:
    first, last = (
        Run(run.folder, run.results.benchmark, run.results.side_information, run.details) for run in (runs[0], runs[-1])
    )
    try:
        check_comparable(first, last)
    except ValueError:
        return False
    return True


def _cell(interval: ScoreInterval) -> Cell:
    return Cell(interval.percent, interval.mean)


def _printed(rank: Rank, of_runs: dict[str, float]) -> float | None:
    return of_runs[rank.name] / 100 if rank.name in of_runs else None
