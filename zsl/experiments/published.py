"""The published protocol: it chooses the epoch on the test rows, as the literature does, to measure the inflation.

The literature chooses more on the test rows: each classifier's epoch, and hyper-parameters.  So the difference from the
honest protocol is a lower bound of the inflation.  No honest result uses these numbers, and each of them has the label
"selected on test".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zsl.common.records import read_record, write_record
from zsl.experiments.results import REMEDY
from zsl.features.split import TestSplit, TrainSplit
from zsl.scores.details import Details, load_details, save_details
from zsl.scores.evaluate import Record, evaluate_details
from zsl.scores.model import Calibrated
from zsl.scores.summary import Scores, harmonic_mean, scores_of
from zsl.training.journal import Journal
from zsl.training.log import silent
from zsl.training.method import Method

LABEL = "published: the best of several test epochs, selected on test"


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at the test rows during training."""

    scores: Scores
    oracle: float  # H if seen and unseen test images have different fusion weights


@dataclass(frozen=True, kw_only=True)
class Published:
    """One seed's scores as the literature reports them."""

    best: Scores  # T1 from the look with the best T1; all other scores from the look with the best H
    steps: int  # steps of the GAN at the look with the best H; the details are of this look
    steps_of_zsl: int  # steps at the look with the best T1
    looks: int  # number of looks
    harmonic_oracle_weights: float  # best H if seen and unseen test images have different fusion weights


def train_published(
    method: Method,
    train: TrainSplit,
    test: TestSplit,
    config: Any,
    gamma: float,
    journal: Journal,
    record: Record,
    *,
    seed: int,
    every: int | None,
) -> tuple[Published, Details]:
    """Train, look at the test rows after each `every` steps of the GAN, and return the best look and its details.

    The checkpoints of `journal` let the GAN continue from look to look.  The folder of the checkpoints also keeps the
    scores of each look, so that a killed run continues after its last look.
    """
    assert method.looks is not None
    files = {steps: journal.folder / f"look-{steps}.json" for steps, _ in method.looks(config, every)}
    for steps, until in method.looks(config, every):
        if not files[steps].is_file():
            model = _train_until(method, train, until, seed, journal)
            _look(method, model, gamma, train, test, record, files[steps])
    looks = {steps: read_record(file, Look, f"delete it, and {REMEDY}") for steps, file in files.items()}
    steps = max(looks, key=lambda steps: looks[steps].scores.harmonic)
    steps_of_zsl = max(looks, key=lambda steps: looks[steps].scores.acc_zsl)
    published = Published(
        best=replace(looks[steps].scores, acc_zsl=looks[steps_of_zsl].scores.acc_zsl),
        steps=steps,
        steps_of_zsl=steps_of_zsl,
        looks=len(looks),
        harmonic_oracle_weights=max(look.oracle for look in looks.values()),
    )
    return published, load_details(files[steps].with_suffix(".safetensors"))


def _train_until(method: Method, train: TrainSplit, config: Any, seed: int, journal: Journal) -> Any:
    """Train the model up to the steps of `config`.  The GAN continues; the other parts are trained for each look."""
    value = None
    for step in method.steps:
        value = step.run(train, value, config, seed, silent if step.resumes is None else journal)
    return value


def _look(
    method: Method, model: Any, gamma: float, train: TrainSplit, test: TestSplit, record: Record, file: Path
) -> None:
    """Score a model on the test rows, and write the scores to `file`."""
    details = evaluate_details(Calibrated(model, gamma, train.seen), test, record)
    oracle = _with_oracle_weights(method, model, test, record)
    save_details(details, file.with_suffix(".safetensors"))
    write_record(file, Look(scores=scores_of(details), oracle=oracle))  # last: it shows that the look is complete


def _with_oracle_weights(method: Method, model: Any, test: TestSplit, record: Record) -> float:
    """Compute H, without γ, with fusion weights that depend on whether an image's class is seen (reference code)."""
    if method.oracle is None:
        return 0.0
    for_seen, for_unseen = (scores_of(evaluate_details(each, test, record)) for each in method.oracle(model))
    return harmonic_mean(for_seen.acc_seen, for_unseen.acc_unseen)
