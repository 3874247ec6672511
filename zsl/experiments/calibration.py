"""Which γ a run takes: the number of `--gamma`, or of recipe, selection or calibration folds where that is auto."""

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
    """The γ of a run of `method` with `config` on `table`.

    find_folds: makes folds of the run's trainval rows to choose it on; none where nothing may be chosen there.  What is
    trained on them is kept in `folder`.
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
    with accelerator.main_process_first():  # the others read what it has trained
        trial = calibrate(method, config, folds, folder, manifest=table.manifest, seed=0, trainer=trainer)
        if accelerator.is_main_process:
            clear_steps(folder)
    scores = trial.scores
    return GammaFacts(
        value=scores.gamma, source=f"of {len(folds)} folds within trainval", harmonic_on_folds=scores.harmonic
    )
