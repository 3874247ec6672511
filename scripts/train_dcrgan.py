"""Features to zero-shot scores: metric network, SRN, DCR-GAN, three classifiers and their fusion, once a seed.

    accelerate launch scripts/train_dcrgan.py                                             # `shapes`
    accelerate launch scripts/train_dcrgan.py --benchmark cub --backbone efficientnet_lite0 --seeds 0 1 2
    accelerate launch scripts/train_dcrgan.py --config.gan.steps 500 --config.metric.representation-dim 30 --name r30
    accelerate launch scripts/train_dcrgan.py --method my_method.py:METHOD --gamma 0
    accelerate launch scripts/train_dcrgan.py --method LDF --selection runs/shapes-dcrgan-selection

Each choice of the method's configuration has its `--config.…` flag; a `--selection` of scripts/choose.py takes the
place of recipe and flags.
A killed run goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from zsl.cli import ConfigFlags, FeatureArgs, check_gamma, run_name, run_script, settle_config
from zsl.common.compute import make_accelerator
from zsl.common.ranges import Count, Whole
from zsl.datasets.places import benchmark_name
from zsl.datasets.split_file import AttributeKind
from zsl.dcrgan.recipes import find_recipe
from zsl.experiments.calibration import Gamma
from zsl.experiments.experiment import Experiment, Protocol
from zsl.experiments.methods import find_method
from zsl.experiments.results import RESULTS_FILE, protocol_text, score_table
from zsl.features.load import load_splits
from zsl.features.split import split_features


@dataclass(frozen=True, kw_only=True)
class Args(FeatureArgs):
    """Train and score DCR-GAN, or another method."""

    splits: Path | None = None  # folder with att_splits.mat, instead of make_shards' copy below --data
    fold: Literal[1, 2, 3] | None = None  # train and score on this validation fold, in which no test row occurs
    attributes: AttributeKind = "att"  # att: official, each class L2-normalised; or the file's original_att
    normalise: bool = False  # divide each class's attributes by their L2 norm; att has that done already
    recipe: str | None = None  # instead of the benchmark's: cub, paper-sun-gzsl, …; zsl/dcrgan/recipes.py has all
    method: str = "dcrgan"  # dcrgan, a variant, a baseline (docs/methods.md), or FILE.py:NAME (docs/own-method.md)
    gamma: Gamma = "auto"  # calibrated stacking: a number, or the recipe's where it fits, else calibration folds'
    selection: Path | None = None  # of scripts/choose.py: configuration and γ that validation folds chose
    protocol: Protocol = "honest"  # published: best of several test epochs, to measure inflation
    every: Count | None = None  # GAN steps between two looks of --protocol published; default: a tenth of all
    seeds: tuple[Whole, ...] = (0, 1, 2)
    precision: Literal["no", "bf16"] | None = None  # bf16: matrix products in training round their factors
    config: Any = None  # the method's configuration


def main(args: Args) -> None:
    """Train, score, print the table and where the results are."""
    accelerator = make_accelerator("no")
    table = args.read_table()
    recipe = find_recipe(args.benchmark, args.recipe, feature_dim=table.features.shape[1])
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
    data = Experiment(table=table, splits=splits, train=train, test=test, seeds=args.seeds, accelerator=accelerator)
    results = data.run(
        replace(method, config=config), folder, recipe=recipe, gamma=check_gamma(args.gamma), selection=args.selection,
        protocol=args.protocol, every=args.every,
    )  # fmt: skip
    if accelerator.is_main_process:
        if args.fold:
            print(f"validation fold {args.fold}: all of its rows are trainval rows, this is no test result")
        lines = results.data, splits.describe(), protocol_text(results), score_table(results), folder / RESULTS_FILE
        print(*lines, sep="\n")
    accelerator.end_training()


def find_config(flags: ConfigFlags) -> Any:
    """The configuration of the method that the command line names, from its recipe for its features."""
    recipe = find_recipe(flags.benchmark, flags.recipe, feature_dim=flags.feature_dim)
    method = find_method(flags.method, recipe.config, variant_start=flags.recipe is None)
    return method.configured(method.config)


if __name__ == "__main__":
    run_script(main, Args, find_config=find_config)
