"""The γ of a run: the number of `--gamma`, or for `auto` the γ of a selection, a recipe or calibration folds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zsl.dcrgan.recipes import Recipe
from zsl.experiments.results import GammaFacts
from zsl.experiments.search import calibrate, clear_steps
from zsl.experiments.selection import Selection
from zsl.experiments.trainer import Folds, Trainer
from zsl.features.table import FeatureTable
from zsl.training.method import Method

if TYPE_CHECKING:
    from accelerate import Accelerator

Gamma = float | Literal["auto"]


def settle_gamma(
    gamma: Gamma,
    method: Method,
    config: Any,
    table: FeatureTable,
    find_folds: Callable[[], Folds],
    folder: Path,
    *,
    recipe: Recipe | None,
    selection: Selection | None,
    trainer: Trainer,
    accelerator: Accelerator,
) -> GammaFacts:
    """Return the γ of a run of `method` with `config` on `table`, and its source.

    find_folds: makes the folds of the run's trainval rows that choose γ, or no folds where they may choose nothing.
    `folder` keeps their trials.
    """
    if gamma != "auto":
        return GammaFacts(value=gamma, source="--gamma")
    if selection is not None and selection.is_of(method, config):
        trial = selection.calibration or selection.best
        return GammaFacts(
            value=selection.gamma, source="of the selection's folds", harmonic_on_folds=trial.scores.harmonic
        )
    backbone, benchmark = table.manifest.backbone, table.manifest.benchmark
    from_recipe = None if recipe is None else recipe.gamma_for(benchmark, backbone, config)
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
