"""Many methods on one feature table, and the table of their scores."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zsl.baselines import BASELINES
from zsl.dcrgan import DCRGANConfig
from zsl.evaluate import DETAILS_FILE, curve_of, load_details
from zsl.experiment import Experiment
from zsl.methods import Method, find_method
from zsl.run import TABLE
from zsl.select import Folds, Selection, Trainer, select

PUBLISHED = "published"
OWN_BUDGET = 5  # configurations of a GAN with a search of its own, f-CLSWGAN, for which something is trained


def run_methods(
    data: Experiment,
    folds: Folds,
    names: Sequence[str],
    recipe: DCRGANConfig,
    folder: Path,
    budget: int,
    every: int,
    calibration: Folds | None = None,
) -> dict[str, dict[str, Any]]:
    """Results by method; DCR-GAN's configuration is chosen first where it is needed, and shared by its variants."""
    trainer, given = Trainer(), recipe

    def chosen(method: Method, budget: int, folds: Folds = folds, calibration: Folds | None = calibration) -> Selection:
        return select(
            method, folds, folder / f"{method.name}-selection", manifest=data.table.manifest, goal=method.goal, seed=0,
            budget=budget, calibration=calibration, trainer=trainer,
        )  # fmt: skip

    dcrgan = find_method("dcrgan", recipe)
    if not set(names) <= set(BASELINES):
        shared = chosen(dcrgan, budget)
        recipe = shared.config(dcrgan)
    results = {}
    for name in names:
        if name == PUBLISHED:
            method = find_method("C-5", recipe)  # its γ is the honest one: only the epoch is chosen on test
            results[name] = data.published(method, recipe, folder / name, selection=shared, every=every)
            continue
        method = find_method(name, recipe)
        if method.own_search:
            method = find_method(name, given)
            selection = chosen(method, OWN_BUDGET if isinstance(method.config, DCRGANConfig) else 10**6)
        elif name == dcrgan.name:
            selection = shared
        else:
            # Only γ is left to choose, so the folds that choose it are enough.
            selection = chosen(replace(method, rounds=()), 1, calibration or folds, None)
        config = method.configured(selection.config(method))
        results[name] = data.honest(method, config, folder / name, selection=selection, trainer=trainer)
        results[name]["on_folds"] = (selection.calibration or selection.best).harmonic
        results[name]["uncalibrated"] = _uncalibrated(folder / name, data.seeds, selection.gamma)
    return results


def _uncalibrated(run: Path, seeds: Sequence[int], gamma: float) -> float:
    """Mean H without γ, from the scores that the run kept."""
    return statistics.fmean(
        curve_of(load_details(run / f"seed-{seed}" / DETAILS_FILE)).harmonic_at(-gamma) for seed in seeds
    )


def markdown_table(results: dict[str, dict[str, Any]]) -> str:
    """Per cent, mean ± sd over seeds; H at γ = 0, and H on the folds that chose γ, beside H at that γ."""
    head = ["method", *TABLE, "H at γ = 0", "H on folds", "protocol"]
    lines = [head, ["---"] * len(head)]
    for name, result in results.items():
        cells = [f"{100 * result['mean'][key]:.1f} ± {100 * result['std'][key]:.1f}" for key in TABLE.values()]
        more = [f"{100 * result[key]:.1f}" if key in result else "" for key in ("uncalibrated", "on_folds")]
        lines.append([name, *cells, *more, result["protocol"].split(":")[0]])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
