"""Many methods on one feature table, and the table of their scores."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zsl.baselines.registry import BASELINES
from zsl.common.config import flatten
from zsl.common.files import read_json
from zsl.common.markdown import markdown_table
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.variants import STARTS, VARIANTS
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import Method, find_method
from zsl.experiments.published import LABEL
from zsl.experiments.results import RESULTS_FILE, TABLE, spread_text
from zsl.experiments.search import select
from zsl.experiments.selection import SELECTION_FILE, Selection
from zsl.experiments.trainer import Folds, Trainer
from zsl.scores.details import DETAILS_FILE, load_details
from zsl.scores.summary import curve_of

PUBLISHED = "published"
GAMMA = "classifiers.gamma"  # each method has its own
OWN_BUDGET = 5  # configurations of a GAN with a search of its own, f-CLSWGAN, for which something is trained


def run_methods(
    data: Experiment,
    folds: Folds,
    names: Sequence[str],
    recipe: DCRGANConfig,
    folder: Path,
    budget: int,
    every: int | None = None,
    calibration: Folds | None = None,
) -> dict[str, dict[str, Any]]:
    """Results by method; DCR-GAN's configuration is chosen first where it is needed, and shared by its variants.

    Raises:
        ValueError: no method is named, there is none of a name, or one is named twice.
    """
    if not names or len(set(names)) < len(names):
        raise ValueError(f"--methods {' '.join(names) or 'without any'}: name one or several, each once")
    for name in set(names) - {PUBLISHED}:
        find_method(name, recipe)
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
    return results


def finished_methods(folder: Path, results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`results`, and those of the same kind that earlier calls left in `folder`: a table is never less than it was.

    Of the same kind: of the same features, attributes, seeds and version, and variants of the configuration that the
    folder's search chose last.
    """
    shared = folder / f"dcrgan-selection/{SELECTION_FILE}"
    chosen = flatten(read_json(shared)["best"]["config"]) if shared.is_file() else {}
    kind = _kind(next(iter(results.values())))
    found = {}
    for name in (*BASELINES, "dcrgan", *VARIANTS, PUBLISHED):
        path = folder / name / RESULTS_FILE
        if name in results:
            found[name] = results[name]
        elif path.is_file() and _kind(earlier := read_json(path)) == kind:
            alone = name in BASELINES or name in STARTS  # those with a search of their own
            expected = chosen | dict(VARIANTS.get(name, {})) | {GAMMA: None}
            if alone or flatten(earlier["config"]) | {GAMMA: None} == expected:
                found[name] = earlier
    return found


def _kind(result: dict[str, Any]) -> list[Any]:
    facts = [result.get(key) for key in ("benchmark", "features", "attributes_hash", "splits", "method_version")]
    return [*facts, sorted(entry["seed"] for entry in result["seeds"])]


def _beside(result: dict[str, Any], run: Path) -> list[str]:
    """H at γ = 0, from the scores that the run kept, and H on the folds that chose γ; "" where no folds chose γ."""
    selection = result["selection"]
    if selection is None or result["protocol"] == LABEL:
        return ["", ""]
    seeds = [entry["seed"] for entry in result["seeds"]]
    curves = [curve_of(load_details(run / f"seed-{seed}" / DETAILS_FILE)) for seed in seeds]
    plain = statistics.fmean(curve.harmonic_at(-selection["gamma"]) for curve in curves)
    return [f"{100 * h:.1f}" for h in (plain, (selection["calibration"] or selection["best"])["harmonic"])]


def scores_table(results: dict[str, dict[str, Any]], folder: Path) -> str:
    """The scores of each method in Markdown: per cent, mean ± standard deviation over seeds.

    H at γ = 0, and H on the folds that chose γ, stand beside H at that γ.  `folder` holds each method's run.
    """
    head = ["method", *TABLE, "H at γ = 0", "H on folds", "protocol"]
    rows = [
        [
            name,
            *(spread_text(result, key) for key in TABLE.values()),
            *_beside(result, folder / name),
            result["protocol"].split(":")[0],
        ]
        for name, result in results.items()
    ]
    return markdown_table(head, rows)
