"""Compare predictions from photo files with the answers of the run itself to the same photos.

    python benchmarks/predict.py --run runs/cub --images ../shared/data/CUB_200_2011 --json benchmark.json

The script draws `--a-class` test photos of each unseen class, and predicts each as `scripts/predict.py` does: from the
file through decoder, backbone and heads to the answer.  It prints this accuracy beside U of the run on the same photos,
from the answers that the seeds kept, and beside U on all test photos.  It asks each seed alone, and then all together
by the mean of their scores, as `scripts/predict.py` does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
import tyro

from zsl.cli import run_script
from zsl.common.files import write_json
from zsl.common.ranges import Count, Whole
from zsl.datasets.benchmark import read_benchmark
from zsl.datasets.places import splits_folder
from zsl.predict.answers import Answer
from zsl.predict.photos import Limits
from zsl.predict.predictor import load_predictor
from zsl.predict.reader import Reader, open_reader
from zsl.scores.details import DETAILS_FILE, Details, load_details
from zsl.scores.per_class import per_class_top1


@dataclass(frozen=True, kw_only=True)
class Args:
    """Predict photos of a run's unseen classes from their files."""

    run: Path = tyro.MISSING
    images: Path = tyro.MISSING  # raw folder of the run's benchmark, with the photos
    data: Path = Path("data")  # folder with the split files that make_shards.py copied
    a_class: Count = 2  # number of photos of each unseen class
    seed: Whole = 0  # seed that draws the photos
    weights: tuple[Path, ...] = ()  # weights file of the backbone, or of each joined one, if it was not published
    json: Path | None = None  # also write the figures to this file


def main(args: Args) -> None:
    """Print both accuracies, and whether prediction is at least as good."""
    reader = open_reader(args.run, weights=args.weights)
    details = {seed: load_details(args.run / f"seed-{seed}" / DETAILS_FILE) for seed in reader.predictor.models}
    first = next(iter(details.values()))
    chosen = draw(first, args.a_class, args.seed)
    benchmark = reader.predictor.facts.benchmark
    raw = read_benchmark(benchmark, args.images, splits_folder(args.data, benchmark), allow_missing=True)
    file_of = {instance.row: raw.images / instance.file for instance in raw.instances}
    files = [file_of[row] for row in first.unseen_rows[chosen].tolist()]
    names = [reader.predictor.train.class_names[label] for label in first.unseen_labels[chosen].tolist()]
    print(f"{len(files)} photos of {len(set(names))} unseen classes, drawn by seed {args.seed}, of {args.run}")
    own = {seed: accuracy(of_seed, chosen) for seed, of_seed in details.items()}
    for seed, expected in own.items():
        alone = replace(reader, predictor=load_predictor(args.run, [seed]))
        print(f"seed {seed}: predicted {right(alone, files, names):.1%}, the run's U on them {expected:.1%}")
    together, mean = right(reader, files, names), fmean(own.values())
    overall = fmean(accuracy(of_seed, torch.arange(len(first.unseen_labels))) for of_seed in details.values())
    print(f"seeds together: predicted {together:.1%}, the run's U on them {mean:.1%}, on all its photos {overall:.1%}")
    if args.json:
        figures = {"predicted": together, "run_on_these": mean, "run_on_all": overall, "photos": len(files)}
        write_json(args.json, figures | {"at_least_as_good": together >= mean})


def draw(details: Details, a_class: int, seed: int) -> torch.Tensor:
    """Positions of `a_class` unseen test images of each class, drawn without looking at the answers."""
    random = np.random.default_rng(seed)
    of_class = [np.flatnonzero(details.unseen_labels == label) for label in details.unseen_labels.unique()]
    fewest = min(map(len, of_class))
    if not 1 <= a_class <= fewest:
        raise ValueError(f"--a-class is {a_class}; the smallest unseen class has {fewest} test photos, the least is 1")
    return torch.from_numpy(np.concatenate([random.choice(own, a_class, replace=False) for own in of_class]))


def accuracy(details: Details, chosen: torch.Tensor) -> float:
    """U of the run on some of its unseen test images."""
    labels = details.unseen_labels[chosen]
    return per_class_top1(details.unseen_predicted[chosen], labels, labels.unique()).mean().item()


def right(reader: Reader, files: list[Path], names: list[str]) -> float:
    """Share of the files whose first answer is their class; each class has the same number of files."""
    answers = reader.read(files, Limits(), batch_size=32)
    firsts = [answer.classes[0].name if isinstance(answer, Answer) else None for answer in answers]
    return fmean(one == other for one, other in zip(firsts, names, strict=True))


if __name__ == "__main__":
    run_script(main, Args)
