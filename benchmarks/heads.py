"""Compare the accuracy of the fast classifiers with the reference code's schedule of minibatches, on real features.

    python benchmarks/heads.py --benchmark cub --backbone efficientnet_lite0 --seeds 0 1 2 --json heads.json

The script trains one generator for each validation fold and seed, and fits its three heads in three ways: by the
reference schedule, by gradient as `ClassifierConfig` states it, and as discriminants.  The reference schedule has 25
epochs of batch 150 for VS, 20 epochs of batch 100 for SS and SRS, and constant learning rates.  These rates were chosen
for standardised inputs, which all three ways get.  H is the mean over the folds at the γ that is best for the curves of
a way, as in a selection.  Test rows are not used.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median, stdev

from zsl.cli import FeatureArgs, run_script
from zsl.common.compute import make_accelerator
from zsl.common.files import write_json
from zsl.common.ranges import Whole
from zsl.dcrgan.classifiers import ClassifierConfig
from zsl.dcrgan.dcrgan import fit_classifiers, train_synthesizer
from zsl.dcrgan.model import Synthesizer
from zsl.dcrgan.recipes import find_recipe
from zsl.dcrgan.variants import PLUS
from zsl.features.load import load_folds
from zsl.features.split import TestSplit
from zsl.scores.curves import choose_gamma
from zsl.scores.evaluate import evaluate_details
from zsl.scores.summary import curve_of


@dataclass(frozen=True, kw_only=True)
class Args(FeatureArgs):
    """Fit heads in three ways on validation folds."""

    seeds: tuple[Whole, ...] = (0, 1, 2)
    json: Path | None = None  # also write the figures to this file


def ways_of(config: ClassifierConfig) -> dict[str, ClassifierConfig]:
    """The three ways, with the images and fusion weights of `config`."""
    own = ClassifierConfig()
    by_gradient = replace(
        own, images_per_unseen_class=config.images_per_unseen_class, weight_ss=config.weight_ss,
        weight_srs=config.weight_srs,
    )  # fmt: skip
    reference = replace(
        by_gradient, epochs=25, batch_size=150, semantic_epochs=20, semantic_batch_size=100, least_steps=1,
        lr_falls=False, lr_vs=1e-4, lr_ss=3e-4, lr_srs=1e-2, betas=(0.5, 0.999),
    )  # fmt: skip
    return {
        "reference": reference,
        "softmax": by_gradient,
        "discriminant": replace(by_gradient, fit="discriminant", shrinkage=config.shrinkage),
    }


def main(args: Args) -> None:
    """Train and fit; print H and time of each way, and their differences to the reference schedule."""
    device = make_accelerator("no").device
    table = args.read_table()
    folds = load_folds(args.benchmark, args.data, table, device)
    recipe = find_recipe(args.benchmark, form=PLUS).config
    ways = ways_of(recipe.classifiers)
    harmonic: dict[str, list[float]] = {name: [] for name in ways}
    took: dict[str, list[float]] = {name: [] for name in ways}
    for seed in args.seeds:
        pairs = [(train_synthesizer(train, recipe, seed=seed), test) for train, test in folds.values()]
        for name, config in ways.items():
            started = time.perf_counter()
            harmonic[name].append(mean_harmonic(pairs, config))
            took[name].append(time.perf_counter() - started)
        print(f"seed {seed}: " + ", ".join(f"{name} H {100 * h[-1]:.2f}" for name, h in harmonic.items()), flush=True)
    report: dict[str, float] = {}
    for name, values in harmonic.items():
        difference = [own - reference for own, reference in zip(values, harmonic["reference"], strict=True)]
        speedup = median(theirs / own for theirs, own in zip(took["reference"], took[name], strict=True))
        spread = stdev(difference) if len(difference) > 1 else 0.0
        report |= {f"harmonic_{name}": fmean(values), f"difference_{name}": fmean(difference)}
        report |= {f"speedup_{name}": speedup}
        print(
            f"{name}: H {100 * fmean(values):.2f}, {100 * fmean(difference):+.2f} ± {100 * spread:.2f} to the "
            f"reference schedule over {len(values)} seeds, {speedup:.1f} times as fast"
        )
    if args.json:
        write_json(args.json, report)


def mean_harmonic(made: list[tuple[Synthesizer, TestSplit]], config: ClassifierConfig) -> float:
    """Mean H of the folds at the one γ that is best for them."""
    details = [evaluate_details(fit_classifiers(one, config), test, lambda note: None) for one, test in made]
    curves = [curve_of(detail) for detail in details]
    gamma = choose_gamma(curves)
    return fmean(curve.harmonic_at(gamma) for curve in curves)


if __name__ == "__main__":
    run_script(main, Args)
