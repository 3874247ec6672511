"""Measure on validation folds how much one field of DCR-GAN's configuration matters; this opens no test row.

    python scripts/sweep.py --benchmark cub --backbone efficientnet_lite0 --values 10 20 40 80
    python scripts/sweep.py --benchmark cub --backbone efficientnet_lite0 --field gan.shortcut_ridge --values None 0.3 1

The script makes a table and a figure of T1 and H over the values, for one variant or several.  After a kill, the same
command continues the sweep.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass

from zsl.cli import FeatureArgs, run_script
from zsl.common.compute import make_accelerator
from zsl.common.locks import sole_process
from zsl.common.ranges import Count, Whole
from zsl.datasets.places import benchmark_name
from zsl.experiments.methods import check_vectors, method_and_recipe
from zsl.features.load import load_folds


@dataclass(frozen=True, kw_only=True)
class Args(FeatureArgs):
    """Train with each of several values of a field."""

    field: str = "metric.representation_dim"  # name with dots, as after `--config.` in train_dcrgan.py
    values: tuple[str, ...] = ("5", "10", "20", "40", "80")  # as on a command line; write a tuple as "0.8 0.2 0.5"
    methods: tuple[str, ...] = (
        "C-5+",
        "C-3+",
    )  # variants with equal networks share a training
    recipe: str | None = None  # recipe for all other fields; default: the recipe of the benchmark
    folds: tuple[Count, ...] = (1, 2, 3)  # validation folds to train on
    seeds: tuple[Whole, ...] = (0, 1, 2)  # one run for each
    workers: Count | None = None  # processes that train at the same time on a CPU; default: for each core and fold one


def main(args: Args) -> None:
    """Train what is missing, and print the table and the file of the figure."""
    from zsl.experiments.sweep import read_values, sweep, write_sweep
    from zsl.experiments.workers import open_trainer

    accelerator = make_accelerator("no")
    device = accelerator.device
    table = args.read_table()
    vectors = args.read_vectors()
    check_vectors(args.methods, vectors, table.manifest)
    folds = load_folds(args.benchmark, args.data, table, device, args.folds, vectors)
    dim = table.features.shape[1]
    methods = [method_and_recipe(name, args.benchmark, recipe=args.recipe, feature_dim=dim)[0] for name in args.methods]
    without = [method.name for method in methods if not method.takes_recipe]
    if args.recipe and without:
        raise ValueError(f"--recipe {args.recipe} is for variants of DCR-GAN; {', '.join(without)} has none")
    field = args.field.replace("-", "_")
    values = read_values(field, args.values, methods[0].config)
    folder = args.runs / (args.name or f"{benchmark_name(args.benchmark)}-sweep-{field}")
    with sole_process(folder), open_trainer(args.workers, len(folds), table, accelerator) as trainer:
        points = sweep(
            methods, field, values, folds, folder, manifest=table.manifest, seeds=args.seeds, trainer=trainer
        )  # fmt: skip
        text = write_sweep(points, field, folder)
    print(f"mean over folds {' '.join(map(str, args.folds))}, seeds {' '.join(map(str, args.seeds))}", text, sep="\n\n")
    print(folder / "sweep.svg")


if __name__ == "__main__":
    run_script(main, Args)
