"""Run backbones x methods x seeds in one command, and write one table and a plot of H against images/s.

    python scripts/study.py --benchmark cub --backbones efficientnet_lite0 resnet101 swin_base --methods eszsl dcrgan
    python scripts/study.py --backbones efficientnet_lite0 efficientnet_lite0@runs/cub-ft/weights.safetensors

NAME@FILE is a backbone with your own weights, such as fine-tuned ones; A+B joins the features of two backbones.  The
script uses the feature tables below --data and the runs below runs/<name>/<backbone>/<method> that exist, so the same
command continues a killed study.  If a backbone fails, the script reports it, continues with the others, and ends with
exit code 1.  docs/backbones.md says how to read the table.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from backbones import EncodeOptions
from zsl.cli import VectorArgs, default_backbone, run_script
from zsl.common.compute import Precision, make_accelerator
from zsl.common.locks import sole_process
from zsl.common.ranges import Count, Whole
from zsl.datasets.places import benchmark_name


@dataclass(frozen=True, kw_only=True)
class Args(VectorArgs):
    """Compare backbones."""

    benchmark: str = "shapes"  # shapes, awa1, awa2, apy, cub, sun, or a folder of your own
    backbones: tuple[str, ...] = ()
    """NAME or NAME@FILE, or several joined by +; default: resnet101, but the offline preset for shapes."""
    methods: tuple[str, ...] = ("eszsl", "dcrgan+")
    """Methods of docs/methods.md; table2: all of other papers and dcrgan; published: C-5 with its best test epoch."""
    seeds: tuple[Whole, ...] = (0, 1, 2)  # one run for each
    options: Annotated[EncodeOptions, arg(name="")] = field(default_factory=EncodeOptions)
    precision: Precision = "auto"  # precision of extraction; training is in fp32
    batch_size: Count = 32  # batch size of extraction
    budget: Whole | None = None  # most configurations of each method to train for each backbone, as in table.py
    every: Count | None = None  # GAN steps between two tests of the published protocol; default: a tenth of all steps
    workers: Count | None = None  # processes that train at the same time on a CPU; default: for each core and seed one
    shards: str | None = None  # place of the shards, a folder or a URL (s3://, gs://, …); default: below --data
    allow_pipe: bool = False  # let --shards be 'pipe:COMMAND'; the command runs with {file} filled in
    name: str | None = None  # name of the folder below --runs; default: benchmark-study
    data: Path = Path("data")  # where shards and features lie
    runs: Path = Path("runs")  # where the folders of runs lie


def main(args: Args) -> None:
    """Extract and train what is missing, and print the table and its files."""
    from zsl.experiments.methods import ungrouped
    from zsl.experiments.study import run_study
    from zsl.experiments.study_plan import Study, names_of
    from zsl.experiments.study_table import STUDY_FILES, write_study

    study = Study(
        benchmark=args.benchmark, entries=names_of(args.backbones or (default_backbone(args.benchmark),)),
        methods=ungrouped(args.methods), seeds=args.seeds, options=args.options, batch_size=args.batch_size,
        budget=args.budget, every=args.every, workers=args.workers, shards=args.shards, allow_pipe=args.allow_pipe,
        data=args.data, vectors=args.read_vectors(),
        folder=args.runs / (args.name or f"{benchmark_name(args.benchmark)}-study"),
    )  # fmt: skip
    with sole_process(study.folder):
        rows, failures = run_study(study, make_accelerator(args.precision))
    print(write_study(rows, failures, study.folder), *(study.folder / name for name in STUDY_FILES), sep="\n")
    if failures:
        raise ValueError(f"{len(failures)} failed, of which the table says why: {'; '.join(failures)}")


if __name__ == "__main__":
    run_script(main, Args)
