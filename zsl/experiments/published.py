"""Of the literature's protocol one habit, to measure by how much it inflates: the epoch is chosen on the test rows.

The literature chooses more there (each classifier's epoch, hyper-parameters), so the difference to the honest protocol
is a lower bound of its inflation.  Nothing here feeds an honest result; every number carries the label "selected on
test".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from zsl.common.files import read_json, write_json
from zsl.dcrgan.classifiers import DCRGAN
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import fit_classifiers, train_synthesizer
from zsl.features.split import TestSplit, TrainSplit
from zsl.scores.details import Details, load_details, save_details
from zsl.scores.evaluate import Record, evaluate_details
from zsl.scores.summary import Scores, harmonic_mean, scores_of
from zsl.training.journal import Journal

ORACLE = "harmonic_oracle_weights"
LABEL = "published: the best of several test epochs, selected on test"
# CUB-GZSL's (ω1, ω2) in the reference code: those of test_seen and of test_unseen images.  They know the answer.
SEEN_WEIGHTS, UNSEEN_WEIGHTS = (0.05, 0.01), (2.6, 0.05)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One seed's scores as the literature reports them."""

    best: Scores  # T1 of the look with the best T1; all else of the look with the best H
    steps: int  # of the GAN at the look with the best H, which is the one that details are kept of
    steps_of_zsl: int  # at the look with the best T1
    looks: int  # how many there were
    harmonic_oracle_weights: float  # best H where seen and unseen test images are fused with weights of their own


def train_published(
    train: TrainSplit,
    test: TestSplit,
    config: DCRGANConfig,
    journal: Journal,
    record: Record,
    *,
    seed: int,
    every: int,
) -> tuple[Published, Details]:
    """Train, look at the test rows after each `every` steps of the GAN, and keep the best look; and its details.

    The GAN goes on from look to look through the checkpoints of `journal`.  What was seen is kept among them, so that a
    killed run goes on after its last look.
    """

    def file_of(steps: int) -> Path:
        return journal.folder / f"look-{steps}.json"

    def known(steps: int) -> bool:
        return file_of(steps).is_file()

    for steps, model in models_over_steps(train, config, journal, seed=seed, every=every, known=known):
        details = evaluate_details(model, test, record)
        oracle = _with_oracle_weights(model, test, record)
        save_details(details, file_of(steps).with_suffix(".safetensors"))
        write_json(file_of(steps), {"scores": asdict(scores_of(details)), "oracle": oracle})  # last: the look is whole
    looks = {steps: read_json(file_of(steps)) for steps in steps_of_looks(config.gan.steps, every)}
    best = {key: max(looks, key=lambda steps: looks[steps]["scores"][key]) for key in ("harmonic", "acc_zsl")}
    scores = Scores(**looks[best["harmonic"]]["scores"])
    published = Published(
        best=replace(scores, acc_zsl=looks[best["acc_zsl"]]["scores"]["acc_zsl"]),
        steps=best["harmonic"],
        steps_of_zsl=best["acc_zsl"],
        looks=len(looks),
        harmonic_oracle_weights=max(look["oracle"] for look in looks.values()),
    )
    return published, load_details(file_of(best["harmonic"]).with_suffix(".safetensors"))


def steps_of_looks(steps: int, every: int) -> list[int]:
    """After how many of the GAN's steps one looks: each `every`, and at the end.

    Raises:
        ValueError: `every` is no number of steps.
    """
    if every < 1:
        raise ValueError(f"--every {every}: the GAN takes at least 1 step between two looks at the test rows")
    return [*range(every, steps, every), steps]


def models_over_steps(
    train: TrainSplit,
    config: DCRGANConfig,
    journal: Journal,
    *,
    seed: int,
    every: int,
    known: Callable[[int], bool],
) -> Iterator[tuple[int, DCRGAN]]:
    """(steps, model) after each `every` steps of one GAN, which goes on through `journal`.

    The first looks may be `known` from before a kill: they are passed over, for the journal's checkpoints are further.
    """
    for steps in steps_of_looks(config.gan.steps, every):
        if not known(steps):
            until = replace(config, gan=replace(config.gan, steps=steps))
            made = train_synthesizer(train, until, seed=seed, log=journal)
            yield steps, fit_classifiers(made, config.classifiers)


def _with_oracle_weights(model: DCRGAN, test: TestSplit, record: Record) -> float:
    """H where a test image's fusion weights depend on whether its class was seen, as in the reference code: no γ."""
    honest, scores = model.config, []
    for ss, srs in (SEEN_WEIGHTS, UNSEEN_WEIGHTS):
        model.config = replace(honest, weight_vs=1.0, weight_ss=ss, weight_srs=srs, gamma=0.0)
        scores.append(scores_of(evaluate_details(model, test, record)))
    model.config = honest
    return harmonic_mean(scores[0].acc_seen, scores[1].acc_unseen)
