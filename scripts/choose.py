"""Choose a method's configuration and its calibration γ on validation folds, which hold no test row.

    python scripts/choose.py --benchmark cub --backbone efficientnet_lite0 --method dcrgan
    python scripts/train_dcrgan.py --benchmark cub --backbone efficientnet_lite0 --selection runs/cub-dcrgan-selection

Each round of the method's search tries some values on the best configuration so far.  After a kill, the same command
continues the search: finished trials are not trained again.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass

from zsl.cli import FeatureArgs, run_script
from zsl.common.compute import make_accelerator
from zsl.common.locks import sole_process
from zsl.common.ranges import Count, Whole
from zsl.datasets.places import benchmark_name
from zsl.dcrgan.variants import DEFAULT
from zsl.experiments.methods import check_vectors, method_and_recipe
from zsl.experiments.search import select
from zsl.experiments.selection import SELECTION_FILE
from zsl.experiments.workers import open_trainer
from zsl.features.load import load_calibration, load_folds, load_splits
from zsl.training.method import Goal


@dataclass(frozen=True, kw_only=True)
class Args(FeatureArgs):
    """Search on validation folds."""

    method: str = DEFAULT  # dcrgan+, a variant, a baseline (docs/methods.md), or FILE.py:NAME (docs/own-method.md)
    goal: Goal | None = (
        None  # the mean over the folds that is to be high: H at one γ, T1, S or AUSUC; default: the method's
    )
    folds: tuple[Count, ...] = (1, 2, 3)  # validation folds to train on
    seed: Whole = 0  # seed of all draws
    budget: Count = 20  # most configurations that need training; the configuration at the start counts as one
    workers: Count | None = None  # processes that train at the same time on a CPU; default: for each core and fold one


def main(args: Args) -> None:
    """Search, and print the choice and the file that holds it."""
    accelerator = make_accelerator("no")
    device = accelerator.device
    table = args.read_table()
    vectors = args.read_vectors()
    method, _ = method_and_recipe(args.method, args.benchmark)
    check_vectors([method.name], vectors, table.manifest)
    folds = load_folds(args.benchmark, args.data, table, device, args.folds, vectors)
    calibration = load_calibration(table, load_splits(args.benchmark, args.data, table, vectors=vectors), device)
    name = benchmark_name(args.benchmark)
    folder = args.runs / (args.name or f"{name}-{method.name}-selection")
    pieces = max(len(folds), len(calibration))
    with sole_process(folder), open_trainer(args.workers, pieces, table, accelerator) as trainer:
        chosen = select(
            method, folds, folder, manifest=table.manifest, goal=args.goal or method.goal, seed=args.seed,
            budget=args.budget, calibration=calibration, trainer=trainer,
        )  # fmt: skip
    best = chosen.best.scores
    print(f"{chosen.trials} trials; best on folds {' '.join(chosen.folds)}:", end=" ")
    print(f"T1 {100 * best.acc_zsl:.1f}, H {100 * best.harmonic:.1f} at γ = {best.gamma:.3g}")
    if chosen.calibration is None:
        why = "a fine-tuned backbone knows their classes" if table.manifest.finetuned else "too few seen classes"
        print(f"no calibration folds ({why}): this γ is taken")
    else:
        print(f"on {len(calibration)} folds with the test's share of unseen classes:", end=" ")
        print(f"H {100 * chosen.calibration.scores.harmonic:.1f} at γ = {chosen.gamma:.3g}, which is taken")
    print(folder / SELECTION_FILE)


if __name__ == "__main__":
    run_script(main, Args)
