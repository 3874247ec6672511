"""Features to zero-shot scores: metric network, SRN, DCR-GAN, three classifiers and their fusion, once a seed.

    accelerate launch scripts/train_dcrgan.py                                             # `shapes`
    accelerate launch scripts/train_dcrgan.py --benchmark cub --backbone efficientnet_lite0 --seeds 0 1 2
    accelerate launch scripts/train_dcrgan.py --config.gan.steps 500 --config.metric.representation-dim 30 --name r30

Each choice of the recipe has its `--config.…` flag.  A killed run goes on with the seeds that are not finished.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from zsl.cli import default_backbone, run_script
from zsl.compute import make_accelerator
from zsl.data import benchmark_name, describe_data, find_features, load_splits
from zsl.dcrgan import DCRGANConfig, describe_method, train_dcrgan
from zsl.features import read_features, split_features
from zsl.recipes import find_recipe
from zsl.run import RESULTS_FILE, run_seeds, score_table
from zsl.splits import AttributeKind


@dataclass(frozen=True, kw_only=True)
class Args:
    """Train and score DCR-GAN."""

    benchmark: str = "shapes"
    backbone: str | None = None  # whose features; default resnet101, for shapes the offline preset
    features: Path | None = None  # feature table, instead of the backbone's below --data
    splits: Path | None = None  # folder with att_splits.mat, instead of make_shards' copy below --data
    allow_incomplete: bool = False  # train although photos that could not be read are absent from the features
    fold: Literal[1, 2, 3] | None = None  # train and score on this validation fold, in which no test row occurs
    attributes: AttributeKind = "att"  # att: official, each class L2-normalised; or the file's original_att
    normalise: bool = False  # divide each class's attributes by their L2 norm; att has that done already
    seeds: tuple[int, ...] = (0, 1, 2)
    name: str | None = None  # of the run; default: the benchmark's
    data: Path = Path("data")
    runs: Path = Path("runs")
    config: DCRGANConfig = field(default_factory=DCRGANConfig)


def main(args: Args) -> None:
    """Train, score, print the table and where the results are."""
    accelerator = make_accelerator("no")
    backbone = args.backbone or default_backbone(args.benchmark)
    table = read_features(
        args.features or find_features(args.data, args.benchmark, backbone), allow_incomplete=args.allow_incomplete
    )
    splits = load_splits(
        args.benchmark, args.data, table, args.splits,
        fold=args.fold, attributes=args.attributes, normalise=args.normalise,
    )  # fmt: skip
    train, test = split_features(table, splits)
    folder = args.runs / (args.name or benchmark_name(args.benchmark) + (f"-fold{args.fold}" if args.fold else ""))
    facts = describe_data(table, splits) | describe_method(args.config)
    results = run_seeds(
        lambda train, seed, log: train_dcrgan(train, args.config, seed=seed, log=log),
        train, test, args.seeds, folder, facts, accelerator,
    )  # fmt: skip
    if accelerator.is_main_process:
        print(facts["data"], splits.describe(), score_table(results), folder / RESULTS_FILE, sep="\n")
    accelerator.end_training()


if __name__ == "__main__":
    run_script(main, Args, defaults=lambda benchmark: {"config": find_recipe(benchmark)})
