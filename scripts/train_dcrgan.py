"""Train and test from features, once for each seed: metric network, SRN, DCR-GAN, three classifiers, their fusion.

    accelerate launch scripts/train_dcrgan.py                                             # `shapes`
    accelerate launch scripts/train_dcrgan.py --benchmark cub --backbone efficientnet_lite0 --seeds 0 1 2
    accelerate launch scripts/train_dcrgan.py --config.gan.steps 500 --config.metric.representation-dim 30 --name r30
    accelerate launch scripts/train_dcrgan.py --method my_method.py:METHOD --gamma 0
    accelerate launch scripts/train_dcrgan.py --method LDF --selection runs/shapes-dcrgan-selection
    accelerate launch scripts/train_dcrgan.py --benchmark sun --backbone efficientnet_lite0 --selection auto

Each field of the method's configuration has a flag `--config.…`.  A `--selection` of scripts/choose.py replaces the
recipe and these flags.  After a kill, the same command continues the run.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zsl.cli import (
    ConfigFlags,
    FeatureArgs,
    check_gamma,
    describe_form,
    method_name,
    run_name,
    run_script,
    settle_config,
)
from zsl.common.compute import make_accelerator
from zsl.common.launch import sole_launch
from zsl.common.ranges import Count, Whole
from zsl.datasets.class_lists import FOLDS
from zsl.datasets.places import benchmark_name
from zsl.datasets.split_file import AttributeKind
from zsl.datasets.splits import Splits
from zsl.experiments.calibration import Gamma
from zsl.experiments.experiment import Experiment, Protocol, check_protocol
from zsl.experiments.methods import check_vectors, method_and_recipe
from zsl.experiments.results import RESULTS_FILE, ladder_text, protocol_text, score_table
from zsl.experiments.run import check_seeds
from zsl.experiments.search import select
from zsl.experiments.selection import SELECTION_FILE
from zsl.experiments.trainer import Trainer
from zsl.experiments.workers import open_trainer
from zsl.features.load import load_calibration, load_splits
from zsl.features.split import split_features
from zsl.features.table import FeatureTable
from zsl.training.method import Method
from zsl.training.trackers import LogWith, check_tracker

if TYPE_CHECKING:
    from accelerate import Accelerator

AUTO, AUTO_BUDGET = Path("auto"), 3  # --selection auto; the most configurations for which it trains something


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
    method: str | None = None
    """`dcrgan` as published, `dcrgan+` (the default) with closed-form parts, a variant, a baseline, or FILE.py:NAME."""
    gamma: Gamma = "auto"
    """Number that calibrated stacking subtracts; auto: γ of the recipe if it fits, else chosen on calibration folds."""
    selection: Path | None = None
    """File of scripts/choose.py with a configuration and γ of validation folds; auto: a small search first."""
    protocol: Protocol = "honest"
    """`published` reports the best of several test epochs, to measure the inflation."""
    every: Count | None = None
    """GAN steps between two tests of --protocol published; default: a tenth of all steps."""
    seeds: tuple[Whole, ...] = (0, 1, 2)
    """One run for each; results have their mean and standard deviation."""
    log_with: LogWith | None = None
    """Also show the losses of metrics.jsonl in TensorBoard or Weights & Biases (docs/watching.md)."""
    workers: Count | None = None
    """Processes that train seeds and folds at the same time on a CPU; default: for each core and seed one."""
    profile: bool = False
    """Write where the time of each seed goes into its folder: a table by stage, and a trace for Chrome."""
    precision: Literal["no", "bf16"] | None = None
    """`bf16` rounds the factors of matrix products in training."""
    config: Any = None
    """The method's configuration."""


def main(args: Args) -> None:
    """Train, score, and print the table and the file of results."""
    check_tracker(args.log_with)
    accelerator = make_accelerator("no")
    table = args.read_table()
    name = method_name(args.method, args.recipe)
    dim = table.features.shape[1]
    method, recipe = method_and_recipe(name, args.benchmark, recipe=args.recipe, feature_dim=dim)
    config = settle_config(
        method, args.config, has_recipe=args.recipe is not None, precision=args.precision, selection=args.selection
    )
    check_protocol(method, args.protocol, args.every)  # here, because a search may come before the run
    check_seeds(args.seeds)
    gamma = check_gamma(args.gamma)
    vectors = args.read_vectors()
    if vectors is not None and not vectors.beside:
        check_attributes_unused(args)
    check_vectors([method.name], vectors, table.manifest)
    splits = load_splits(
        args.benchmark, args.data, table, args.splits,
        fold=args.fold, attributes=args.attributes, normalise=args.normalise, vectors=vectors,
    )  # fmt: skip
    train, test = split_features(table, splits)
    usual = run_name(
        benchmark_name(args.benchmark), method=method.name, fold=args.fold, selection=args.selection,
        protocol=args.protocol, vectors=vectors is not None,
    )  # fmt: skip
    folder = args.runs / (args.name or usual)
    if accelerator.is_main_process:
        print(describe_form(method.name, method.form))
    with open_trainer(args.workers, max(len(args.seeds), len(FOLDS)), table, accelerator) as trainer:
        selection = args.selection
        if selection == AUTO:
            selection = search(args, table, splits, method, folder / "selection", accelerator, trainer)
        data = Experiment(
            table=table, splits=splits, train=train, test=test, seeds=args.seeds, accelerator=accelerator,
            log_with=args.log_with, profile=args.profile, trainer=trainer,
        )  # fmt: skip
        results = data.run(
            replace(method, config=config), folder, recipe=recipe, gamma=gamma, selection=selection,
            protocol=args.protocol, every=args.every,
        )  # fmt: skip
    if accelerator.is_main_process:
        if args.fold:
            print(f"validation fold {args.fold}: all of its rows are trainval rows, this is no test result")
        ladder = [ladder_text(results)] if results.selected_on_test else []
        lines = results.data, splits.describe(), protocol_text(results), score_table(results), *ladder
        print(*lines, folder / RESULTS_FILE, sep="\n")


def check_attributes_unused(args: Args) -> None:
    """Refuse flags about attributes whose place the class vectors take.

    Raises:
        ValueError: there are such flags.
    """
    flags = [f"--attributes {args.attributes}"] * (args.attributes != "att") + ["--normalise"] * args.normalise
    if flags:
        raise ValueError(
            f"{', '.join(flags)}: the class vectors take the place of the attributes; leave one out, or add "
            "--class-vectors-beside"
        )


def search(
    args: Args, table: FeatureTable, splits: Splits, method: Method, folder: Path, accelerator: Accelerator,
    trainer: Trainer,
) -> Path:  # fmt: skip
    """Search a configuration for a benchmark without a recipe of its own, on validation folds; return its file.

    Raises:
        ValueError: the run itself is one on a fold.
    """
    if args.fold is not None:
        raise ValueError("--selection auto chooses on the validation folds; leave it or --fold out")
    if method.selected_as != method.name:  # the search for DCR-GAN also serves its variants
        method, _ = method_and_recipe(method.selected_as, args.benchmark)
    with sole_launch(folder, accelerator), accelerator.main_process_first():
        if accelerator.is_main_process:
            folds = {
                fold: split_features(
                    table,
                    load_splits(
                        args.benchmark, args.data, table, args.splits,
                        fold=fold, attributes=args.attributes, normalise=args.normalise, vectors=args.read_vectors(),
                    ),
                    accelerator.device,
                )
                for fold in FOLDS
            }  # fmt: skip
            select(
                method, folds, folder, manifest=table.manifest, goal=method.goal, seed=0, budget=AUTO_BUDGET,
                calibration=load_calibration(table, splits, accelerator.device), trainer=trainer,
            )  # fmt: skip
    return folder / SELECTION_FILE


def find_config(flags: ConfigFlags) -> Any:
    """The configuration of the method that the command line names, from its recipe for its features."""
    name = method_name(flags.method, flags.recipe)
    method, _ = method_and_recipe(name, flags.benchmark, recipe=flags.recipe, feature_dim=flags.feature_dim)
    return method.configured(method.config)


if __name__ == "__main__":
    run_script(main, Args, find_config=find_config)
