"""The tables of the pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import torch

from zsl.datasets.splits import ATTRIBUTES
from zsl.experiments.compare import Difference, Run, check_comparable, compare
from zsl.experiments.results import TABLE, UNCALIBRATED
from zsl.report.cells import Cell, Table, count, percent, signed_percent, word
from zsl.report.context import Context
from zsl.report.published_numbers import PublishedRow, published_rows
from zsl.report.runs import ReportRun
from zsl.scores.details import Details
from zsl.scores.per_class import class_accuracies

RESAMPLES = 2000
NO_SPREAD = "one seed, no spread"
PRETRAINING = "unseen classes in pretraining"  # `unseen_classes` of the results
ALL_PAIRS = 8  # of more runs not every pair is compared


def mean_score(run: ReportRun, key: str) -> Cell:
    """Mean ± standard deviation of a score over seeds; for one seed the score alone."""
    return percent(run.results.mean[key], run.results.std[key] if run.spreads else None)


def seed_table(run: ReportRun) -> Table:
    """T1, U, S, H, AUSUC and H at γ = 0 of each seed, and their mean ± standard deviation."""
    scores = TABLE | UNCALIBRATED
    rows = [
        (word(f"seed {entry.seed}"), *(percent(entry[key]) for key in scores.values())) for entry in run.results.seeds
    ]
    rows.append((word("mean ± sd" if run.spreads else NO_SPREAD), *(mean_score(run, key) for key in scores.values())))
    return Table(columns=("", *scores), rows=tuple(rows), emphasis=frozenset({len(rows) - 1}))


def run_table(runs: Sequence[ReportRun], subject: ReportRun | None = None) -> Table:
    """One row a run: mean ± standard deviation over seeds, and the protocol; the row of `subject` stands out."""
    rows = [
        (
            word(run.name), word(run.results.method), word(run.results.backbone),
            *(mean_score(run, key) for key in TABLE.values()), count(len(run.results.seeds)),
            word(run.results.unseen_classes), word(protocol(run)),
        )
        for run in runs
    ]  # fmt: skip
    columns = ("run", "method", "backbone", *TABLE, "seeds", PRETRAINING, "protocol")
    emphasis = frozenset(i for i, run in enumerate(runs) if run is subject)
    return Table(columns=columns, rows=tuple(rows), emphasis=emphasis)


def protocol(run: ReportRun) -> str:
    """`honest`, or the name and the meaning of another protocol; for a run on a validation fold, that fold."""
    side = run.results.side_information
    other = "" if side == ATTRIBUTES else f"; side information: {side}"
    if run.fold:
        return f"{run.fold}, no test result{other}"
    return f"honest{other}" if run.honest else f"{run.results.protocol.split(':')[0]}, selected on test{other}"


def paper_table(run: ReportRun, companions: Sequence[ReportRun]) -> tuple[Table, Table] | None:
    """A table of the run and its companions beside the paper's DCR-GAN and Table III, and a table of all of Table II.

    The paper's scores are of test rows, so runs on validation folds are left out.  None where no run remains, or the
    paper has no column for the benchmark.
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

    near = [row for row in published if row.table == "III" or row.approach == "DCR-GAN"]
    lines, notes = _published_lines(near)
    short = Table(columns=columns, rows=(*ours, *lines), emphasis=frozenset(range(len(ours))), notes=notes)
    lines, notes = _published_lines([row for row in published if row.table == "II"])
    return short, Table(columns=columns, rows=lines, notes=notes)


def _published_lines(rows: Sequence[PublishedRow]) -> tuple[tuple[tuple[Cell, ...], ...], tuple[str, ...]]:
    """The lines of the paper's rows, and their footnotes, each once; the name of a row says which is its own."""
    notes = tuple(dict.fromkeys(row.note for row in rows if row.note is not None))
    lines = []
    for row in rows:
        name = row.approach if row.note is None else f"{row.approach} [{notes.index(row.note) + 1}]"
        cells = (percent(None if score is None else score / 100) for score in (row.t1, row.u, row.s, row.h))
        lines.append((word(name), word(f"paper, Table {row.table}"), *cells, word(row.label)))
    return tuple(lines), notes


def class_table(details: Details, context: Context) -> Table:
    """Accuracy of each class, all classes to choose from, with its Wilson interval and most frequent wrong answer."""
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
    """(class id, number of images) of the wrong answers to images of a class, the most frequent first.

    among: ids of the classes whose answers count; None counts all.
    """
    predicted = torch.cat([details.seen_predicted, details.unseen_predicted])
    labels = torch.cat([details.seen_labels, details.unseen_labels])
    wrong = predicted[(labels == class_id) & (predicted != class_id)]
    if among is not None:
        wrong = wrong[torch.isin(wrong, among)]
    return sorted(Counter(wrong.tolist()).items(), key=lambda pair: (-pair[1], pair[0]))


def astray_table(details: Details, context: Context) -> Table:
    """Shares of each unseen class's images that are right, go to seen classes, and go to other unseen classes."""
    seen = details.gzsl_classes[~torch.isin(details.gzsl_classes, details.zsl_classes)]

    def listed(pairs: list[tuple[int, int]]) -> str:
        return ", ".join(f"{context.class_name(class_id)} ({number})" for class_id, number in pairs[:3]) or "–"

    rows = []
    for class_id in details.unseen_labels.unique().tolist():
        answers = details.unseen_predicted[details.unseen_labels == class_id]
        to_seen = torch.isin(answers, seen).double().mean().item()
        right = (answers == class_id).double().mean().item()
        rows.append(
            (word(context.class_name(class_id)), count(len(answers)), percent(right), percent(to_seen),
             percent(1 - right - to_seen), word(listed(wrong_answers(details, class_id, among=seen))),
             word(listed(wrong_answers(details, class_id, among=details.zsl_classes))))
        )  # fmt: skip
    rows.sort(key=lambda row: row[2].value)
    columns = ("unseen class", "images", "right", "to seen", "to unseen", "seen classes it was taken for",
               "unseen classes it was taken for")  # fmt: skip
    return Table(columns=columns, rows=tuple(rows))


def difference_table(runs: Sequence[ReportRun], subject: ReportRun | None = None) -> tuple[Table | None, list[str]]:
    """Paired bootstrap of each pair of runs, and notes on pairs that are left out; None where no pair remains.

    subject: the run that each of the others is compared with; None compares all with each other.
    """
    pairs = [(other, subject) for other in runs if other is not subject] if subject else list(combinations(runs, 2))
    notes = []
    if subject is None and len(runs) > ALL_PAIRS:
        pairs = [(runs[0], other) for other in runs[1:]]
        notes.append(f"Of so many runs each is compared with the first, {runs[0].name}, alone.")
    rows: list[tuple[Cell, ...]] = []
    for a, b in pairs:
        without = [run.name for run in (a, b) if not run.details]
        try:
            if without:
                raise ValueError(f"{without[0]} kept no answers")
            check_comparable(
                *(Run(run.folder, run.results.benchmark, run.results.side_information, run.details) for run in (a, b))
            )
        except ValueError as error:
            notes.append(f"{a.name} and {b.name} cannot be compared: {error}.")
            continue
        rows += [_difference(a, b, d) for d in compare(a.details, b.details, resamples=RESAMPLES)]
        if len({str(run.results.method_version).split(",")[0] for run in (a, b)}) > 1:
            notes.append(
                f"{a.name} and {b.name} are of two versions of the methods, which changed in between; train the older "
                "one anew."
            )
    columns = ("A", "B", "score", "A %", "B %", "B − A", "low", "high", "B better", "sd of one seed's B − A")
    return (Table(columns=columns, rows=tuple(rows)) if rows else None), notes


def _difference(a: ReportRun, b: ReportRun, d: Difference) -> tuple[Cell, ...]:
    return (
        word(a.name), word(b.name), word(d.score), percent(d.a), percent(d.b),
        signed_percent(d.difference), signed_percent(d.low), signed_percent(d.high),
        Cell(f"{100 * d.b_better:.1f} %", d.b_better), percent(d.seed_std),
    )  # fmt: skip
