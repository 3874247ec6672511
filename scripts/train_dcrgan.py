"""Train and test from features, once for each seed: metric network, SRN, DCR-GAN, three classifiers, their fusion.

    accelerate launch scripts/train_dcrgan.py                                             # `shapes`
    accelerate launch scripts/train_dcrgan.py --benchmark cub --backbone efficientnet_lite0 --seeds 0 1 2
    accelerate launch scripts/train_dcrgan.py --config.gan.steps 500 --config.metric.representation-dim 30 --name r30
    accelerate launch scripts/train_dcrgan.py --method my_method.py:METHOD --gamma 0
    accelerate launch scripts/train_dcrgan.py --method LDF --selection runs/shapes-dcrgan-selection

Each field of the method's configuration has a flag `--config.…`.  A `--selection` of scripts/choose.py replaces the
recipe and these flags.  After a kill, the same command continues the run.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from zsl.cli import ConfigFlags, FeatureArgs, check_gamma, describe_form, run_name, run_script, settle_config
from zsl.common.compute import make_accelerator
from zsl.common.ranges import Count, Whole
from zsl.datasets.places import benchmark_name
from zsl.datasets.split_file import AttributeKind
from zsl.dcrgan.recipes import find_recipe
from zsl.dcrgan.variants import DEFAULT, form_of
from zsl.experiments.calibration import Gamma
from zsl.experiments.experiment import Experiment, Protocol
from zsl.experiments.methods import find_method
from zsl.experiments.results import RESULTS_FILE, ladder_text, protocol_text, score_table
from zsl.features.load import load_splits
from zsl.features.split import split_features


@dataclass(frozen=True, kw_only=True)
class Args(FeatureArgs):
    """Train and score DCR-GAN, or another method."""

    splits: Path | None = None
    """Folder with att_splits.mat, instead of make_shards' copy below --data."""
    fold: Literal[1, 2, 3] | None = None
    """Train and score on this validation fold, which holds no test row."""
    attributes: AttributeKind = "att"
    """`att` is official, with each class L2-normalised; `original_att` is as people gave it."""
    normalise: bool = False
    """Divide each class's attributes by their L2 norm; att is already divided."""
    recipe: str | None = None
    """Recipe other than the benchmark's: cub, paper-sun-gzsl, … (zsl/dcrgan/recipes.py)."""
    method: str = DEFAULT
    """`dcrgan` as published, `dcrgan+` with closed-form parts, a variant, a baseline, or FILE.py:NAME."""
    gamma: Gamma = "auto"
    """Number that calibrated stacking subtracts; auto: γ of the recipe if it fits, else chosen on calibration folds."""
    selection: Path | None = None
    """File of scripts/choose.py with a configuration and γ from validation folds."""
    protocol: Protocol = "honest"
    """`published` reports the best of several test epochs, to measure the inflation."""
    every: Count | None = None
    """GAN steps between two tests of --protocol published; default: a tenth of all steps."""
    seeds: tuple[Whole, ...] = (0, 1, 2)
    """One run for each; results have their mean and standard deviation."""
    precision: Literal["no", "bf16"] | None = None
    """`bf16` rounds the factors of matrix products in training."""
    config: Any = None
    """The method's configuration."""


def main(args: Args) -> None:
    """Train, score, and print the table and the file of results."""
    accelerator = make_accelerator("no")
    table = args.read_table()
    recipe = find_recipe(args.benchmark, args.recipe, form=form_of(args.method), feature_dim=table.features.shape[1])
    method = find_method(args.method, recipe.config, variant_start=args.recipe is None)
    config = settle_config(
        method, args.config, has_recipe=args.recipe is not None, precision=args.precision, selection=args.selection
    )
    splits = load_splits(
        args.benchmark, args.data, table, args.splits,
        fold=args.fold, attributes=args.attributes, normalise=args.normalise,
    )  # fmt: skip
    train, test = split_features(table, splits)
    usual = run_name(
        benchmark_name(args.benchmark), method=method.name, fold=args.fold, selection=args.selection,
        protocol=args.protocol,
    )  # fmt: skip
    folder = args.runs / (args.name or usual)
    if accelerator.is_main_process:
        print(describe_form(method.name, method.form))
    data = Experiment(table=table, splits=splits, train=train, test=test, seeds=args.seeds, accelerator=accelerator)
    results = data.run(
        replace(method, config=config), folder, recipe=recipe, gamma=check_gamma(args.gamma), selection=args.selection,
        protocol=args.protocol, every=args.every,
    )  # fmt: skip
    if accelerator.is_main_process:
        if args.fold:
            print(f"validation fold {args.fold}: all of its rows are trainval rows, this is no test result")
        ladder = [ladder_text(results)] if results.selected_on_test else []
        lines = results.data, splits.describe(), protocol_text(results), score_table(results), *ladder
        print(*lines, folder / RESULTS_FILE, sep="\n")
    accelerator.end_training()


def find_config(flags: ConfigFlags) -> Any:
    """The configuration of the method that the command line names, from its recipe for its features."""
    recipe = find_recipe(flags.benchmark, flags.recipe, form=form_of(flags.method), feature_dim=flags.feature_dim)
    method = find_method(flags.method, recipe.config, variant_start=flags.recipe is None)
    return method.configured(method.config)


if __name__ == "__main__":
    run_script(main, Args, find_config=find_config)
