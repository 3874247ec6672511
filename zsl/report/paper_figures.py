"""The paper's Figures 7 to 9 on this run's data."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsl.common.drawing import COLOURS, DASHES, INK, MARKERS, Plot, drawing, finish, shorten
from zsl.common.records import content_of
from zsl.dcrgan.saved import read_config
from zsl.dcrgan.variants import NAME, VARIANTS, form_of
from zsl.experiments.reads import ACCESS_FILE, record_to
from zsl.experiments.run import name_of_run
from zsl.report.cells import Table, percent, word
from zsl.report.context import Context
from zsl.report.retraining import CURVES, Arrays, Retraining, cached, for_figures, retrain
from zsl.report.runs import ReportRun
from zsl.report.separation import SPACES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

LETTERS = 24  # of a class name in a legend of two columns, at most
CACHE = "cache/paper.npz"
FORMAT = 2  # of the cache

HOLLOW: dict[str, Any] = {"markersize": 4, "markerfacecolor": "none", "markeredgewidth": 0.8}


@dataclass(frozen=True, kw_only=True)
class PaperFigures:
    """The plots of each figure, and the numbers in their captions."""

    errors: tuple[Plot, ...]  # Figure 7
    representations: tuple[Plot, ...]  # Figure 8
    features: tuple[Plot, ...]  # Figure 9
    shown: int  # unseen classes in Figures 8 and 9
    of: int  # all unseen classes
    separation: Table | None = None  # in the spaces of Figure 8


def why_not(run: ReportRun, context: Context) -> str | None:
    """Why the paper's figures cannot be drawn for this run; None where they can."""
    method = run.results.method
    if not method.startswith((NAME, "C-")):
        return (
            "The paper's figures set variants of DCR-GAN beside each other, made from the recipe of the whole method: "
            f"they are drawn for runs of dcrgan and of C-1 to C-5; this run is of {method}"
            + (", one variant alone." if method in VARIANTS else ".")
        )
    if context.train is None:
        return "The paper's figures need the feature table that the run was made from."
    return None


def paper_figures(run: ReportRun, context: Context, folder: Path) -> PaperFigures:
    """Draw Figures 7 to 9 into `folder`; what an earlier call computed for the same run lies in `folder/cache`."""
    assert context.train is not None
    results = run.results
    key = {
        "config": results.config, "features": content_of(results.features), "splits": results.splits,
        "gamma": results.gamma.value, "format": FORMAT,
    }  # fmt: skip
    name = name_of_run(key, run.first_seed)
    unfinished = (folder / CACHE).with_name(name[:12])
    arrays = cached(folder / CACHE, name, partial(_compute, run, context, unfinished))
    shutil.rmtree(unfinished, ignore_errors=True)
    names = [shorten(context.class_name(class_id), LETTERS) for class_id in arrays["classes"].tolist()]
    return PaperFigures(
        errors=tuple(_error_plot(arrays, kind, folder) for kind in ("unseen", "harmonic")),
        representations=tuple(_representation_plot(arrays, kind, names, folder) for kind in ("TL", "MMTL")),
        features=tuple(_feature_plot(arrays, kind, names, folder) for kind in ("A", "C")),
        shown=len(names),
        of=len(context.train.unseen),
        separation=_separation_table(arrays),
    )


def _separation_table(arrays: Arrays) -> Table:
    """How many of the images of unseen classes lie nearest to their own class's mean, in each space."""
    rows = zip(SPACES, arrays["separation"].tolist(), strict=True)
    return Table(columns=("space", "nearest mean is right"), rows=tuple((word(space), percent(v)) for space, v in rows))


def _compute(run: ReportRun, context: Context, unfinished: Path) -> Arrays:
    assert context.train is not None
    assert context.test is not None
    job = Retraining(
        train=context.train, test=context.test, config=read_config(run.results.config, str(run.folder)),
        form=form_of(run.results.method), gamma=run.results.gamma.value, seed=run.first_seed,
        record=for_figures(record_to(run.folder / ACCESS_FILE, run.first_seed)), folder=unfinished,
    )  # fmt: skip
    return retrain(job)


def _error_plot(arrays: Arrays, kind: str, folder: Path) -> Plot:
    """Figure 7: an error over the GAN's steps, one line a variant."""
    ends = []
    column, what = {"unseen": (1, "unseen images among unseen classes (1 − T1)"), "harmonic": (2, "GZSL (1 − H)")}[kind]
    with drawing(3.2) as (figure, axes):
        for number, (variant, name) in enumerate(CURVES.items()):
            curve = arrays[f"errors {variant}"]
            errors = 100 * curve[:, column]
            axes.plot(curve[:, 0], errors, DASHES[number], marker=MARKERS[number], markersize=3.5,
                      color=COLOURS[number], label=f"variant {name}")  # fmt: skip
            ends.append(f"variant {name} {errors[-1]:.1f} at the end, {errors.min():.1f} at its lowest")
        axes.set(xlabel="steps of the GAN", ylabel="error, %", title=what)
        axes.grid(True)
        axes.legend()
        alt = f"Error of the visual classifier over GAN steps, {what}, per cent: {'; '.join(ends)}"
        return finish(figure, f"fig7-{kind}", alt, folder)


def _representation_plot(arrays: Arrays, kind: str, names: Sequence[str], folder: Path) -> Plot:
    """Figure 8: representations of test images, one colour and marker a class."""
    title = {"TL": "(a) traditional triplet loss, TL", "MMTL": "(b) multi-modal triplet loss, MMTL"}[kind]
    points, labels = arrays[f"representations {kind}"], arrays["labels"]
    with drawing(_height(names)) as (figure, axes):
        for colour, marker, class_id in zip(COLOURS, MARKERS, arrays["classes"].tolist(), strict=False):
            of_class = points[labels == class_id]
            axes.plot(of_class[:, 0], of_class[:, 1], marker, color=colour, markersize=3.5, markeredgewidth=0)
        _legend(axes, names, title)
        alt = f"t-SNE of representations of {len(points)} images of {len(names)} unseen classes, {title}"
        return finish(figure, f"fig8-{kind}", alt, folder)


def _feature_plot(arrays: Arrays, kind: str, names: Sequence[str], folder: Path) -> Plot:
    """Figure 9: real features, filled, and synthesized ones, hollow; one colour and marker a class."""
    from matplotlib.lines import Line2D

    title = {"A": "(a) baseline: variant A", "C": "(b) DCR-GAN: variant C"}[kind]
    points, labels = arrays[f"features {kind}"], arrays["labels"]
    real, synthetic = points[: len(labels)], points[len(labels) :]
    with drawing(_height(names) + 0.25) as (figure, axes):
        for colour, marker, class_id in zip(COLOURS, MARKERS, arrays["classes"].tolist(), strict=False):
            of_class, fake = real[labels == class_id], synthetic[arrays["synthetic labels"] == class_id]
            axes.plot(of_class[:, 0], of_class[:, 1], marker, color=colour, markersize=3.5, markeredgewidth=0)
            axes.plot(fake[:, 0], fake[:, 1], marker, color=colour, **HOLLOW, alpha=0.8)
        marks = [
            Line2D([], [], color=INK, marker="o", markersize=4, linestyle="", label="real: filled"),
            Line2D([], [], color=INK, marker="o", linestyle="", label="synthesized: hollow", **HOLLOW),
        ]
        _legend(axes, names, title, marks)
        counts = f"{len(real)} real and {len(synthetic)} synthesized features of {len(names)} unseen classes"
        return finish(figure, f"fig9-{kind}", f"t-SNE of {counts}, {title}", folder)


def _height(names: Sequence[str]) -> float:
    """Inches for the points and a legend of two columns below them."""
    return 3.6 + 0.19 * -(-len(names) // 2)


def _legend(axes: Axes, names: Sequence[str], title: str, marks: Sequence[Line2D] = ()) -> None:
    """Put title and legend beside a plot of points, whose coordinates mean nothing; marks: further entries."""
    from matplotlib.lines import Line2D

    axes.set_title(title)
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set(visible=True, alpha=0.4)
    colours = [
        Line2D([], [], color=colour, marker=marker, markersize=5, linestyle="", label=name)
        for colour, marker, name in zip(COLOURS, MARKERS, names, strict=False)
    ]
    axes.legend(handles=[*colours, *marks], loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, columnspacing=1,
                handletextpad=0.2)  # fmt: skip
