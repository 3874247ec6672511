"""Numbers as tables of cells; the page and the tests read the same ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from zsl.experiments.compare import Difference, Run, check_comparable, compare
from zsl.experiments.results import TABLE, UNCALIBRATED
from zsl.report.context import Context
from zsl.report.published_numbers import PublishedRow, published_rows
from zsl.report.runs import ReportRun
from zsl.scores.details import Details
from zsl.scores.per_class import class_accuracies

RESAMPLES = 2000
NO_SPREAD = "one seed, no spread"
NOT_RECORDED = "not recorded"
PRETRAINING = "unseen classes in pretraining"  # what results.json calls unseen_classes
ALL_PAIRS = 8  # runs of which every pair is compared


@dataclass(frozen=True)
class Cell:
    """What is shown, and by what it is sorted; numbers are set right-aligned."""

    text: str
    value: float | str

    @property
    def is_number(self) -> bool:
        """Whether the column of this cell is sorted as numbers."""
        return not isinstance(self.value, str)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Heads, rows of cells (the first cell heads its row), and which rows are the report's own."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    own: frozenset[int] = frozenset()  # rows that stand out


def word(text: str) -> Cell:
    """A cell of text."""
    return Cell(text, text.lower())


def percent(value: float | None, std: float | None = None) -> Cell:
    """A fraction in per cent, with its spread; a dash where there is none."""
    if value is None or math.isnan(value):
        return Cell("–", -1.0)
    return Cell(f"{100 * value:.1f}" + ("" if std is None else f" ± {100 * std:.1f}"), value)


def count(value: int) -> Cell:
    """A whole number."""
    return Cell(f"{value:,}", value)


def mean_score(run: ReportRun, key: str) -> Cell:
    """Mean ± standard deviation over seeds; of one seed its score alone."""
    return percent(run.results.mean[key], run.results.std[key] if run.spreads else None)


def seed_table(run: ReportRun) -> Table:
    """T1, U, S, H, AUSUC and H at γ = 0 of each seed, and their mean ± standard deviation."""
    scores = TABLE | UNCALIBRATED
    rows = [
        (word(f"seed {entry.seed}"), *(percent(entry[key]) for key in scores.values())) for entry in run.results.seeds
    ]
    rows.append((word("mean ± sd" if run.spreads else NO_SPREAD), *(mean_score(run, key) for key in scores.values())))
    return Table(columns=("", *scores), rows=tuple(rows), own=frozenset({len(rows) - 1}))


def run_table(runs: Sequence[ReportRun], own: ReportRun | None = None) -> Table:
    """One line a run: mean ± standard deviation over seeds, and by which protocol."""
    rows = [
        (
            word(run.name), word(run.results.method), word(run.results.backbone),
            *(mean_score(run, key) for key in TABLE.values()), count(len(run.results.seeds)),
            word(run.results.unseen_classes), word(protocol(run)),
        )
        for run in runs
    ]  # fmt: skip
    columns = ("run", "method", "backbone", *TABLE, "seeds", PRETRAINING, "protocol")
    return Table(columns=columns, rows=tuple(rows), own=frozenset(i for i, run in enumerate(runs) if run is own))


def protocol(run: ReportRun) -> str:
    """`honest`, or the other protocol's name with what it means; of a fold's run its fold: it is no test result."""
    if run.fold:
        return f"{run.fold}, no test result"
    return "honest" if run.honest else f"{run.results.protocol.split(':')[0]}, selected on test"


def paper_table(run: ReportRun, companions: Sequence[ReportRun]) -> tuple[Table, Table] | None:
    """The run and its companions beside the paper's DCR-GAN and Table III; all of Table II.

    None where the paper has no column for the benchmark, or all these runs are on validation folds: such runs are left
    out, for the paper's figures are of test rows.
    """
    published = published_rows(run.results.benchmark)
    tested = [r for r in (run, *companions) if r.fold is None]
    if not published or not tested:
        return None
    ours = [
        (
            word(f"{r.results.method} ({r.name})"), word("this run" if r is run else "another run"),
            *(mean_score(r, key) for key in list(TABLE.values())[:4]),
            word(protocol(r)),
        )
        for r in tested
    ]  # fmt: skip
    columns = ("method", "source", "T1", "U", "S", "H", "protocol")

    def line(row: PublishedRow) -> tuple[Cell, ...]:
        cells = (percent(None if score is None else score / 100) for score in (row.t1, row.u, row.s, row.h))
        return word(row.approach), word(f"paper, Table {row.table}"), *cells, word(row.label)

    near = [row for row in published if row.table == "III" or row.approach == "DCR-GAN"]
    short = Table(columns=columns, rows=(*ours, *map(line, near)), own=frozenset(range(len(ours))))
    whole = Table(columns=columns, rows=tuple(line(row) for row in published if row.table == "II"))
    return short, whole


def class_table(details: Details, context: Context) -> Table:
    """Accuracy of each class among all classes, with its Wilson interval and its most frequent wrong answer."""
    rows = []
    for kind in ("unseen", "seen"):
        predicted, labels = getattr(details, f"{kind}_predicted"), getattr(details, f"{kind}_labels")
        for entry in class_accuracies(predicted, labels):
            wrong = wrong_answers(details, entry.class_id)
            most = f"{context.class_name(wrong[0][0])} ({wrong[0][1]})" if wrong else "–"
            rows.append(
                (word(context.class_name(entry.class_id)), word(kind), count(entry.n), percent(entry.accuracy),
                 percent(entry.low), percent(entry.high), word(most))
            )  # fmt: skip
    rows.sort(key=lambda row: (row[1].text != "unseen", row[3].value))
    columns = ("class", "kind", "images", "accuracy", "low", "high", "most frequent wrong answer")
    return Table(columns=columns, rows=tuple(rows))


def wrong_answers(details: Details, class_id: int, *, among: torch.Tensor | None = None) -> list[tuple[int, int]]:
    """(class id, number of images) of what images of a class were called instead, the most frequent first.

    `among`: only answers of these class ids.
    """
    predicted = torch.cat([details.seen_predicted, details.unseen_predicted])
    labels = torch.cat([details.seen_labels, details.unseen_labels])
    wrong = predicted[(labels == class_id) & (predicted != class_id)]
    if among is not None:
        wrong = wrong[torch.isin(wrong, among)]
    return sorted(Counter(wrong.tolist()).items(), key=lambda pair: (-pair[1], pair[0]))


def astray_table(details: Details, context: Context) -> Table:
    """Where the images of each unseen class go: right, to a seen class, to another unseen one, and to which most."""
    seen = details.gzsl_classes[~torch.isin(details.gzsl_classes, details.zsl_classes)]

    def told(pairs: list[tuple[int, int]]) -> str:
        return ", ".join(f"{context.class_name(class_id)} ({number})" for class_id, number in pairs[:3]) or "–"

    rows = []
    for class_id in details.unseen_labels.unique().tolist():
        own = details.unseen_predicted[details.unseen_labels == class_id]
        to_seen = torch.isin(own, seen).double().mean().item()
        right = (own == class_id).double().mean().item()
        rows.append(
            (word(context.class_name(class_id)), count(len(own)), percent(right), percent(to_seen),
             percent(1 - right - to_seen), word(told(wrong_answers(details, class_id, among=seen))),
             word(told(wrong_answers(details, class_id, among=details.zsl_classes))))
        )  # fmt: skip
    rows.sort(key=lambda row: row[2].value)
    columns = ("unseen class", "images", "right", "to seen", "to unseen", "seen classes it was taken for",
               "unseen classes it was taken for")  # fmt: skip
    return Table(columns=columns, rows=tuple(rows))


def difference_table(runs: Sequence[ReportRun], own: ReportRun | None = None) -> tuple[Table | None, list[str]]:
    """Paired bootstrap of each pair of runs (or of `own` with each other), and why a pair is left out."""
    pairs = [(other, own) for other in runs if other is not own] if own else list(combinations(runs, 2))
    notes = []
    if own is None and len(runs) > ALL_PAIRS:
        pairs = [(runs[0], other) for other in runs[1:]]
        notes.append(f"Of so many runs each is compared with the first, {runs[0].name}, alone.")
    rows: list[tuple[Cell, ...]] = []
    for a, b in pairs:
        without = [run.name for run in (a, b) if not run.details]
        try:
            if without:
                raise ValueError(f"{without[0]} kept no answers")
            check_comparable(*(Run(run.folder, run.results.benchmark, run.details) for run in (a, b)))
        except ValueError as error:
            notes.append(f"{a.name} and {b.name} cannot be compared: {error}.")
            continue
        rows += [_difference(a, b, d) for d in compare(a.details, b.details, resamples=RESAMPLES)]
    columns = ("A", "B", "score", "A %", "B %", "B − A", "low", "high", "B better", "sd of one seed's B − A")
    return (Table(columns=columns, rows=tuple(rows)) if rows else None), notes


def _difference(a: ReportRun, b: ReportRun, d: Difference) -> tuple[Cell, ...]:
    def signed(value: float) -> Cell:
        return Cell(f"{100 * value:+.1f}".replace("-", "−"), value)

    return (
        word(a.name), word(b.name), word(d.score), percent(d.a), percent(d.b), signed(d.difference), signed(d.low),
        signed(d.high), Cell(f"{100 * d.b_better:.1f} %", d.b_better), percent(d.seed_std),
    )  # fmt: skip
