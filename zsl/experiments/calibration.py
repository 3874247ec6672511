"""The γ of a run: the number of `--gamma`, or for `auto` the γ of fine-tuning, a selection, a recipe or folds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from backbones.tuned import TunedGamma
from zsl.datasets.splits import attributes_hash
from zsl.dcrgan.recipes import Recipe
from zsl.experiments.results import GammaFacts
from zsl.experiments.search import calibrate, clear_steps
from zsl.experiments.selection import Selection
from zsl.experiments.trainer import Folds, Trainer, key_of
from zsl.features.split import TrainSplit
from zsl.features.table import FeatureTable
from zsl.scores.curves import seen_margins
from zsl.scores.model import ask, needs_copies
from zsl.scores.units import UNITS, Yardstick, gamma_in, logit_gap
from zsl.training.method import Method

if TYPE_CHECKING:
    from accelerate import Accelerator

Gamma = float | Literal["auto"]


def settle_gamma(
    gamma: Gamma,
    method: Method,
    config: Any,
    table: FeatureTable,
    train: TrainSplit,
    find_folds: Callable[[], Folds],
    folder: Path,
    *,
    recipe: Recipe | None,
    selection: Selection | None,
    trainer: Trainer,
    accelerator: Accelerator,
    carried: bool = True,
    asked: int = 1,
) -> GammaFacts:
    """Return the γ of a run of `method` with `config` on `table`, whose trainval rows are `train`, and its source.

    find_folds: makes the folds of the run's trainval rows that choose γ, or no folds where they may choose nothing.
    `folder` keeps their trials.  carried: whether the γ that fine-tuned weights carry may be taken.  asked: the number
    of seeds that the run will train.
    """
    if gamma != "auto":
        return GammaFacts(value=gamma, source="--gamma")
    of_weights = _carried_gamma(method, config, table, train, trainer, asked) if carried else None
    if of_weights is not None:
        return of_weights
    if selection is not None and selection.is_of(method, config):
        trial = selection.calibration or selection.best
        return GammaFacts(
            value=selection.gamma, source="of the selection's folds", harmonic_on_folds=trial.scores.harmonic
        )
    backbone, benchmark = table.manifest.backbone, table.manifest.benchmark
    from_recipe = None if recipe is None else recipe.gamma_for(benchmark, backbone, config, len(train.features))
    if from_recipe is not None:
        return GammaFacts(value=from_recipe, source="of the recipe")
    folds = find_folds()
    if not folds:
        why = "a fine-tuned backbone knows the classes of" if table.manifest.finetuned else "too few classes for"
        return GammaFacts(value=0.0, source=f"none: {why} calibration folds; --gamma NUMBER sets one")
    with accelerator.main_process_first():  # the other processes read its trials
        trial = calibrate(method, config, folds, folder, manifest=table.manifest, seed=0, trainer=trainer)
        if accelerator.is_main_process:
            clear_steps(folder)
    scores = trial.scores
    return GammaFacts(
        value=scores.gamma, source=f"of {len(folds)} folds within trainval", harmonic_on_folds=scores.harmonic
    )


def _carried_gamma(
    method: Method, config: Any, table: FeatureTable, train: TrainSplit, trainer: Trainer, asked: int
) -> GammaFacts | None:
    """The γ that fine-tuned weights carry; None if they have none for this method, configuration and features."""
    gamma = table.manifest.finetuned.gamma if table.manifest.finetuned else None
    if gamma is None or (gamma.method, gamma.config_sha256) != (method.name, config_sha256(config)):
        return None
    if not _is_of_features(gamma, table, train):
        return None
    return GammaFacts(
        value=tuned_gamma(gamma, method, config, table, train, trainer, asked=asked),
        source=f"of the fine-tuning's {gamma.folds} class folds, in the unit {gamma.unit}",
        harmonic_on_folds=gamma.harmonic,
    )


def _is_of_features(gamma: TunedGamma, table: FeatureTable, train: TrainSplit) -> bool:
    """Whether a γ is for these features and attributes: of one backbone, and of whole photos of the folds' size.

    What an earlier version did not write is taken as equal.
    """
    manifest = table.manifest
    transform, encode = manifest.transform, manifest.encode
    return (
        len(manifest.parts) == 1
        and gamma.attributes_hash in (None, attributes_hash(train.attributes.cpu().numpy()))
        and (transform is None or (transform.crops == 1 and transform.crop_pct is None))
        and (transform is None or gamma.size in (None, tuple(transform.size)))
        and (encode is None or not (encode.flip or encode.layer))
    )


def config_sha256(config: Any) -> str:
    """The hash of a method's configuration, by which a γ is known to be for it."""
    return hashlib.sha256(key_of(config).encode()).hexdigest()


def tuned_gamma(
    gamma: TunedGamma,
    method: Method,
    config: Any,
    table: FeatureTable,
    train: TrainSplit,
    trainer: Trainer,
    *,
    asked: int = 1,
) -> float:
    """The γ of class folds for a model that is trained on `train` with seed 0.

    In the units `spread` and `share` the model is trained on the photos that the backbone was tuned on, and the margins
    are those of the others.  asked: the number of seeds that the run will train.

    Raises:
        ValueError: the unit needs photos that the backbone was not tuned on, and there are none.
    """
    if gamma.unit == "raw":
        return gamma.value
    known, unknown = _by_knowledge(table, train)
    if gamma.unit != "alg" and len(unknown.rows) < 2:
        raise ValueError(
            f"γ is in the unit {gamma.unit}, which needs photos that the backbone was not tuned on, and there are "
            "none; give --gamma NUMBER"
        )
    fitted = train if gamma.unit == "alg" else known
    call = _YardstickCall(trainer=trainer, method=method, config=config, fitted=fitted, others=unknown)
    # in the process and the threads of the first seed, which shares the model where it is trained on the same photos
    (yardstick,) = trainer.each(method, [call] * asked, left=[0])
    return gamma_in(UNITS[gamma.unit], gamma.value, yardstick)


@dataclass(frozen=True, kw_only=True, eq=False)
class _YardstickCall:
    """The training of a model with seed 0, and its yardstick of γ."""

    trainer: Trainer
    method: Method
    config: Any
    fitted: TrainSplit  # the photos that it is trained on
    others: TrainSplit

    def __call__(self) -> Yardstick:
        model = self.trainer.model(self.method, self.fitted, self.config, seed=0)
        is_seen = torch.isin(model.gzsl_classes, self.fitted.seen)
        with torch.no_grad():
            of_fitted, of_others = (
                ask(model.gzsl_scores, part.features, copies=needs_copies(model)) for part in (self.fitted, self.others)
            )
        return Yardstick(
            margins=seen_margins(of_others, is_seen).cpu(),
            alg=logit_gap(of_fitted, self.fitted.labels, model.gzsl_classes, is_seen),
        )


def _by_knowledge(table: FeatureTable, train: TrainSplit) -> tuple[TrainSplit, TrainSplit]:
    """The photos of `train` that the backbone was tuned on, and the others; all where the table does not say."""
    rows = train.rows.cpu().numpy()
    known = np.ones(len(rows), bool) if table.tuned_rows is None else np.isin(rows, table.tuned_rows)
    masks = (torch.from_numpy(mask).to(train.device) for mask in (known, ~known))
    first, second = (
        replace(train, features=train.features[mask], labels=train.labels[mask], rows=train.rows[mask], reads=[])
        for mask in masks
    )
    return first, second
