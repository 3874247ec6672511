"""The paper's Figures 7 to 9 on this run's data; what they need and a run does not keep is trained again.

Test rows are opened here for showing alone: nothing that is found out goes into any result.  Each opening is a line in
the run's `test_access.jsonl`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE
from torch import Tensor

from zsl.common.config import flatten, override
from zsl.common.determinism import derive_seed, seeded
from zsl.common.drawing import COLOURS, DASHES, INK, MARKERS, Plot, drawing, finish, shorten
from zsl.common.files import atomic_path, read_json, write_json
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import fit_classifiers, train_synthesizer
from zsl.dcrgan.gan import synthesize
from zsl.dcrgan.method import looks
from zsl.dcrgan.metric import train_metric
from zsl.dcrgan.model import Synthesizer
from zsl.dcrgan.variants import VARIANTS
from zsl.experiments.reads import ACCESS_FILE, record_to
from zsl.experiments.run import name_of_run
from zsl.features.scaling import signed_power
from zsl.features.split import TestSplit, TrainSplit
from zsl.report.context import Context
from zsl.report.runs import ReportRun
from zsl.scores.evaluate import Record, evaluate_details, open_for_figures
from zsl.scores.model import Calibrated
from zsl.scores.summary import scores_of
from zsl.training.journal import Journal

LOOKS = 10  # points of an error curve
LETTERS = 24  # of a class name in a legend of two columns, at most
CLASSES = 10  # so many unseen classes can be told apart by colour
REAL, SYNTHETIC = 60, 60  # features of each class in Figure 9, at most
CACHE = "cache/paper.npz"
FORMAT = 1
CURVES = {"A": "A", "B": "B", "C-1": "C"}  # variant of Table III -> name in Figure 7: all have the VS classifier

HOLLOW: dict[str, Any] = {"markersize": 4, "markerfacecolor": "none", "markeredgewidth": 0.8}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class PaperFigures:
    """Plots by figure, and their captions."""

    errors: tuple[Plot, ...]  # Figure 7
    representations: tuple[Plot, ...]  # Figure 8
    features: tuple[Plot, ...]  # Figure 9
    shown: int  # unseen classes in Figures 8 and 9
    of: int


def why_not(run: ReportRun, context: Context) -> str | None:
    """Why the paper's figures cannot be made of this run; None if they can."""
    method = run.results.method
    if method != "dcrgan" and not method.startswith("C-"):
        return (
            "The paper's figures set variants of DCR-GAN beside each other, made from the recipe of the whole method: "
            f"they are drawn for runs of dcrgan and of C-1 to C-5; this run is of {method}"
            + (", one variant alone." if method in VARIANTS else ".")
        )
    if context.train is None:
        return "The paper's figures need the feature table that the run was made from."
    return None


def paper_figures(run: ReportRun, context: Context, folder: Path) -> PaperFigures:
    """Draw Figures 7 to 9 into `folder`, from `folder/cache` where the same was computed before."""
    assert context.train is not None
    assert context.test is not None
    config = override(DCRGANConfig(), flatten(run.results.config))
    key = {
        "config": run.results.config, "features": run.results.features, "splits": run.results.splits,
        "gamma": run.results.gamma.value, "format": FORMAT,
    }  # fmt: skip
    name = name_of_run(key, run.first_seed)
    unfinished = (folder / CACHE).with_name(name[:12])
    arrays = cached(folder / CACHE, name, partial(_compute, context.train, context.test, config, run, unfinished))
    shutil.rmtree(unfinished, ignore_errors=True)
    names = [shorten(context.class_name(class_id), LETTERS) for class_id in arrays["classes"].tolist()]
    return PaperFigures(
        errors=tuple(_error_plot(arrays, kind, folder) for kind in ("unseen", "harmonic")),
        representations=tuple(_representation_plot(arrays, kind, names, folder) for kind in ("TL", "MMTL")),
        features=tuple(_feature_plot(arrays, kind, names, folder) for kind in ("A", "C")),
        shown=len(names),
        of=len(context.train.unseen),
    )


def cached(path: Path, key: str, compute: Callable[[], Arrays]) -> Arrays:
    """What `path` holds if it was computed for `key`, else what `compute` gives, which is then kept there."""
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            there = {name: file[name] for name in file.files}
        if str(there.pop("key")) == key:
            return there
    made = compute()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, key=np.array(key), **made)
    return made


def _compute(train: TrainSplit, test: TestSplit, config: DCRGANConfig, run: ReportRun, folder: Path) -> Arrays:
    """All that the figures show; a minute or so on one core for CUB's first 50 classes.

    `folder` is for what a killed report goes on from.
    """
    seed, gamma = run.first_seed, run.results.gamma.value
    to_file = record_to(run.folder / ACCESS_FILE, seed)

    def record(note: dict[str, Any]) -> None:
        to_file(note | {"purpose": "figures"})

    train = replace(train, reads=[])
    classes = train.unseen[:CLASSES]
    arrays: Arrays = {"classes": classes.numpy()}
    made: dict[str, Synthesizer] = {}
    for variant in CURVES:
        of_variant = override(config, VARIANTS[variant].settings)
        curve, made[variant] = _errors(train, test, of_variant, record, seed, gamma, folder / variant)
        arrays[f"errors {variant}"] = curve
    unseen = open_for_figures(test, record)
    chosen = _some_of_each(unseen.labels, classes, REAL)
    features, labels = signed_power(unseen.features[chosen], config.feature_power), unseen.labels[chosen]
    arrays["labels"] = labels.numpy()
    seen_by_networks = made["C-1"].train
    for kind, modalities in (("TL", "features"), ("MMTL", "both")):
        metric = train_metric(seen_by_networks, override(config.metric, {"modalities": modalities}), seed=seed)
        with torch.no_grad():
            points = metric(features, seen_by_networks.attributes[labels])
        arrays[f"representations {kind}"] = embed(points, seed)
    for name, variant in (("A", "A"), ("C", "C-1")):
        maker = made[variant]
        with seeded(seed, "figure 9", train.device):
            synthetic, which = synthesize(maker.generator, maker.condition[classes], SYNTHETIC)
        arrays[f"features {name}"] = embed(torch.cat([features, synthetic]), seed)
        arrays["synthetic labels"] = classes[which].numpy()
    return arrays


def _errors(
    train: TrainSplit, test: TestSplit, config: DCRGANConfig, record: Record, seed: int, gamma: float, folder: Path
) -> tuple[np.ndarray, Synthesizer]:
    """(steps, 1 - T1, 1 - H) of the visual classifier at LOOKS points of one GAN's training [looks, 3], and its end."""
    every = max(1, config.gan.steps // LOOKS)
    config = replace(config, gan=replace(config.gan, steps=every * min(LOOKS, config.gan.steps)))
    name = name_of_run(flatten(asdict(config)) | {"rows": train.rows_hash}, seed)
    journal = Journal(folder / "metrics.jsonl", run=name)

    def file_of(steps: int) -> Path:
        return journal.folder / f"look-{steps}.json"

    points = looks(config, every)
    for steps, until in points:
        if not file_of(steps).is_file():
            synthesizer = train_synthesizer(train, until, seed=seed, log=journal)
            model = Calibrated(fit_classifiers(synthesizer, until.classifiers), gamma, train.seen)
            scores = scores_of(evaluate_details(model, test, record))
            write_json(file_of(steps), [float(steps), 1 - scores.acc_zsl, 1 - scores.harmonic])
    return np.array([read_json(file_of(steps)) for steps, _ in points]), train_synthesizer(
        train, config, seed=seed, log=journal
    )  # from its checkpoints


def _some_of_each(labels: Tensor, classes: Tensor, number: int) -> Tensor:
    """Positions of the first `number` images of each class."""
    return torch.cat([(labels == class_id).nonzero().squeeze(1)[:number] for class_id in classes])


def embed(points: Tensor, seed: int) -> np.ndarray:
    """t-SNE of points [N, dim] in the plane [N, 2]; equal seeds give equal pictures on one machine."""
    perplexity = min(30.0, max(1.0, (len(points) - 1) / 3))
    state = derive_seed(seed, "t-SNE") % 2**32
    return TSNE(perplexity=perplexity, init="pca", random_state=state).fit_transform(points.cpu().numpy())


def _error_plot(arrays: Arrays, kind: str, folder: Path) -> Plot:
    told = []
    column, what = {"unseen": (1, "unseen images among unseen classes (1 − T1)"), "harmonic": (2, "GZSL (1 − H)")}[kind]
    with drawing(3.2) as (figure, axes):
        for number, (variant, name) in enumerate(CURVES.items()):
            curve = arrays[f"errors {variant}"]
            errors = 100 * curve[:, column]
            axes.plot(curve[:, 0], errors, DASHES[number], marker=MARKERS[number], markersize=3.5,
                      color=COLOURS[number], label=f"variant {name}")  # fmt: skip
            told.append(f"variant {name} {errors[-1]:.1f} at the end, {errors.min():.1f} at its lowest")
        axes.set(xlabel="steps of the GAN", ylabel="error, %", title=what)
        axes.grid(True)
        axes.legend()
        alt = f"Error of the visual classifier over GAN steps, {what}, per cent: {'; '.join(told)}"
        return finish(figure, f"fig7-{kind}", alt, folder)


def _representation_plot(arrays: Arrays, kind: str, names: Sequence[str], folder: Path) -> Plot:
    title = {"TL": "(a) traditional triplet loss, TL", "MMTL": "(b) multi-modal triplet loss, MMTL"}[kind]
    points, labels = arrays[f"representations {kind}"], arrays["labels"]
    with drawing(_height(names)) as (figure, axes):
        for colour, marker, class_id in zip(COLOURS, MARKERS, arrays["classes"].tolist(), strict=False):
            own = points[labels == class_id]
            axes.plot(own[:, 0], own[:, 1], marker, color=colour, markersize=3.5, markeredgewidth=0)
        _legend(axes, names, title)
        alt = f"t-SNE of representations of {len(points)} images of {len(names)} unseen classes, {title}"
        return finish(figure, f"fig8-{kind}", alt, folder)


def _feature_plot(arrays: Arrays, kind: str, names: Sequence[str], folder: Path) -> Plot:
    title = {"A": "(a) baseline: variant A", "C": "(b) DCR-GAN: variant C"}[kind]
    points, labels = arrays[f"features {kind}"], arrays["labels"]
    real, synthetic = points[: len(labels)], points[len(labels) :]
    with drawing(_height(names) + 0.25) as (figure, axes):
        for colour, marker, class_id in zip(COLOURS, MARKERS, arrays["classes"].tolist(), strict=False):
            own, fake = real[labels == class_id], synthetic[arrays["synthetic labels"] == class_id]
            axes.plot(own[:, 0], own[:, 1], marker, color=colour, markersize=3.5, markeredgewidth=0)
            axes.plot(fake[:, 0], fake[:, 1], marker, color=colour, **HOLLOW, alpha=0.8)
        marks = [
            Line2D([], [], color=INK, marker="o", markersize=4, linestyle="", label="real: filled"),
            Line2D([], [], color=INK, marker="o", linestyle="", label="synthesized: hollow", **HOLLOW),
        ]
        _legend(axes, names, title, marks)
        counts = f"{len(real)} real and {len(synthetic)} synthesized features of {len(names)} unseen classes"
        return finish(figure, f"fig9-{kind}", f"t-SNE of {counts}, {title}", folder)


def _height(names: Sequence[str]) -> float:
    return 3.6 + 0.19 * -(-len(names) // 2)


def _legend(axes: Axes, names: Sequence[str], title: str, marks: Sequence[Line2D] = ()) -> None:
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
