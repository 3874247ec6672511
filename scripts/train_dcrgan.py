"""Features to zero-shot scores: metric network, SRN, DCR-GAN, three classifiers and their fusion, once a seed.

    accelerate launch scripts/train_dcrgan.py                                             # `shapes`
    accelerate launch scripts/train_dcrgan.py --benchmark cub --backbone efficientnet_lite0 --seeds 0 1 2
    accelerate launch scripts/train_dcrgan.py --config.gan.steps 500 --config.metric.representation-dim 30 --name r30
    accelerate launch scripts/train_dcrgan.py --method LDF --selection runs/shapes-dcrgan-selection

Each choice of the recipe has its `--config.…` flag; a `--selection` of scripts/choose.py takes the place of recipe and
flags, and brings γ.
A killed run goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from zsl.cli import FeatureArgs, Which, run_name, run_script, settle_config, starting_config
from zsl.common.compute import make_accelerator
from zsl.datasets.places import benchmark_name
from zsl.datasets.split_file import AttributeKind
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.recipes import find_recipe
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.results import RESULTS_FILE, protocol_text, score_table
from zsl.features.load import load_splits
from zsl.features.split import split_features


@dataclass(frozen=True, kw_only=True)
class Args(FeatureArgs):
    """Train and score DCR-GAN."""

    splits: Path | None = None  # folder with att_splits.mat, instead of make_shards' copy below --data
    fold: Literal[1, 2, 3] | None = None  # train and score on this validation fold, in which no test row occurs
    attributes: AttributeKind = "att"  # att: official, each class L2-normalised; or the file's original_att
    normalise: bool = False  # divide each class's attributes by their L2 norm; att has that done already
    recipe: str | None = None  # instead of the benchmark's: cub, paper-sun-gzsl, …; zsl/dcrgan/recipes.py has all
    method: str = "dcrgan"  # dcrgan, a variant (A, B, C-1 … C-5, …) or a baseline; docs/methods.md lists them
    selection: Path | None = None  # of scripts/choose.py: configuration and γ that validation folds chose
    protocol: Literal["honest", "published"] = "honest"  # published: best of several test epochs, to measure inflation
    every: int | None = None  # GAN steps between two looks of --protocol published; default: a tenth of all
    seeds: tuple[int, ...] = (0, 1, 2)
    precision: Literal["no", "bf16"] | None = None  # bf16: matrix products in training round their factors
    config: DCRGANConfig = field(default_factory=DCRGANConfig)


def main(args: Args) -> None:
    """Train, score, print the table and where the results are."""
    accelerator = make_accelerator("no")
    table = args.read_table()
    recipe = find_recipe(args.benchmark, args.recipe, feature_dim=table.features.shape[1])
    method = find_method(args.method, recipe, starts=args.recipe is None)
    config = settle_config(
        method, args.config, recipe_given=args.recipe is not None, precision=args.precision, selection=args.selection
    )
    splits = load_splits(
        args.benchmark, args.data, table, args.splits,
        fold=args.fold, attributes=args.attributes, normalise=args.normalise,
    )  # fmt: skip
    train, test = split_features(table, splits)
    usual = run_name(
        benchmark_name(args.benchmark), method=args.method, fold=args.fold, selection=args.selection,
        protocol=args.protocol,
    )  # fmt: skip
    folder = args.runs / (args.name or usual)
    data = Experiment(table=table, splits=splits, train=train, test=test, seeds=args.seeds, accelerator=accelerator)
    method = replace(method, config=config)
    results = data.run(method, folder, selection=args.selection, protocol=args.protocol, every=args.every)
    if accelerator.is_main_process:
        if args.fold:
            print(f"validation fold {args.fold}: all of its rows are trainval rows, this is no test result")
        lines = results["data"], splits.describe(), protocol_text(results), score_table(results), folder / RESULTS_FILE
        print(*lines, sep="\n")
    accelerator.end_training()


def defaults(which: Which) -> dict[str, Any]:
    """The recipe that the command line names, for its features, and as its method starts from it."""
    recipe = find_recipe(which.benchmark, which.recipe, feature_dim=which.feature_dim)
    method = find_method(which.method, recipe, starts=which.recipe is None)
    return {"config": starting_config(method), "recipe": which.recipe}


if __name__ == "__main__":
    run_script(main, Args, defaults=defaults)
