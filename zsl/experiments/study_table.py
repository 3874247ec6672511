"""The scores of a study as Markdown, as CSV, and as a plot of H against extraction speed."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zsl.common.drawing import COLOURS, INK, MARKERS, drawing, finish
from zsl.common.files import write_text
from zsl.common.markdown import markdown_table
from zsl.common.spreadsheet import plain_cell, raw_cell, write_csv
from zsl.datasets.splits import ATTRIBUTES
from zsl.experiments.results import TABLE, percent
from zsl.experiments.study import Row
from zsl.scores.summary import SCORES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

STUDY_FILES = ("study.md", "study.csv", "study.svg", "study.png")
COST_COLUMNS = ("parameters (M)", "GFLOPs", "images/s", "input", "pretraining", "unseen classes")
WIDTH, LEAST_HEIGHT, LEGEND_LINE = 8.0, 4.4, 0.24  # inches


def write_study(rows: Sequence[Row], failures: Mapping[str, str], folder: Path) -> str:
    """Write `study.md`, `study.csv`, `study.svg` and `study.png` into `folder`, and return the Markdown.

    Without any extraction rate there is no plot; the plot of an earlier call is then removed.  Rows that only an
    earlier call had are named below the table.
    """
    markdown_file, csv_file, *plots = (folder / name for name in STUDY_FILES)
    text = markdown(rows, failures) + _not_asked_for(rows, csv_file)
    write_text(markdown_file, text)
    write_study_csv(rows, csv_file)
    timed = [row for row in rows if row.images_per_second is not None]
    if timed:
        _draw(timed, folder)
    else:
        for path in plots:
            path.unlink(missing_ok=True)
    return text


def _not_asked_for(rows: Sequence[Row], csv_file: Path) -> str:
    """Name the rows of an earlier call that `rows` lacks; empty if there are none."""
    if not csv_file.is_file():
        return ""
    with csv_file.open(newline="", encoding="utf-8", errors="replace") as stream:
        earlier = [(line.get("backbone") or "", line.get("method") or "") for line in csv.DictReader(stream)]
    now = {(plain_cell(row.backbone), plain_cell(row.method)) for row in rows}
    names = dict.fromkeys(", ".join(map(raw_cell, pair)) for pair in earlier if pair not in now)
    if not names:
        return ""
    return (
        f"\nNot in this table, but in that of an earlier call: {'; '.join(names)}.  A call with all backbones and "
        "methods has them again, without training them anew.\n"
    )


# --- Markdown and CSV ------------------------------------------------------------------------------------------------


def markdown(rows: Sequence[Row], failures: Mapping[str, str]) -> str:
    """Write a table of scores (per cent, mean ± standard deviation over seeds) and costs, then notes and failures.

    failures: the error message of each entry of the study that failed.
    """
    table = markdown_table(["backbone", "method", *TABLE, *COST_COLUMNS], map(_cells, rows))
    notes = [*_side_information(rows), *_seed_counts(rows), *_machines(rows), *_choices(rows)]
    notes += [f"FAILED {entry}: {message.splitlines()[0]}" for entry, message in failures.items()]
    return table + "".join(f"\n{note}\n" for note in notes)


def _cells(row: Row) -> list[str]:
    scores = [percent(row.mean[key], row.std[key], row.seeds) for key in TABLE.values()]
    speed = "" if row.images_per_second is None else f"{row.images_per_second:.1f}"
    cost = [f"{row.parameters / 1e6:.1f}", f"{row.flops / 1e9:.2f}", speed, f"{row.input_size}²"]
    method = row.method if row.protocol == "honest" else f"{row.method} ({row.protocol})"
    return [row.backbone, method, *scores, *cost, row.pretraining, row.unseen_classes]


def _side_information(rows: Sequence[Row]) -> list[str]:
    """Write what the models of all rows know of classes, where that is not the benchmark's attributes."""
    kinds = {row.side_information for row in rows} - {ATTRIBUTES}
    return [f"Side information: {kind}." for kind in sorted(kinds)]


def _seed_counts(rows: Sequence[Row]) -> list[str]:
    return [
        f"Mean ± standard deviation over {seeds} seeds." if seeds > 1 else "One seed, which has no spread."
        for seeds in sorted({row.seeds for row in rows})
    ]


def _machines(rows: Sequence[Row]) -> list[str]:
    """Write one note for each machine that timed extractions, with its backbones."""
    notes = []
    for machine in sorted({row.measured_on for row in rows if row.images_per_second is not None}):
        names = dict.fromkeys(row.backbone for row in rows if row.measured_on == machine)
        notes.append(f"images/s: extraction with decoding on {machine} ({', '.join(names)}).")
    return notes


def _choices(rows: Sequence[Row]) -> list[str]:
    """Write a note on the folds that made the choices, if these differ between backbones."""
    backbones: dict[str, dict[str, None]] = {}  # names of backbones, by the names of their folds
    for row in rows:
        if row.folds:
            folds = ", ".join(map(str, row.folds)) + " and, for γ, calibration folds" * row.calibrated
            backbones.setdefault(folds, {})[row.backbone] = None
    if len(backbones) < 2:
        return []
    parts = [f"{folds} for {', '.join(names)}" for folds, names in backbones.items()]
    return [
        f"γ and all else that is chosen was chosen on unlike folds: {'; '.join(parts)}.  Fewer folds choose less well; "
        "fine-tuned weights have the class folds of their cross-fitting, or else those of their --folds, and no "
        "calibration folds: they know those classes."
    ]


def write_study_csv(rows: Sequence[Row], path: Path) -> None:
    """Write one line for each row, with scores as unrounded fractions."""
    facts = [
        "parameters", "flops", "images_per_second", "input_size", "pretraining", "unseen_classes", "protocol",
        "side_information",
    ]  # fmt: skip
    scores = [f"{key}_{of}" for key in SCORES for of in ("mean", "std")]
    lines = []
    for row in rows:
        spread = row.std if row.seeds > 1 else dict.fromkeys(SCORES, "")
        values = [of[key] for key in SCORES for of in (row.mean, spread)]
        about = [getattr(row, fact) for fact in facts]
        lines.append([row.entry, row.backbone, row.method, row.seeds, *values, *about, row.measured_on])
    write_csv(path, ["entry", "backbone", "method", "seeds", *scores, *facts, "measured_on"], lines)


# --- plot ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Paint:
    line: str
    fill: str  # the colour of the line, or "none"


def _draw(rows: Sequence[Row], folder: Path) -> None:
    """Draw H [%] against images/s, on a logarithmic axis; all of `rows` have a rate.

    Each backbone has a colour, each method a marker; a bar is one standard deviation long in either direction.
    """
    paints = {name: _paint(i) for i, name in enumerate(dict.fromkeys(row.backbone for row in rows))}
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(dict.fromkeys(row.method for row in rows))}
    height = max(LEAST_HEIGHT, LEGEND_LINE * (len(paints) + len(markers)))
    with drawing(height, WIDTH) as (figure, axes):
        for row in rows:
            paint = paints[row.backbone]
            axes.errorbar(
                row.images_per_second or 0.0, 100 * row.mean["harmonic"], yerr=100 * row.std["harmonic"],
                color=paint.line, markerfacecolor=paint.fill, marker=markers[row.method], markersize=7, capsize=3,
                linestyle="none",
            )  # fmt: skip
        _label(axes)
        figure.legend(handles=_legend(paints, markers), loc="outside right upper")
        points = ", ".join(f"{row.method} on {row.backbone}: {_percent(row)}" for row in rows)
        finish(figure, "study", f"H against images/s at extraction, per cent: {points}", folder)


def _paint(number: int) -> _Paint:
    """Return the paint of backbone `number`; after the last colour the colours begin again, with hollow markers."""
    again, index = divmod(number, len(COLOURS))
    return _Paint(COLOURS[index], "none" if again % 2 else COLOURS[index])


def _percent(row: Row) -> str:
    return percent(row.mean["harmonic"], row.std["harmonic"], row.seeds)


def _label(axes: Axes) -> None:
    from matplotlib.ticker import LogFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(LogFormatter())  # 40, not 4 × 10^1
    axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1.5, 0.5)))
    axes.set(xlabel="images/s at extraction", ylabel="H, %; mean ± sd over seeds")
    axes.grid(visible=True, which="both")


def _legend(paints: Mapping[str, _Paint], markers: Mapping[str, str]) -> list[Line2D]:
    """Make the legend: a square in each backbone's paint, then a hollow marker in ink for each method."""
    from matplotlib.lines import Line2D

    def handle(name: str, marker: str, paint: _Paint) -> Line2D:
        return Line2D(
            [], [], marker=marker, linestyle="none", label=name, color=paint.line, markerfacecolor=paint.fill
        )  # fmt: skip

    backbones = [handle(name, "s", paint) for name, paint in paints.items()]
    return [*backbones, *(handle(name, marker, _Paint(INK, "none")) for name, marker in markers.items())]
