"""Compare all methods on one feature table: choose on validation folds, train on trainval, test once.

    python scripts/table.py --benchmark cub --backbone efficientnet_lite0 --seeds 0 1 2 3 4
    python scripts/table.py --benchmark cub --backbone efficientnet_lite0 --methods eszsl C-5 f-CLSWGAN

Every run has a folder runs/<name>/<method>.  The script keeps finished runs, so the same command continues a killed
table.  The table also shows earlier runs of the same features and seeds.  `table.md` also has a ranking by AUSUC, which
`ranking.svg` draws.  Variants of one form share one configuration, which is chosen for `dcrgan`, or for `dcrgan+`.
Each of them has its own γ.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass

from zsl.baselines.registry import BASELINES
from zsl.cli import FeatureArgs, run_script
from zsl.common.compute import make_accelerator
from zsl.common.files import write_text
from zsl.common.locks import sole_process
from zsl.common.ranges import Count, Whole
from zsl.datasets.places import benchmark_name
from zsl.datasets.splits import ATTRIBUTES
from zsl.dcrgan.variants import NAME, VARIANTS
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import PUBLISHED, check_vectors, ungrouped
from zsl.experiments.ranking import draw_ranking, rank_methods, ranking_text
from zsl.experiments.table import (
    answers_of,
    finished_methods,
    left_out_text,
    read_costs,
    run_methods,
    scores_table,
    start_of,
)
from zsl.experiments.workers import open_trainer
from zsl.features.load import load_folds, load_splits
from zsl.features.split import split_features
from zsl.report.published_numbers import published_harmonic


@dataclass(frozen=True, kw_only=True)
class Args(FeatureArgs):
    """Run methods and print their table."""

    methods: tuple[str, ...] = (*BASELINES, *(name for name in VARIANTS if not name.startswith(NAME)), PUBLISHED)
    """Methods of docs/methods.md; table2: all of other papers and dcrgan; published: C-5 with its best test epoch."""
    seeds: tuple[Whole, ...] = (0, 1, 2, 3, 4)  # one run for each
    budget: Whole | None = None
    """Most configurations of each method that need training, the first one included; methods that train in seconds try
    all of theirs. Default: each method's own number; DCR-GAN has its recipe alone."""
    every: Count | None = None  # GAN steps between two tests of the published protocol; default: a tenth of all steps
    workers: Count | None = None  # processes that train at the same time on a CPU; default: for each core and seed one
    profile: bool = False  # write where each seed's time goes into its folder: a table by stage, a trace for Chrome


def main(args: Args) -> None:
    """Run what is missing, and print the table and its file."""
    accelerator = make_accelerator("no")
    table = args.read_table()
    vectors = args.read_vectors()
    check_vectors(args.methods, vectors, table.manifest)
    splits = load_splits(args.benchmark, args.data, table, vectors=vectors)
    device = accelerator.device
    train, test = split_features(table, splits, device)
    folds = load_folds(args.benchmark, args.data, table, device, vectors=vectors)
    folder = args.runs / (args.name or f"{benchmark_name(args.benchmark)}-table")
    pieces = max(len(args.seeds), len(folds))
    with sole_process(folder), open_trainer(args.workers, pieces, table, accelerator) as trainer:
        data = Experiment(
            table=table, splits=splits, train=train, test=test, seeds=args.seeds, accelerator=accelerator,
            profile=args.profile, trainer=trainer,
        )  # fmt: skip
        failures: dict[str, str] = {}
        start = start_of(args.benchmark)
        results = run_methods(data, folds, ungrouped(args.methods), start, folder, args.budget, args.every, failures)
    left_out: dict[str, str] = {}
    finished = finished_methods(folder, results, left_out)
    text = scores_table(finished, read_costs(folder, finished), failures)
    if left_out:
        text += f"\n{left_out_text(left_out)}"
    honest = answers_of(folder, finished)
    printed = published_harmonic(benchmark_name(args.benchmark), honest)
    ranks = rank_methods(honest) if len(honest) > 1 else []
    if splits.side_information != ATTRIBUTES:
        text = f"Side information: {splits.attribute_kind}.\n\n{text}"
    if ranks:
        text += f"\nRanking by AUSUC; methods of a group cannot be told apart.\n\n{ranking_text(ranks, printed)}"
        draw_ranking(ranks, printed, folder)
    write_text(folder / "table.md", text)
    print(splits.describe(), text, sep="\n")
    print(
        "H at γ = 0: without calibration.  H on folds: on those that chose γ, at that γ.", folder / "table.md", sep="\n"
    )
    if failures:
        raise ValueError(f"{len(failures)} failed in training, of which the table says why: {', '.join(failures)}")


if __name__ == "__main__":
    run_script(main, Args)
