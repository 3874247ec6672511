"""The published protocol: test rows choose epochs, as in the literature, to measure the inflation step by step.

The reference code chooses on the test rows the epoch of each classifier and the epoch of the GAN, and it has fusion
weights for CUB that depend on which test images are unseen.  The ladder of a seed has H after each of these choices.
The literature also chooses hyper-parameters in this way.  So the ladder's end is a lower bound of the inflation.  No
honest result uses these numbers, and each of them has the label "selected on test".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zsl.common.records import read_record, write_record
from zsl.experiments.results import REMEDY
from zsl.features.split import TestSplit, TrainSplit
from zsl.scores.details import Details, load_details, save_details
from zsl.scores.evaluate import Note, Record, evaluate_details
from zsl.scores.model import Calibrated
from zsl.scores.summary import Scores, harmonic_mean, scores_of
from zsl.training.journal import Journal
from zsl.training.log import silent
from zsl.training.method import Epochs, Method

LABEL = "published: the best of several test epochs, selected on test"


LADDER = ("γ = 0", "γ", "classifier epochs", "GAN epoch", "oracle weights")  # each adds a choice to those before it


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at the test rows during training."""

    last: Scores  # with the classifiers after their last epochs
    best: Scores  # with the epochs that give the highest H; T1 is that of the epochs that give the highest T1
    epochs: tuple[int, ...]  # of each classifier, for H, from 1
    epochs_of_zsl: tuple[int, ...]  # for T1
    oracle: float  # H if seen and unseen test images have different fusion weights, with the best epochs for it


@dataclass(frozen=True, kw_only=True)
class Published:
    """One seed's scores as the literature reports them."""

    best: Scores  # T1 from the look with the best T1; all other scores from the look with the best H
    steps: int  # steps of the GAN at the look with the best H; the details are of this look
    steps_of_zsl: int  # steps at the look with the best T1
    epochs: tuple[int, ...]  # of each classifier, at the look with the best H
    looks: int  # number of looks
    harmonic_oracle_weights: float  # best H if seen and unseen test images have different fusion weights
    ladder: dict[str, float]  # H by LADDER; the first two are honest, at the end of training


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
    """Train, look at the test rows after each `every` steps of the GAN, and return the choices and the best details.

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
    return _published(looks), load_details(files[_published(looks).steps].with_suffix(".safetensors"))


def _published(looks: Mapping[int, Look]) -> Published:
    """Choose among the looks, by the steps of the GAN."""
    steps = max(looks, key=lambda steps: looks[steps].best.harmonic)
    steps_of_zsl = max(looks, key=lambda steps: looks[steps].best.acc_zsl)
    at_end, best, oracle = looks[max(looks)], looks[steps].best, max(look.oracle for look in looks.values())
    levels = (at_end.last.harmonic_uncalibrated, at_end.last.harmonic, at_end.best.harmonic, best.harmonic, oracle)
    return Published(
        best=replace(best, acc_zsl=looks[steps_of_zsl].best.acc_zsl),
        steps=steps,
        steps_of_zsl=steps_of_zsl,
        epochs=looks[steps].epochs,
        looks=len(looks),
        harmonic_oracle_weights=oracle,
        ladder=dict(zip(LADDER, levels, strict=True)),
    )


def _train_until(method: Method, train: TrainSplit, config: Any, seed: int, journal: Journal) -> Any:
    """Train the model up to the steps of `config`.  The GAN continues; the other parts are trained for each look."""
    value = None
    for step in method.steps:
        value = step.run(train, value, config, seed, silent if step.resumes is None else journal)
    return value


def _look(
    method: Method, model: Any, gamma: float, train: TrainSplit, test: TestSplit, record: Record, file: Path
) -> None:
    """Score a model on the test rows after all epochs of its classifiers, and write the scores to `file`."""
    record = _once(record)

    def details_of(model: Any) -> Details:
        return evaluate_details(Calibrated(model, gamma, train.seen), test, record)

    def oracle_of(model: Any) -> float:
        return _with_oracle_weights(method, model, test, record)

    epochs = Epochs(counts=(1,), model=lambda _: model) if method.epochs is None else method.epochs(model)
    chosen = _best_epochs(epochs, lambda model: scores_of(details_of(model)).harmonic)
    of_zsl = _best_epochs(epochs, lambda model: scores_of(details_of(model)).acc_zsl)
    best = details_of(epochs.model(chosen))
    acc_zsl = scores_of(details_of(epochs.model(of_zsl))).acc_zsl
    save_details(best, file.with_suffix(".safetensors"))
    look = Look(
        last=scores_of(details_of(model)),
        best=replace(scores_of(best), acc_zsl=acc_zsl),
        epochs=tuple(epoch + 1 for epoch in chosen),
        epochs_of_zsl=tuple(epoch + 1 for epoch in of_zsl),
        oracle=oracle_of(epochs.model(_best_epochs(epochs, oracle_of))) if method.oracle is not None else 0.0,
    )
    write_record(file, look)  # last: it shows that the look is complete


def _best_epochs(epochs: Epochs, score: Callable[[Any], float]) -> tuple[int, ...]:
    """Choose the epoch of one classifier after the other that gives the highest score, from the last epochs on.

    The last epoch is kept where no other one gives a higher score.
    """
    chosen = [count - 1 for count in epochs.counts]
    for classifier, count in enumerate(epochs.counts):
        others = [[*chosen[:classifier], epoch, *chosen[classifier + 1 :]] for epoch in reversed(range(count))]
        chosen = max(others, key=lambda these: score(epochs.model(these)))
    return tuple(chosen)


def _once(record: Record) -> Record:
    """Note only the first of many openings of the same rows in one look."""
    notes: list[Note] = []

    def note(opened: Note) -> None:
        if not notes:
            record(opened)
        notes.append(opened)

    return note


def _with_oracle_weights(method: Method, model: Any, test: TestSplit, record: Record) -> float:
    """Compute H, without γ, with fusion weights that depend on whether an image's class is seen (reference code)."""
    assert method.oracle is not None
    for_seen, for_unseen = (scores_of(evaluate_details(each, test, record)) for each in method.oracle(model))
    return harmonic_mean(for_seen.acc_seen, for_unseen.acc_unseen)
