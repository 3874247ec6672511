"""The models of one run, read from its files, and their scores for features.

    predictor.json                   backbone, classes, configuration
    names.csv                        names of the classes for readers
    train.safetensors                trainval features, labels, scaler; every class's attributes
    seed-<k>/model.safetensors       heads and regressors, as they were scored
    seed-<k>/synthesizer.safetensors generator, SRN, class representations

A run's folder has these files beside its results.  An export has only these and `backbone.safetensors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from zsl.common.files import read_object
from zsl.common.records import write_record
from zsl.common.tensors import write_tensors, written_hash
from zsl.datasets.class_names import NAMES_FILE, default_names, read_names, write_names
from zsl.dcrgan.model import DCRGAN
from zsl.dcrgan.saved import (
    FACTS_FILE,
    MODEL_FILE,
    REMEDY,
    SYNTHESIZER_FILE,
    TRAIN_FILE,
    PredictorFacts,
    load_model,
    load_train,
    read_config,
    read_facts,
    save_synthesizer,
    save_train,
)
from zsl.experiments.results import CONFIG_FILE, RESULTS_FILE
from zsl.features.split import TrainSplit
from zsl.scores.model import Calibrated

SPACES = ("VS", "SS", "SRS")


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """The trained models of one run, one for each seed."""

    facts: PredictorFacts
    train: TrainSplit  # with attributes in the units of the split file
    models: Mapping[int, Calibrated]  # by seed: each a DCRGAN with its γ
    readable_names: tuple[str, ...] = ()  # of all classes of `train`, for readers; () for names by the rules

    @property
    def classes(self) -> Tensor:
        """Ids of the columns of all scores [K]: seen, unseen, then new classes."""
        return torch.cat([self.train.seen, self.train.unseen])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K names of the columns of all scores."""
        return tuple(self.train.class_names[label] for label in self.classes.tolist())

    @property
    def shown_names(self) -> tuple[str, ...]:
        """The K names of the columns of all scores for readers."""
        names = self.readable_names or default_names(self.train.class_names)
        return tuple(names[label] for label in self.classes.tolist())

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each column's class: seen, unseen or new."""
        new = set(self.facts.new_classes)
        unseen = ["new" if self.train.class_names[label] in new else "unseen" for label in self.train.unseen.tolist()]
        return ("seen",) * len(self.train.seen) + tuple(unseen)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The A names; numbers from 1 where the benchmark has no names."""
        names = self.facts.attribute_names
        return tuple(names or map(str, range(1, self.train.attributes.shape[1] + 1)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """The scores of N images: means over the predictor's seeds, on the CPU."""

    votes: Tensor  # [3, N, K] weighted log-probabilities that VS, SS and SRS add to the fused scores
    calibration: Tensor  # [K] added to the scores too: −γ for seen classes, 0 for the others
    attributes: Tensor  # [N, A] strengths that F1 reads from the features, in the units of the run's attributes

    @property
    def scores(self) -> Tensor:
        """Fused scores [N, K] (eq. 10), calibrated as in the run."""
        return self.votes.sum(0) + self.calibration


@torch.no_grad()
def score(predictor: Predictor, features: Tensor) -> Scored:
    """Score features [N, D] of the backbone; they are not scaled yet."""
    scaled = predictor.train.scaler(features.float().cpu())
    models = predictor.models.values()
    return Scored(
        votes=torch.stack([torch.stack(model.model.votes(scaled)) for model in models]).mean(0),
        calibration=torch.stack([model.calibration for model in models]).mean(0),
        attributes=torch.stack([_strengths(model.model, scaled) for model in models]).mean(0),
    )


def _strengths(model: DCRGAN, scaled: Tensor) -> Tensor:
    """Attributes [N, A] that F1 reads from scaled features [N, D], in the units of the run's attributes."""
    return model.synthesizer.attribute_scaler.undo(model.regressors.attributes(model.inputs(scaled)))


def save_predictor(predictor: Predictor, folder: Path) -> None:
    """Write a predictor, with its new classes, to a folder that `load_predictor` reads.

    `predictor.json` comes last and lists the other files, so that a copy that lacks one, or has one of another export,
    is found.
    """
    for seed, calibrated in predictor.models.items():
        write_tensors(folder / f"seed-{seed}" / MODEL_FILE, calibrated.state_dict())
        save_synthesizer(calibrated.model, folder / f"seed-{seed}")
    names = predictor.readable_names or default_names(predictor.train.class_names)
    write_names(folder / NAMES_FILE, predictor.train.class_names, names)
    save_train(predictor.train, folder)
    files = [
        TRAIN_FILE,
        *(f"seed-{seed}/{name}" for seed in predictor.models for name in (MODEL_FILE, SYNTHESIZER_FILE)),
    ]
    hashes = {file: str(written_hash(folder / file, REMEDY)) for file in files}
    facts = replace(predictor.facts, class_names=predictor.train.class_names, files=hashes)
    write_record(folder / FACTS_FILE, facts)


def load_predictor(folder: Path, seeds: Sequence[int] = ()) -> Predictor:
    """Read the predictor that a run, or an export, keeps in `folder`.

    seeds: those to read; () reads all.

    Raises:
        FileNotFoundError: there is no such folder, or it has no such seed, or an export lacks a file.
        ValueError: the run cannot predict, or one of its files is broken, or an export has a file of another one.
    """
    facts = read_facts(folder)
    _check_files(folder, facts, seeds)
    seeds = _find_seeds(folder, seeds)
    config = read_config(facts.config, str(folder / FACTS_FILE))
    try:
        train = load_train(folder / TRAIN_FILE, facts)
        models = {seed: load_model(folder / f"seed-{seed}", train, config, seed) for seed in seeds}
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{folder} has a file that is broken or of something else ({error}); run it anew") from error
    names = read_names(folder / NAMES_FILE, train.class_names)
    return Predictor(facts=facts, train=train, models=models, readable_names=names)


def _check_files(folder: Path, facts: PredictorFacts, seeds: Sequence[int]) -> None:
    """Refuse an export that lacks a file that was written with it, or has one of another export.

    seeds: those whose files count; () for all.
    """
    asked = {Path(TRAIN_FILE).parent, *(Path(f"seed-{seed}") for seed in seeds)}
    listed = {file: written for file, written in facts.files.items() if not seeds or Path(file).parent in asked}
    for file, written in listed.items():
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{folder} lacks {file}, which its {FACTS_FILE} lists; copy the whole export anew")
        if written_hash(folder / file, REMEDY) != written:
            raise ValueError(
                f"{folder / file} is not the file that {FACTS_FILE} lists, but one of another export; copy the whole "
                "export anew"
            )


def _find_seeds(folder: Path, seeds: Sequence[int]) -> Sequence[int]:
    """`seeds`, each of which `folder` has; for (), all seeds of `folder`."""
    numbers = [path.parent.name.removeprefix("seed-") for path in folder.glob(f"seed-*/{SYNTHESIZER_FILE}")]
    present = sorted(int(number) for number in numbers if number.isdecimal())  # a copy of a folder is no seed
    absent = [seed for seed in seeds if seed not in present]
    if absent or not present:
        wanted = f"seed {absent[0]}" if present else "seed that can predict"
        raise FileNotFoundError(f"{folder} has no {wanted}; there are {', '.join(map(str, present)) or 'none'}")
    lost = [] if seeds else sorted(_seeds_with_results(folder) - set(present))
    if lost:
        raise FileNotFoundError(
            f"{folder} lacks the model of seed {lost[0]}, which is in its {RESULTS_FILE}; train it again with the "
            f"command of the run, or take the others with --seeds {' '.join(map(str, present))}"
        )
    return seeds or present


def _seeds_with_results(folder: Path) -> set[int]:
    """The seeds in the results of a run; none for an unfinished run, or for an export, which may leave some out."""
    path = folder / RESULTS_FILE
    is_finished_run = path.is_file() and (folder / CONFIG_FILE).is_file()
    listed = read_object(path, REMEDY).get("seeds") if is_finished_run else None
    scores = listed if isinstance(listed, list) else []
    return {item["seed"] for item in scores if isinstance(item, dict) and isinstance(item.get("seed"), int)}
