"""The data behind the paper's Figures 7 to 9: networks that a run does not keep are trained again.

Test rows are opened here to be shown, and choose nothing: no number goes into a result.  Each opening is a line in the
run's `test_access.jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zsl.common.config import flatten, override
from zsl.common.determinism import derive_seed, seeded
from zsl.common.files import atomic_path, read_json, write_json
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import fit_classifiers, train_synthesizer
from zsl.dcrgan.gan import synthesize
from zsl.dcrgan.method import looks
from zsl.dcrgan.metric import train_metric
from zsl.dcrgan.model import Synthesizer
from zsl.dcrgan.networks import MetricNet
from zsl.dcrgan.variants import VARIANTS, Form
from zsl.experiments.run import name_of_run
from zsl.features.scaling import signed_power
from zsl.features.split import TestSplit, TrainSplit
from zsl.report.separation import SPACES, separation
from zsl.scores.evaluate import Record, evaluate_details, open_for_figures
from zsl.scores.model import Calibrated
from zsl.scores.summary import scores_of
from zsl.training.journal import Journal

LOOKS = 10  # points of an error curve
CLASSES = 10  # so many unseen classes can be told apart by colour
REAL, SYNTHETIC = 60, 60  # features of each class in Figure 9, at most
CURVES = {"A": "A", "B": "B", "C-1": "C"}  # variant of Table III -> name in Figure 7: all have the VS classifier
LOSSES = {"TL": "features", "MMTL": "both"}  # Figure 8: triplet loss -> modalities of the metric network
GANS = {"A": "A", "C": "C-1"}  # Figure 9: name there -> variant of Table III

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Retraining:
    """What the networks of the figures are trained from, and the place that a killed report goes on from."""

    train: TrainSplit
    test: TestSplit
    config: DCRGANConfig  # of the run
    form: Form  # of the run
    gamma: float  # of the run
    seed: int
    record: Record  # notes that test rows are opened
    folder: Path  # of unfinished trainings


def cached(path: Path, key: str, compute: Callable[[], Arrays]) -> Arrays:
    """The arrays in the file `path`, if they belong to `key`; else those of `compute`, which are then kept there."""
    kept = _read_arrays(path) if path.is_file() else {}
    if "key" in kept and str(kept.pop("key")) == key:
        return kept
    arrays = compute()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, key=np.array(key), **arrays)
    return arrays


def _read_arrays(path: Path) -> Arrays:
    """The arrays in a file that `cached` wrote; none of a damaged file, which is made anew."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception:  # NumPy and zipfile raise many types
        return {}


def retrain(job: Retraining) -> Arrays:
    """All arrays that the figures show; about a minute on one core for CUB's first 50 classes.

    "classes" [n], "labels" [N] and "synthetic labels" [M] hold class ids.  "errors <variant>" [looks, 3] are error
    curves; "representations <loss>" [N, 2] and "features <name>" [N + M, 2] are points in the plane; "separation" has
    an accuracy for each of `separation.SPACES`.
    """
    job = replace(job, train=replace(job.train, reads=[]))
    arrays: Arrays = {"classes": job.train.unseen[:CLASSES].numpy()}
    synthesizers = {}
    for variant in CURVES:
        settings = VARIANTS[f"{variant}{job.form.suffix}"].settings
        of_variant = replace(job, config=override(job.config, settings), folder=job.folder / variant)
        arrays[f"errors {variant}"], synthesizers[variant] = error_curve(of_variant)
    unseen = open_for_figures(job.test, job.record)
    shown = _some_of_each(unseen.labels, job.train.unseen[:CLASSES], REAL)
    features, labels = signed_power(unseen.features[shown], job.config.feature_power), unseen.labels[shown]
    arrays["labels"] = labels.numpy()
    synthesizer = synthesizers["C-1"]
    metrics = {
        loss: train_metric(synthesizer.train, override(job.config.metric, {"modalities": modalities}), seed=job.seed)
        for loss, modalities in LOSSES.items()
    }
    every = signed_power(unseen.features, job.config.feature_power)
    apart = separation(metrics, synthesizer.regressors, every, unseen.labels, synthesizer.train.attributes)
    arrays["separation"] = np.array([apart[name] for name in SPACES.values()])
    arrays |= _representations(metrics, synthesizer.train, features, labels, job.seed)
    return arrays | _features(job, synthesizers, features)


def error_curve(job: Retraining) -> tuple[np.ndarray, Synthesizer]:
    """Errors of the visual classifier while one GAN trains, and the synthesizer at the end.

    The curve [looks, 3] has (steps, 1 − T1, 1 − H) at LOOKS points.
    """
    config = job.config
    every = max(1, config.gan.steps // LOOKS)
    config = replace(config, gan=replace(config.gan, steps=every * min(LOOKS, config.gan.steps)))
    name = name_of_run(flatten(asdict(config)) | {"rows": job.train.rows_hash}, job.seed)
    journal = Journal(job.folder / "metrics.jsonl", run=name)
    points = []
    for steps, until in looks(config, every):
        path = journal.folder / f"look-{steps}.json"
        if not path.is_file():
            synthesizer = train_synthesizer(job.train, until, seed=job.seed, log=journal)
            model = Calibrated(fit_classifiers(synthesizer, until.classifiers), job.gamma, job.train.seen)
            scores = scores_of(evaluate_details(model, job.test, job.record))
            write_json(path, [float(steps), 1 - scores.acc_zsl, 1 - scores.harmonic])
        points.append(read_json(path))
    return np.array(points), train_synthesizer(job.train, config, seed=job.seed, log=journal)  # from its checkpoints


@torch.no_grad()
def _representations(
    metrics: Mapping[str, MetricNet], train: TrainSplit, features: Tensor, labels: Tensor, seed: int
) -> Arrays:
    """Figure 8: points of test features [N, D] in the space of a metric network, trained with each triplet loss."""
    return {
        f"representations {loss}": embed(metric(features, train.attributes[labels]), seed)
        for loss, metric in metrics.items()
    }


def _features(job: Retraining, synthesizers: dict[str, Synthesizer], features: Tensor) -> Arrays:
    """Figure 9: points of test features [N, D] and, after them, of synthesized features [M, D]."""
    classes, arrays = job.train.unseen[:CLASSES], {}
    for name, variant in GANS.items():
        synthesizer = synthesizers[variant]
        with seeded(job.seed, "figure 9", job.train.device):
            synthetic, which = synthesize(synthesizer.generator, synthesizer.condition[classes], SYNTHETIC)
        arrays[f"features {name}"] = embed(torch.cat([features, synthetic]), job.seed)
        arrays["synthetic labels"] = classes[which].numpy()  # the same for each name
    return arrays


def _some_of_each(labels: Tensor, classes: Tensor, number: int) -> Tensor:
    """Positions of the first `number` images of each class."""
    return torch.cat([(labels == class_id).nonzero().squeeze(1)[:number] for class_id in classes])


def embed(points: Tensor, seed: int) -> np.ndarray:
    """t-SNE of points [N, dim] in the plane [N, 2]; equal seeds give equal pictures on one machine."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, max(1.0, (len(points) - 1) / 3))
    state = derive_seed(seed, "t-SNE") % 2**32
    return TSNE(perplexity=perplexity, init="pca", random_state=state).fit_transform(points.cpu().numpy())


def for_figures(record: Record) -> Record:
    """A Record that says in each note that the rows were opened for figures."""

    def record_purpose(note: dict[str, Any]) -> None:
        record(note | {"purpose": "figures"})

    return record_purpose
