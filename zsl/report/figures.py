"""Figures of a run's answers: seen-unseen curve, accuracy of each class, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from zsl.common.drawing import COLOURS, DASHES, INK, SEEN, UNSEEN, Plot, drawing, finish, shorten
from zsl.report.context import Context
from zsl.report.runs import ReportRun
from zsl.report.tables import mean_score
from zsl.scores.curves import Curve
from zsl.scores.details import Details
from zsl.scores.per_class import ClassAccuracy, class_accuracies, confusion_matrix
from zsl.scores.summary import curve_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS = 30  # of a class name beside its bar, at most
NAMED = 60  # of more classes the names are not shown
FIGURES_FOLDER = "figures"
CURVE_ALT = "Seen accuracy S over unseen accuracy U, per cent"


def curve_plot(run: ReportRun, folder: Path) -> Plot:
    """The seen-unseen curve of each seed, with its AUSUC and its operating point."""
    parts = [CURVE_ALT]
    with drawing(3.9) as (figure, axes):
        for number, (seed, details) in enumerate(run.details.items()):
            curve = curve_of(details)
            label = f"seed {seed}: AUSUC {100 * curve.ausuc:.1f}"
            parts.append(f"{label}, operating point {_draw_curve(axes, curve, number, label)}")
        axes.plot([], [], "o", color="none", markeredgecolor=INK, markersize=7, label="operating point (reported U, S)")
        _label_curves(axes)
        return finish(figure, "seen-unseen-curve", "; ".join(parts), folder)


def curves_plot(runs: Sequence[ReportRun], folder: Path) -> Plot:
    """The seen-unseen curve of each run's first seed."""
    parts = [CURVE_ALT]
    with drawing(3.6 + 0.2 * len(runs)) as (figure, axes):
        for number, run in enumerate(runs):
            if run.first is None:
                continue
            label = f"{run.name}: AUSUC {mean_score(run, 'ausuc').text}"
            parts.append(f"{label}, operating point {_draw_curve(axes, curve_of(run.first), number, label)}")
        _label_curves(axes, below=True)
        return finish(figure, "seen-unseen-curves", "; ".join(parts), folder)


def _draw_curve(axes: Axes, curve: Curve, number: int, label: str) -> str:
    """Draw a curve and its operating point (γ as trained), and return that point in words."""
    colour, style = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    axes.plot(100 * curve.unseen.numpy(), 100 * curve.seen.numpy(), style, color=colour, linewidth=1.5, label=label)
    unseen, seen = (100 * accuracy for accuracy in curve.at(0.0))
    axes.plot(unseen, seen, "o", color=colour, markersize=7, markeredgecolor=INK, zorder=3)
    return f"U {unseen:.1f}, S {seen:.1f}"


def _label_curves(axes: Axes, *, below: bool = False) -> None:
    """Label the axes and add the legend; below: under the drawing."""
    axes.set(xlabel="U: accuracy on unseen classes, %", ylabel="S: accuracy on seen classes, %")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.grid(True)
    if below:
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), handlelength=1.6)
    else:
        axes.legend(loc="lower left", handlelength=1.6)


def classes_plot(run: ReportRun, kind: str, context: Context, folder: Path) -> Plot:
    """Accuracy of each class of `kind` (seen or unseen), sorted; the first seed has 95 % Wilson intervals."""
    by_seed = {seed: class_accuracies(*_answers(details, kind)) for seed, details in run.details.items()}
    order = sorted(by_seed.pop(run.first_seed), key=lambda entry: entry.accuracy)
    others = [{entry.class_id: entry.accuracy for entry in entries} for entries in by_seed.values()]
    named = len(order) <= NAMED
    mean = float(np.mean([100 * entry.accuracy for entry in order]))
    with drawing(0.9 + 0.2 * len(order) if named else 4.5) as (figure, axes):
        _draw_accuracies(axes, order, others, kind, named=named)
        axes.axvline(mean, color=INK, linewidth=0.8, linestyle="--")
        axes.set(xlim=(-2, 102), ylim=(-0.8, len(order) - 0.2), xlabel=f"accuracy, %; dashed: mean {mean:.1f}")
        if named:
            names = [shorten(context.class_name(entry.class_id), LETTERS) for entry in order]
            axes.set_yticks(np.arange(len(order)), names)
            axes.tick_params(axis="y", length=0)
        else:
            axes.set(ylabel=f"{len(order)} {kind} classes, sorted")
            axes.set_yticks([])
        axes.grid(True, axis="x")
        ends = " to ".join(f"{context.class_name(e.class_id)} {100 * e.accuracy:.1f}" for e in (order[0], order[-1]))
        alt = f"Accuracy of each {kind} class, sorted, with its interval; per cent: from {ends}; mean {mean:.1f}"
        return finish(figure, f"accuracy-{kind}", alt, folder)


def _draw_accuracies(
    axes: Axes, order: Sequence[ClassAccuracy], others: Sequence[dict[int, float]], kind: str, *, named: bool
) -> None:
    """Draw a dot and an interval for each class of the first seed, in `order`, and a tick for each of `others`."""
    rank = np.arange(len(order))
    colour = UNSEEN if kind == "unseen" else SEEN
    low, high = (np.array([100 * getattr(entry, end) for entry in order]) for end in ("low", "high"))
    axes.hlines(rank, low, high, color=colour, alpha=0.45, linewidth=4 if named else 1)
    for accuracy in others:
        of_seed = [100 * accuracy[entry.class_id] for entry in order]
        axes.plot(of_seed, rank, "|", color=INK, alpha=0.6, markersize=5)
    axes.plot([100 * entry.accuracy for entry in order], rank, "o", color=colour, markersize=5 if named else 2)


def _answers(details: Details, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers and labels of the test images of seen or unseen classes, as `kind` says."""
    return getattr(details, f"{kind}_predicted"), getattr(details, f"{kind}_labels")


def confusion_plot(run: ReportRun, folder: Path) -> Plot:
    """Share of each true class's images that had each answer, over all seeds, with the border of seen and unseen."""
    assert run.first is not None
    total = torch.stack([confusion_matrix(details) for details in run.details.values()]).sum(0).double()
    share = (total / total.sum(1, keepdim=True).clamp(min=1)).numpy()
    seen_count = len(run.first.gzsl_classes) - len(run.first.zsl_classes)
    size = len(share)
    with drawing(4.4) as (figure, axes):
        axes.imshow(_pixels(share, seen_count), extent=(0, size, size, 0))
        axes.axhline(seen_count, color=INK, linewidth=1)
        axes.axvline(seen_count, color=INK, linewidth=1)
        for side in axes.spines.values():
            side.set_visible(True)
        middle = (seen_count / 2, (size + seen_count) / 2)
        axes.set_xticks(middle, ["seen", "unseen"])
        axes.set_yticks(middle, ["seen", "unseen"], rotation=90, va="center")
        axes.tick_params(length=0)
        axes.set(xlabel="answer", ylabel="true class")
        to_seen, to_unseen = share[seen_count:, :seen_count], share[:seen_count, seen_count:]
        alt = (
            f"Confusion matrix of {seen_count} seen and {size - seen_count} unseen classes, mean over classes: "
            f"{100 * to_seen.sum(1).mean():.1f} % of unseen images are given a seen class, "
            f"{100 * to_unseen.sum(1).mean():.1f} % of seen images an unseen one"
        )
        return finish(figure, "confusion", alt, folder)


def _pixels(share: np.ndarray, seen_count: int) -> np.ndarray:
    """Colours [C, C, 4] of a confusion matrix [C, C]: rows of seen and of unseen classes differ; opacity is √share.

    The root makes a tenth visible beside a whole.
    """
    pixels = np.zeros((*share.shape, 4))
    for block, colour in ((slice(0, seen_count), SEEN), (slice(seen_count, None), UNSEEN)):
        pixels[block, :, :3] = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    pixels[..., 3] = np.sqrt(share)
    return pixels
