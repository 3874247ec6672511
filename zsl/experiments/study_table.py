"""The outcome of a study as Markdown, CSV and a plot of H against extraction speed."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from zsl.common.files import atomic_path, write_text
from zsl.experiments.results import TABLE, percent
from zsl.experiments.study import Row
from zsl.scores.summary import SCORES

STUDY_FILES = ("study.md", "study.csv", "study.svg", "study.png")
COST_COLUMNS = ("parameters (M)", "GFLOPs", "images/s", "input", "pretraining", "unseen classes")
MARKERS = "osD^vP*X<>hd"


def write_study(rows: Sequence[Row], failures: Mapping[str, str], folder: Path) -> str:
    """Write `study.md`, `study.csv`, `study.svg` and `study.png` into `folder`; returns the Markdown."""
    text = markdown(rows, failures)
    markdown_file, csv_file, *plots = (folder / name for name in STUDY_FILES)
    write_text(markdown_file, text)
    write_csv(rows, csv_file)
    figure = plot(rows)
    for path in plots:
        if figure is None:
            path.unlink(missing_ok=True)  # of an earlier outcome
            continue
        # Neither a date nor random ids: equal results, equal files.
        with atomic_path(path) as temporary, mpl.rc_context({"svg.hashsalt": "study"}):
            kind = path.suffix[1:]
            figure.savefig(temporary, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return text


def markdown(rows: Sequence[Row], failures: Mapping[str, str]) -> str:
    """Scores in per cent, mean ± sd over seeds; then what the columns do not say, and what failed."""
    head = ["backbone", "method", *TABLE, *COST_COLUMNS]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        scores = [percent(row.mean[key], row.std[key], row.seeds) for key in TABLE.values()]
        speed = "" if row.images_per_second is None else f"{row.images_per_second:.1f}"
        cost = [f"{row.parameters / 1e6:.1f}", f"{row.flops / 1e9:.2f}", speed, f"{row.input_size}²"]
        method = row.method if row.protocol == "honest" else f"{row.method} ({row.protocol})"
        lines.append([row.backbone, method, *scores, *cost, row.pretraining, row.unseen_classes])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    notes = [
        f"Mean ± standard deviation over {seeds} seeds." if seeds > 1 else "One seed, which has no spread."
        for seeds in sorted({row.seeds for row in rows})
    ]
    for where in sorted({row.measured_on for row in rows if row.images_per_second is not None}):
        names = dict.fromkeys(row.backbone for row in rows if row.measured_on == where)
        notes.append(f"images/s: extraction with decoding on {where} ({', '.join(names)}).")
    notes += _choices(rows)
    notes += [f"FAILED {entry}: {message.splitlines()[0]}" for entry, message in failures.items()]
    return text + "".join(f"\n{note}\n" for note in notes)


def _choices(rows: Sequence[Row]) -> list[str]:
    """On which folds γ and all else was chosen, where that is not the same for all backbones."""
    where: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.folds:
            folds = ", ".join(map(str, row.folds)) + " and, for γ, calibration folds" * row.calibrated
            where.setdefault(folds, {})[row.backbone] = None
    if len(where) < 2:
        return []
    told = [f"{folds} for {', '.join(names)}" for folds, names in where.items()]
    return [
        f"γ and all else that is chosen was chosen on unlike validation folds: {'; '.join(told)}.  Fewer folds choose "
        "less well; fine-tuned weights have those of their --folds, and no calibration folds: they know those classes."
    ]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One line a row: fractions, unrounded."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        facts = ["parameters", "flops", "images_per_second", "input_size", "pretraining", "unseen_classes", "protocol"]
        scores = [f"{key}_{of}" for key in SCORES for of in ("mean", "std")]
        writer.writerow(["entry", "backbone", "method", "seeds", *scores, *facts, "measured_on"])
        for row in rows:
            values = [of[key] for key in SCORES for of in (row.mean, row.std)]
            about = [getattr(row, fact) for fact in facts]
            writer.writerow([row.entry, row.backbone, row.method, row.seeds, *values, *about, row.measured_on])


def plot(rows: Sequence[Row]) -> Figure | None:
    """H [%] against images/s (logarithmic): a colour a backbone, a marker a method, a bar of one sd either way.

    None where no row has a rate.
    """
    shown = [row for row in rows if row.images_per_second is not None]
    if not shown:
        return None
    backbones = list(dict.fromkeys(row.backbone for row in shown))
    methods = list(dict.fromkeys(row.method for row in shown))
    palette = mpl.colormaps["tab10" if len(backbones) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    colours = {name: palette[i % len(palette)] for i, name in enumerate(backbones)}
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(methods)}
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for row in shown:
        axes.errorbar(
            row.images_per_second or 0.0, 100 * row.mean["harmonic"], yerr=100 * row.std["harmonic"],
            color=colours[row.backbone], marker=markers[row.method], markersize=8, capsize=4, linestyle="none",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(LogFormatter())  # 40, not 4 × 10^1
    axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1.5, 0.5)))
    axes.set_xlabel("images/s at extraction")
    axes.set_ylabel("H [%], mean ± sd over seeds")
    axes.grid(visible=True, which="both", alpha=0.25)
    handles = [Line2D([], [], color=colours[name], marker="s", linestyle="none", label=name) for name in backbones]
    handles += [
        Line2D([], [], color="black", marker=markers[name], markerfacecolor="none", linestyle="none", label=name)
        for name in methods
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize="small")
    return figure
