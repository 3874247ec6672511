"""Measure how well a run recognises a class that was held out and then added by a table of its attributes.

    python benchmarks/new_class.py --run runs/cub --json benchmark.json

The script takes each unseen class in turn out of the run: the class is no longer one of its classes, and its attributes
are zeros.  No network has seen these attributes, so the run's networks serve for all turns.  Then a CSV of one line
adds the class again, by the same code as `scripts/predict.py --classes`.  Recall is the share of the class's test
images that get its name among all classes.  Chance is 1 / number of classes.  The script also prints the recall of the
class in the run itself.
"""

from __future__ import annotations

import csv
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
import tyro
from torch import Tensor

from zsl.cli import run_script
from zsl.common.files import write_json
from zsl.common.ranges import Whole
from zsl.datasets.attribute_table import read_attributes
from zsl.dcrgan.model import DCRGAN
from zsl.features.join import find_tables, read_tables
from zsl.features.split import TrainSplit
from zsl.predict.new_classes import add_classes
from zsl.predict.predictor import Predictor, load_predictor, score
from zsl.scores.details import DETAILS_FILE, load_details
from zsl.scores.model import Calibrated
from zsl.scores.per_class import wilson_interval


@dataclass(frozen=True, kw_only=True)
class Args:
    """Hold out and add each unseen class of a run."""

    run: Path = tyro.MISSING
    seeds: tuple[Whole, ...] = ()  # seeds of the run; default: all
    data: Path = Path("data")
    json: Path | None = None  # also write the figures to this file


def main(args: Args) -> None:
    predictor = load_predictor(args.run, args.seeds)
    facts = predictor.facts
    if facts.config["gan"]["semantic_transductive"]:
        raise ValueError(f"{args.run} is transductive: its networks saw the attributes of the classes to be held out")
    table = read_tables(find_tables(args.data, facts.benchmark, facts.backbone.name))
    seeds = list(predictor.models)
    details = {seed: load_details(args.run / f"seed-{seed}" / DETAILS_FILE) for seed in seeds}
    chance = 1 / len(predictor.class_names)
    recalls, in_run, seconds = [], [], []
    print(f"{'class':<32} {'images':>6} {'added':>7} {'95 %':>13} {'in the run':>10}")
    for label in predictor.train.unseen.tolist():
        with tempfile.TemporaryDirectory() as folder:
            path = _write_table(predictor, label, Path(folder) / "new.csv")
            start = time.perf_counter()
            extended = add_classes(_without(predictor, label), read_attributes(path, at_least=1))
            seconds.append((time.perf_counter() - start) / len(seeds))
        features, _ = table.at(details[seeds[0]].unseen_rows[details[seeds[0]].unseen_labels == label].numpy())
        new = extended.class_names.index(predictor.train.class_names[label])
        right = torch.cat([_answers(extended, seed, features) == new for seed in seeds])
        before = torch.cat([(d.unseen_predicted == label)[d.unseen_labels == label].double() for d in details.values()])
        low, high = wilson_interval(round(right.sum().item() / len(seeds)), len(features))  # for the mean over seeds
        recalls.append(right.double().mean().item())
        in_run.append(before.mean().item())
        name = predictor.train.class_names[label]
        print(f"{name:<32} {len(features):>6} {recalls[-1]:>7.1%} {low:>5.1%} – {high:>5.1%} {in_run[-1]:>10.1%}")
    above = sum(recall > chance for recall in recalls)
    print(
        f"mean recall {fmean(recalls):.1%}, in the run {fmean(in_run):.1%}, chance {chance:.1%}, the margin "
        f"{fmean(recalls) - chance:.1%}; {above} of {len(recalls)} classes above chance, lowest {min(recalls):.1%}; "
        f"seeds {', '.join(map(str, seeds))}; {fmean(seconds):.1f} s to add a class"
    )
    if args.json:
        figures = {"recall": fmean(recalls), "chance": chance, "times_chance": fmean(recalls) / chance}
        write_json(args.json, figures | {"lowest": min(recalls), "recall_in_run": fmean(in_run), "seeds": seeds})


def _answers(predictor: Predictor, seed: int, features: Tensor) -> Tensor:
    alone = replace(predictor, models={seed: predictor.models[seed]})
    return score(alone, features).scores.argmax(dim=1)


def _without(predictor: Predictor, label: int) -> Predictor:
    """Return the run without the class.  The heads stay, because adding a class fits them again."""

    def left(train: TrainSplit) -> TrainSplit:
        attributes = train.attributes.clone()
        attributes[label] = 0
        return replace(train, attributes=attributes, unseen=train.unseen[train.unseen != label])

    models = {}
    for seed, calibrated in predictor.models.items():
        model: DCRGAN = calibrated.model
        synthesizer = replace(model.synthesizer, train=left(model.synthesizer.train))
        fewer = DCRGAN(synthesizer, model.zsl, model.gzsl, model.config)
        models[seed] = Calibrated(fewer, calibrated.gamma.item(), predictor.train.seen)
    return replace(predictor, train=left(predictor.train), models=models)


def _write_table(predictor: Predictor, label: int, path: Path) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["class", *predictor.attribute_names])
        writer.writerow([predictor.train.class_names[label], *predictor.train.attributes[label].tolist()])
    return path


if __name__ == "__main__":
    run_script(main, Args)
