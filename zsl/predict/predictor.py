"""What a run keeps for prediction, and answers from it: features in, class scores out, new classes by attributes.

    predictor.json                   backbone, classes, configuration
    train.safetensors                trainval features, labels, scaler; every class's attributes
    seed-<k>/model.safetensors       heads and regressors, as they were scored
    seed-<k>/synthesizer.safetensors generator, SRN, class representations

A run's folder has these beside its results.  An exported folder has these alone, and `backbone.safetensors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from zsl.common.config import flatten, override
from zsl.datasets.attribute_table import AttributeTable
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import as_networks_see, fit_classifiers
from zsl.dcrgan.gan import generator_condition
from zsl.dcrgan.model import DCRGAN
from zsl.dcrgan.saved import (
    MODEL_FILE,
    SYNTHESIZER_FILE,
    TRAIN_FILE,
    load_model,
    load_train,
    read_facts,
    save_shared,
    save_synthesizer,
    save_tensors,
)
from zsl.dcrgan.srn import sample_linearly
from zsl.features.split import TrainSplit
from zsl.scores.model import Calibrated

SPACES = ("VS", "SS", "SRS")
FARTHEST = 1000  # times the run's strongest attribute a new class's may be


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """Trained models of one run, one a seed."""

    facts: dict[str, Any]  # predictor.json
    train: TrainSplit  # with the attributes as they were given
    models: Mapping[int, Calibrated]  # by seed: each a DCRGAN with its γ

    @property
    def classes(self) -> Tensor:
        """Ids of the columns of all scores [K]: seen, unseen, new ones."""
        return torch.cat([self.train.seen, self.train.unseen])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the columns of all scores, K of them."""
        return tuple(self.train.class_names[label] for label in self.classes.tolist())

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each column's class is: seen, unseen, or new."""
        new = set(self.facts["new_classes"])
        unseen = ["new" if self.train.class_names[label] in new else "unseen" for label in self.train.unseen.tolist()]
        return ("seen",) * len(self.train.seen) + tuple(unseen)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """A names; numbers from 1 where the benchmark has none."""
        given = self.facts["attribute_names"]
        return tuple(given or map(str, range(1, self.train.attributes.shape[1] + 1)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What a predictor says about N images; means over its seeds, on the CPU."""

    votes: Tensor  # [3, N, K] what VS, SS and SRS add to the fused scores: weighted log-probabilities
    calibration: Tensor  # [K] what is added to each class's score beside: −γ for seen classes
    attributes: Tensor  # [N, A] strengths that F1 reads from the features, in the units of the run's attributes

    @property
    def scores(self) -> Tensor:
        """Fused scores [N, K] (eq. 10), calibrated as in the run."""
        return self.votes.sum(0) + self.calibration


@torch.no_grad()
def score(predictor: Predictor, features: Tensor) -> Scored:
    """Score features [N, D] as the backbone gives them."""
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


# --- new classes -----------------------------------------------------------------------------------------------------


def add_classes(predictor: Predictor, table: AttributeTable) -> Predictor:
    """The predictor with the classes of `table` beside its unseen ones, as if they had been unseen from the start.

    Their attributes are scaled as in training, SRN (or linear sampling) gives their representations, G their features;
    the heads are fitted anew.  No network is trained.

    Raises:
        ValueError: a class is there already, or the table's attributes are not the run's, or in other units.
    """
    train = predictor.train
    if known := [name for name in table.classes if name in predictor.class_names]:
        raise ValueError(f"the class {known[0]!r} is there already; give the new one another name")
    given = _in_run_units(_in_order(table, predictor), predictor)
    count = len(train.class_names)
    new = torch.arange(count, count + len(given))
    # A class of the benchmark that the run left out keeps its id and attributes; its name is the new class's.
    names = tuple(f"{name} (left out)" if name in table.classes else name for name in train.class_names)
    extended = replace(
        train,
        attributes=torch.cat([train.attributes, given.to(train.attributes.dtype)]),
        unseen=torch.cat([train.unseen, new]),
        class_names=(*names, *table.classes),
    )
    facts = predictor.facts | {"new_classes": [*predictor.facts["new_classes"], *table.classes]}
    models = {seed: _extend(model, extended, new) for seed, model in predictor.models.items()}
    return Predictor(facts=facts, train=extended, models=models)


def _extend(calibrated: Calibrated, train: TrainSplit, new: Tensor) -> Calibrated:
    """The model of one seed with the classes `new` of `train`, whose attributes are as given."""
    model: DCRGAN = calibrated.model
    synthesizer = model.synthesizer
    train = as_networks_see(train, synthesizer.attribute_scaler, synthesizer.config)
    if synthesizer.srn is not None:
        with torch.no_grad():
            added = synthesizer.srn(train.attributes[new])
    else:
        prototypes = synthesizer.representations[train.seen]  # linear sampling leaves the seen classes theirs
        added = sample_linearly(replace(train, unseen=new), prototypes, synthesizer.config.ldf_ridge)[new]
    representations = torch.cat([synthesizer.representations, added])
    condition = generator_condition(train.attributes, representations, synthesizer.config.gan)
    extended = replace(synthesizer, train=train, representations=representations, condition=condition)
    return Calibrated(fit_classifiers(extended, model.config), calibrated.gamma.item(), train.seen)


def _in_run_units(strengths: Tensor, predictor: Predictor) -> Tensor:
    """Strengths [n, A], to length 1 where the run's have that; far from the run's they are refused."""
    if predictor.facts["unit_attributes"]:
        strengths = strengths / strengths.abs().amax(dim=1, keepdim=True)  # first, for squares overflow
        strengths = strengths / strengths.norm(dim=1, keepdim=True)
    usual, given = predictor.train.attributes.abs().max().item(), strengths.abs().max().item()
    if given > FARTHEST * usual:
        raise ValueError(
            f"a strength of {given:g}: the run's own are {usual:g} at most, so that this is in other units; "
            "give strengths in those of the run's attributes"
        )
    return strengths


def _in_order(table: AttributeTable, predictor: Predictor) -> Tensor:
    """The table's strengths [n, A] with the columns in the run's order."""
    names = predictor.attribute_names
    columns = list(range(len(names)))
    if predictor.facts["attribute_names"]:
        place = {name: column for column, name in enumerate(table.attributes)}
        absent = [name for name in names if name not in place]
        unknown = sorted(place.keys() - set(names), key=place.__getitem__)
        if absent or unknown:
            told = [f"no column {absent[0]!r}"] * bool(absent) + [f"a column {unknown[0]!r} it lacks"] * bool(unknown)
            raise ValueError(
                f"the new classes' table has {' and '.join(told)}; needed are the run's {len(names)} attributes "
                f"({names[0]}, …)"
            )
        columns = [place[name] for name in names]
    elif len(table.attributes) != len(names):
        raise ValueError(f"the new classes' table has {len(table.attributes)} attributes, the run has {len(names)}")
    return torch.from_numpy(table.strengths)[:, columns]


def save_predictor(predictor: Predictor, folder: Path) -> None:
    """Write a predictor, new classes included, to a folder that `load_predictor` reads."""
    for seed, calibrated in predictor.models.items():
        save_tensors(calibrated.state_dict(), folder / f"seed-{seed}" / MODEL_FILE)
        save_synthesizer(calibrated.model, folder / f"seed-{seed}")
    save_shared(predictor.facts | {"class_names": list(predictor.train.class_names)}, predictor.train, folder)


def load_predictor(folder: Path, seeds: Sequence[int] = ()) -> Predictor:
    """Read what a run, or an export, keeps; `seeds`: some of its seeds, () for all.

    Raises:
        FileNotFoundError: there is no such folder, or it has no such seed.
        ValueError: the run cannot predict, or a file of it is broken.
    """
    facts = read_facts(folder)
    there = sorted(int(path.parent.name.removeprefix("seed-")) for path in folder.glob(f"seed-*/{SYNTHESIZER_FILE}"))
    if not there or (absent := [seed for seed in seeds if seed not in there]):
        asked = f"seed {absent[0]}" if there else "seed that can predict"
        raise FileNotFoundError(f"{folder} has no {asked}; there are {', '.join(map(str, there)) or 'none'}")
    config = override(DCRGANConfig(), flatten(facts["config"]))
    try:
        train = load_train(folder / TRAIN_FILE, facts)
        models = {seed: load_model(folder / f"seed-{seed}", train, config, seed) for seed in seeds or there}
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(f"{folder} has a file that is broken or of something else ({error}); run it anew") from error
    return Predictor(facts=facts, train=train, models=models)
