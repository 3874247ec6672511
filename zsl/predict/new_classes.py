"""New classes for a trained predictor: each is described by its attributes, and no network is trained again."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zsl.common.text import nfc
from zsl.datasets.attribute_table import AttributeTable
from zsl.datasets.class_names import default_names
from zsl.datasets.distinct import check_distinct
from zsl.dcrgan.dcrgan import fit_classifiers
from zsl.dcrgan.gan import generator_condition
from zsl.dcrgan.inputs import as_networks_see
from zsl.dcrgan.model import DCRGAN, Synthesizer
from zsl.dcrgan.srn import sample_linearly
from zsl.features.split import TrainSplit
from zsl.predict.predictor import Predictor
from zsl.scores.model import Calibrated

FARTHEST = 1000  # a new class's strength may be so many times the run's strongest attribute


def add_classes(predictor: Predictor, table: AttributeTable) -> Predictor:
    """The predictor with the classes of `table` beside its unseen ones, as if they had been unseen from the start.

    Their attributes are scaled as in training.  SRN (or linear sampling) gives their representations, and G gives their
    features.  The heads are fitted again; no network is trained.

    Raises:
        ValueError: the predictor has a class of this name or with these attributes, or the table's attributes are not
            the run's, or are in other units.
    """
    train = predictor.train
    if common := [name for name in table.classes if name in (*predictor.class_names, *predictor.shown_names)]:
        raise ValueError(f"the class {common[0]!r} is there already; give the new one another name")
    strengths = _in_run_units(_in_run_order(table, predictor), predictor)
    _check_distinct(strengths, table, predictor)
    count = len(train.class_names)
    new = torch.arange(count, count + len(strengths))
    # A class of the benchmark that the run left out keeps its id and attributes; its name is the new class's.
    names = _set_aside(train.class_names, table.classes)
    extended = replace(
        train,
        attributes=torch.cat([train.attributes, strengths.to(train.attributes.dtype)]),
        unseen=torch.cat([train.unseen, new]),
        class_names=(*names, *table.classes),
    )
    facts = replace(predictor.facts, new_classes=(*predictor.facts.new_classes, *table.classes))
    models = {seed: _extend(model, extended, new) for seed, model in predictor.models.items()}
    shown = _set_aside(predictor.readable_names or default_names(train.class_names), table.classes)
    return Predictor(facts=facts, train=extended, models=models, readable_names=(*shown, *table.classes))


def _set_aside(names: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """The names, or readable names, of the benchmark's classes, without those that `new` classes have."""
    return tuple(f"{name} (left out)" if name in new else name for name in names)


def _extend(calibrated: Calibrated, train: TrainSplit, new: Tensor) -> Calibrated:
    """The model of one seed with the classes `new` [n] of `train`, whose attributes are in the run's units."""
    model: DCRGAN = calibrated.model
    synthesizer = model.synthesizer
    train = as_networks_see(train, synthesizer.attribute_scaler, synthesizer.config)
    representations = torch.cat([synthesizer.representations, _represent(synthesizer, train, new)])
    condition = generator_condition(train.attributes, representations, synthesizer.config.gan)
    extended = replace(synthesizer, train=train, representations=representations, condition=condition)
    return Calibrated(fit_classifiers(extended, model.config), calibrated.gamma.item(), train.seen)


def _represent(synthesizer: Synthesizer, train: TrainSplit, new: Tensor) -> Tensor:
    """Representations R(a) [n, R] of the classes `new` [n]; `train` has attributes as the networks see them."""
    if synthesizer.srn is not None:
        with torch.no_grad():
            return synthesizer.srn(train.attributes[new])
    prototypes = synthesizer.representations[train.seen]  # linear sampling leaves the seen classes theirs
    return sample_linearly(replace(train, unseen=new), prototypes, synthesizer.config.ldf_ridge)[new]


def _in_run_units(strengths: Tensor, predictor: Predictor) -> Tensor:
    """Strengths [n, A] in the run's units: each class's have length 1 where the run's have.

    Raises:
        ValueError: a strength is far above the run's strongest one.
    """
    if predictor.facts.unit_attributes:
        strengths = strengths / strengths.abs().amax(dim=1, keepdim=True)  # first, because squares may overflow
        strengths = strengths / strengths.norm(dim=1, keepdim=True)
    usual, highest = predictor.train.attributes.abs().max().item(), strengths.abs().max().item()
    if highest > FARTHEST * usual:
        raise ValueError(
            f"a strength of {highest:g}: the run's own are {usual:g} at most, so that this is in other units; "
            "give strengths in those of the run's attributes"
        )
    return strengths


def _check_distinct(strengths: Tensor, table: AttributeTable, predictor: Predictor) -> None:
    """The `strengths` [n, A] tell the new classes from each other and from those that the predictor has."""
    train = predictor.train
    classes = torch.cat([train.seen, train.unseen]).cpu()
    names = [train.class_names[class_id] for class_id in classes.tolist()]
    attributes = torch.cat([train.attributes[classes].cpu(), strengths.cpu()])
    by_direction = predictor.facts.unit_attributes
    check_distinct(attributes.numpy(), [*names, *table.classes], "the new classes", by_direction=by_direction)


def _in_run_order(table: AttributeTable, predictor: Predictor) -> Tensor:
    """The table's strengths [n, A] with the columns in the run's order; without names, in the order of the table.

    Raises:
        ValueError: the table's attributes are not the run's.
    """
    names = tuple(map(nfc, predictor.attribute_names))  # runs of earlier versions keep them as they were written
    if predictor.facts.attribute_names:
        _check_names(table.attributes, names)
        columns = [table.attributes.index(name) for name in names]
    elif len(table.attributes) == len(names):
        columns = list(range(len(names)))
    else:
        raise ValueError(f"the new classes' table has {len(table.attributes)} attributes, the run has {len(names)}")
    return torch.from_numpy(table.strengths)[:, columns]


def _check_names(columns: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Refuse `columns` of a table that are not the attributes `names` of the run, in any order."""
    absent = [name for name in names if name not in columns]
    unknown = [column for column in columns if column not in names]
    if absent or unknown:
        faults = [f"no column {name!r}" for name in absent[:1]] + [
            f"a column {name!r} it lacks" for name in unknown[:1]
        ]
        raise ValueError(
            f"the new classes' table has {' and '.join(faults)}; needed are the run's {len(names)} attributes "
            f"({names[0]}, …)"
        )
