"""Fine-tune a backbone on the trainval photos of seen classes, and judge whether to keep the result or roll back.

    accelerate launch scripts/finetune.py --benchmark cub --backbone efficientnet_lite0 --name cub-ft
    accelerate launch scripts/extract.py --benchmark cub --backbone efficientnet_lite0 --weights runs/cub-ft/weights.safetensors
    ACCELERATE_USE_CPU=1 torchrun --nproc-per-node 2 scripts/finetune.py --benchmark cub --name cub-ft

The verdict comes from left-out classes, which stand for the unseen classes.  After a kill, the same command continues
the run.  Several processes may be started by the same command: each takes a fold, and the last one goes on.
"""  # noqa: E501 - a command to copy

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass, field
from pathlib import Path

from backbones.finetune_config import FinetuneConfig
from zsl.cli import default_backbone, run_script
from zsl.common.compute import Precision, make_accelerator, training_precision
from zsl.common.ranges import Count, Gigabytes, NotNegative, Share, Whole
from zsl.datasets.pack import open_or_draw_shards
from zsl.datasets.places import benchmark_name, shards_folder
from zsl.finetune.verdict import Judge
from zsl.training.trackers import LogWith, check_tracker


@dataclass(frozen=True, kw_only=True)
class Args:
    """Fine-tune a backbone, judge it on left-out classes, and write its weights."""

    benchmark: str = "shapes"  # shapes, awa1, awa2, apy, cub, sun, or a folder of your own
    backbone: str | None = None  # preset or any timm model; default: resnet101, but the offline preset for shapes
    weights: Path | None = None  # start from this file instead of the published weights
    crossfit: Whole | None = None  # class folds; 0: none; default: by the test's share of classes, at most 4
    hold_out: Share = 0.0  # share of each class's photos that the final weights do not know; γ is measured on these
    folds: tuple[Count, ...] = ()  # official validation folds to judge on besides; each one is another fine-tuning
    skip_verdict: bool = False  # no fold at all: only tune on all trainval photos, for all --config.epochs
    judge: Judge = "dcrgan+"  # dcrgan+: trains a short DCR-GAN; eszsl: takes seconds, but judges worse
    shards: str | None = None  # place of the shards, a folder or a URL (s3://, gs://, …); default: below --data
    allow_pipe: bool = False  # let --shards be 'pipe:COMMAND'; the command runs with {file} filled in
    margin: Share = 0.005  # for --folds: least gain of H on them; the verdict on a smaller gain is to roll back
    precision: Precision | None = None  # default: bf16 on a GPU; fp32 on a CPU, where training in bf16 is slow
    checkpoint_seconds: NotNegative = 30.0  # time between two checkpoints; each epoch also ends with one
    memory_gb: Gigabytes = 4.0  # GB of decoded photos in memory, a process; a temporary file holds the rest
    log_with: LogWith | None = None  # also show losses elsewhere (docs/watching.md); needs the extra of this name
    name: str | None = None  # name of the run; default: benchmark-finetune
    data: Path = Path("data")  # where shards and features lie
    runs: Path = Path("runs")  # where the folders of runs lie
    config: FinetuneConfig = field(default_factory=FinetuneConfig)


def main(args: Args) -> None:
    """Fine-tune, and print the speed, the verdict and the file of weights."""
    from zsl.finetune.command import Finetuning, run_finetuning, verdicts
    from zsl.finetune.crossfit import FoldsPending

    check_tracker(args.log_with)
    if args.skip_verdict and (args.crossfit or args.folds):
        raise ValueError("--skip-verdict trains no fold, --crossfit and --folds ask for some; leave one of them out")
    accelerator = make_accelerator(args.precision or training_precision())
    with accelerator.main_process_first():
        index = open_or_draw_shards(args.benchmark, args.data, args.shards, allow_pipe=args.allow_pipe)
    folder = args.runs / (args.name or f"{benchmark_name(args.benchmark)}-finetune")
    job = Finetuning(
        benchmark=args.benchmark, backbone=args.backbone or default_backbone(args.benchmark), weights=args.weights,
        data=args.data, shards=args.shards or shards_folder(args.data, args.benchmark), allow_pipe=args.allow_pipe,
        config=args.config,
        crossfit=0 if args.skip_verdict else args.crossfit, hold_out=args.hold_out, folds=args.folds,
        judge=args.judge, margin=args.margin,
        checkpoint_seconds=args.checkpoint_seconds, memory=args.memory_gb * 1e9, log_with=args.log_with,
    )  # fmt: skip
    try:
        manifest = run_finetuning(job, index, folder, accelerator)
    except FoldsPending as pending:
        if accelerator.is_main_process:
            print(pending)
        return
    if accelerator.is_main_process:
        speed = f"{manifest.images_per_second} images/s"
        print(f"{manifest.epochs} epochs on {manifest.weights.facts.trainval.count:,} photos, {speed}")
        for verdict in verdicts(manifest, folder):
            print(verdict.text())
        print(folder / manifest.weights.weights_file)


if __name__ == "__main__":
    run_script(main, Args)
