"""Figures of what a run answered: curves, accuracy per class, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes

from zsl.common.drawing import COLOURS, DASHES, INK, SEEN, UNSEEN, Plot, drawing, finish, shorten
from zsl.report.context import Context
from zsl.report.runs import ReportRun
from zsl.report.tables import mean_score
from zsl.scores.curves import Curve
from zsl.scores.details import Details
from zsl.scores.per_class import class_accuracies, confusion_matrix
from zsl.scores.summary import curve_of

LETTERS = 30  # of a class name beside its bar, at most
NAMED = 60  # so many classes have their names beside the bars
FIGURES_FOLDER = "figures"


def curve_plot(run: ReportRun, folder: Path) -> Plot:
    """Seen-unseen curve of each seed, with AUSUC and the operating point."""
    told = ["Seen accuracy S over unseen accuracy U, per cent"]
    with drawing(3.9) as (figure, axes):
        for number, (seed, details) in enumerate(run.details.items()):
            curve = curve_of(details)
            label = f"seed {seed}: AUSUC {100 * curve.ausuc:.1f}"
            told.append(f"{label}, operating point {_draw_curve(axes, curve, number, label)}")
        axes.plot([], [], "o", color="none", markeredgecolor=INK, markersize=7, label="operating point (reported U, S)")
        _label_curves(axes)
        return finish(figure, "seen-unseen-curve", "; ".join(told), folder)


def curves_plot(runs: Sequence[ReportRun], folder: Path) -> Plot:
    """The first seed's seen-unseen curve of each run, overlaid."""
    told = ["Seen accuracy S over unseen accuracy U, per cent"]
    with drawing(3.6 + 0.2 * len(runs)) as (figure, axes):
        for number, run in enumerate(runs):
            if run.first is None:
                continue
            label = f"{run.name}: AUSUC {mean_score(run, 'ausuc').text}"
            told.append(f"{label}, operating point {_draw_curve(axes, curve_of(run.first), number, label)}")
        _label_curves(axes, below=True)
        return finish(figure, "seen-unseen-curves", "; ".join(told), folder)


def _draw_curve(axes: Axes, curve: Curve, number: int, label: str) -> str:
    """Draw the curve with its operating point, γ = 0; that point in words."""
    colour, style = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    axes.plot(100 * curve.unseen.numpy(), 100 * curve.seen.numpy(), style, color=colour, linewidth=1.5, label=label)
    unseen, seen = (100 * accuracy for accuracy in curve.at(0.0))
    axes.plot(unseen, seen, "o", color=colour, markersize=7, markeredgecolor=INK, zorder=3)
    return f"U {unseen:.1f}, S {seen:.1f}"


def _label_curves(axes: Axes, *, below: bool = False) -> None:
    axes.set(xlabel="U: accuracy on unseen classes, %", ylabel="S: accuracy on seen classes, %")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.grid(True)
    if below:
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), handlelength=1.6)
    else:
        axes.legend(loc="lower left", handlelength=1.6)


def classes_plot(run: ReportRun, kind: str, context: Context, folder: Path) -> Plot:
    """Accuracy of each class of `kind` (seen or unseen), sorted, with the first seed's 95 % Wilson intervals."""
    by_seed = {
        seed: {entry.class_id: entry for entry in class_accuracies(*_answers(details, kind))}
        for seed, details in run.details.items()
    }
    first = by_seed[run.first_seed]
    order = sorted(first.values(), key=lambda entry: entry.accuracy)
    rank = np.arange(len(order))
    colour = UNSEEN if kind == "unseen" else SEEN
    named = len(order) <= NAMED
    with drawing(0.9 + 0.2 * len(order) if named else 4.5) as (figure, axes):
        middle = np.array([100 * entry.accuracy for entry in order])
        low, high = (np.array([100 * getattr(entry, end) for entry in order]) for end in ("low", "high"))
        axes.hlines(rank, low, high, color=colour, alpha=0.45, linewidth=4 if named else 1)
        for seed, entries in by_seed.items():
            if seed != run.first_seed:
                others = [100 * entries[entry.class_id].accuracy for entry in order]
                axes.plot(others, rank, "|", color=INK, alpha=0.6, markersize=5)
        axes.plot(middle, rank, "o", color=colour, markersize=5 if named else 2)
        mean = float(middle.mean())
        axes.axvline(mean, color=INK, linewidth=0.8, linestyle="--")
        axes.set(xlim=(-2, 102), ylim=(-0.8, len(order) - 0.2), xlabel=f"accuracy, %; dashed: mean {mean:.1f}")
        if named:
            axes.set_yticks(rank, [shorten(context.class_name(entry.class_id), LETTERS) for entry in order])
            axes.tick_params(axis="y", length=0)
        else:
            axes.set(ylabel=f"{len(order)} {kind} classes, sorted")
            axes.set_yticks([])
        axes.grid(True, axis="x")
        ends = " to ".join(f"{context.class_name(e.class_id)} {100 * e.accuracy:.1f}" for e in (order[0], order[-1]))
        told = f"Accuracy of each {kind} class, sorted, with its interval; per cent: from {ends}; mean {mean:.1f}"
        return finish(figure, f"accuracy-{kind}", told, folder)


def _answers(details: Details, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    return getattr(details, f"{kind}_predicted"), getattr(details, f"{kind}_labels")


def confusion_plot(run: ReportRun, folder: Path) -> Plot:
    """Share of each true class's images that was given each answer, over all seeds, with the border seen | unseen."""
    total = torch.stack([confusion_matrix(details) for details in run.details.values()]).sum(0).double()
    share = (total / total.sum(1, keepdim=True).clamp(min=1)).numpy()
    assert run.first is not None
    seen_count = len(run.first.gzsl_classes) - len(run.first.zsl_classes)
    pixels = np.zeros((*share.shape, 4))
    for block, colour in ((slice(0, seen_count), SEEN), (slice(seen_count, None), UNSEEN)):
        pixels[block, :, :3] = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    pixels[..., 3] = np.sqrt(share)  # the root makes a tenth visible beside a whole
    size = len(share)
    with drawing(4.4) as (figure, axes):
        axes.imshow(pixels, extent=(0, size, size, 0))
        axes.axhline(seen_count, color=INK, linewidth=1)
        axes.axvline(seen_count, color=INK, linewidth=1)
        for side in axes.spines.values():
            side.set_visible(True)
        middle = (seen_count / 2, (size + seen_count) / 2)
        axes.set_xticks(middle, ["seen", "unseen"])
        axes.set_yticks(middle, ["seen", "unseen"], rotation=90, va="center")
        axes.tick_params(length=0)
        axes.set(xlabel="answer", ylabel="true class")
        pulled, strayed = share[seen_count:, :seen_count], share[:seen_count, seen_count:]
        told = (
            f"Confusion matrix of {seen_count} seen and {size - seen_count} unseen classes, mean over classes: "
            f"{100 * pulled.sum(1).mean():.1f} % of unseen images are given a seen class, "
            f"{100 * strayed.sum(1).mean():.1f} % of seen images an unseen one"
        )
        return finish(figure, "confusion", told, folder)
