"""Measure a run of several seeds in several processes beside the same run in one process, within one call.

    python benchmarks/seeds.py --json seeds.json            # drawn features of the size of CUB's first 50 classes
    python benchmarks/seeds.py --steps 5 --seeds 0 1 2      # a quick look
    python benchmarks/seeds.py --features FOLDER --benchmark cub --splits xlsa17/data/CUB
    python benchmarks/seeds.py --bmm                        # five critics in one product, instead

one        --workers 1: one seed after the other, in all threads.
default    --workers as it is without the flag.  The time of starting its processes counts.

Both ways make a whole run: training, files, the test of each seed; γ is 0.  They take turns in each round, each ratio
is computed within a round, and the report has the median.  It also has H of both ways, and says whether the models have
equal bits: some products, solutions and sums end in other last bits with another number of threads, and the steps of a
GAN make this difference larger.

--bmm asks whether the networks of several seeds should learn as one.  It times a product of inputs and weights of five
critics as `torch.bmm`, and as five products one after the other.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from zsl.cli import run_script
from zsl.common.compute import make_accelerator
from zsl.common.config import override
from zsl.common.files import write_json
from zsl.common.ranges import Count, Whole
from zsl.datasets.splits import Splits
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import method_and_recipe
from zsl.experiments.workers import open_trainer
from zsl.features.load import load_splits
from zsl.features.manifest import Manifest
from zsl.features.split import split_features
from zsl.features.table import FeatureTable, read_features

SEEN, UNSEEN, TRAINVAL, TEST_SEEN, TEST_UNSEEN = 40, 10, 1837, 460, 592  # the first 50 classes of CUB
ATTRIBUTES, DIM = 312, 1280
WAYS: dict[str, int | None] = {"one": 1, "default": None}  # --workers of each
CRITICS, BATCH, CONDITION, HIDDEN = 5, 64, 332, 1024


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure runs of several seeds on this machine's CPU."""

    methods: tuple[str, ...] = ("dcrgan", "dcrgan+")
    seeds: tuple[Whole, ...] = (0, 1, 2, 3, 4)
    rounds: Count = 1
    steps: Count | None = None  # of the GAN, few more of each other part, one epoch of heads; default: all
    features: Path | None = None  # folder of a feature table; default: drawn features
    benchmark: str = "cub"  # of that table
    splits: Path | None = None  # folder with its att_splits.mat
    bmm: bool = False  # time products of matrices, and nothing else
    json: Path | None = None  # also write the figures to this file


def main(args: Args) -> None:
    """Measure, print a line for each method, and write the figures."""
    accelerator = make_accelerator("no")
    report = measure_bmm(args.rounds) if args.bmm else measure_runs(args, accelerator)
    if args.json:
        write_json(args.json, report | {"threads": torch.get_num_threads()})


def measure_runs(args: Args, accelerator: Accelerator) -> dict[str, Any]:
    """Time both ways on one table, for each method."""
    table, splits = read_data(args)
    print(
        f"{splits.describe()}, D = {table.features.shape[1]}; {len(args.seeds)} seeds, {args.rounds} rounds", end="; "
    )
    print(f"{torch.get_num_threads()} threads", flush=True)
    return {name: measure_method(name, table, splits, args, accelerator) for name in args.methods}


def measure_method(
    name: str, table: FeatureTable, splits: Splits, args: Args, accelerator: Accelerator
) -> dict[str, Any]:
    """Time both ways in rounds."""
    train, test = split_features(table, splits)
    data = Experiment(table=table, splits=splits, train=train, test=test, seeds=args.seeds, accelerator=accelerator)
    method, _ = method_and_recipe(name, args.benchmark, feature_dim=table.features.shape[1])
    config = method.configured(method.config)
    if args.steps is not None:
        few = {"gan.steps": 1, "metric.steps": 2, "srn.steps": 10}
        config = override(config, {key: args.steps * times for key, times in few.items()} | {"classifiers.epochs": 1})
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    models: dict[str, dict[str, bytes]] = {}
    scores: dict[str, dict[str, float]] = {}
    for number in range(args.rounds):
        for way in sorted(WAYS, reverse=bool(number % 2)):
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                with open_trainer(WAYS[way], len(args.seeds), table, accelerator) as trainer:
                    results = replace(data, trainer=trainer).honest(method, config, Path(folder), gamma=0.0)
                took[way].append(time.perf_counter() - began)
                paths = Path(folder).glob("seed-*/model.safetensors")
                models[way] = {path.parent.name: path.read_bytes() for path in paths}
                scores[way] = results.mean
    one, default = took["one"], took["default"]
    figures = {
        "one_seconds": median(one), "default_seconds": median(default),
        "ratio": median(before / after for before, after in zip(one, default, strict=True)),
        "harmonic": scores["one"]["harmonic"], "harmonic_default": scores["default"]["harmonic"],
        "equal_bits": models["one"] == models["default"],
    }  # fmt: skip
    print(
        f"{name}: {figures['one_seconds']:.1f} s in one process, {figures['default_seconds']:.1f} s by default, "
        f"ratio {figures['ratio']:.2f}; H {100 * figures['harmonic']:.2f} and {100 * figures['harmonic_default']:.2f}, "
        f"models with {'equal' if figures['equal_bits'] else 'other'} bits",
        flush=True,
    )
    return figures


def read_data(args: Args) -> tuple[FeatureTable, Splits]:
    """Read the table that the flags name, or draw one."""
    if args.features is None:
        return draw_data()
    table = read_features(args.features)
    return table, load_splits(args.benchmark, Path("data"), table, args.splits)


def draw_data() -> tuple[FeatureTable, Splits]:
    """Draw Gaussian classes of the size of CUB's first 50, whose means are linear in random attributes."""
    rng = np.random.default_rng(0)
    sizes = {TRAINVAL: (0, SEEN), TEST_SEEN: (0, SEEN), TEST_UNSEEN: (SEEN, SEEN + UNSEEN)}
    labels = np.concatenate([low + np.arange(size) % (high - low) for size, (low, high) in sizes.items()])
    attributes = rng.random((SEEN + UNSEEN, ATTRIBUTES), dtype=np.float32)
    means = attributes @ rng.standard_normal((ATTRIBUTES, DIM), dtype=np.float32)
    features = np.abs(means[labels] + 8 * rng.standard_normal((len(labels), DIM), dtype=np.float32))
    rows = np.arange(len(labels))
    trainval, test_seen, test_unseen = np.split(rows, np.cumsum(list(sizes))[:-1])
    splits = Splits(
        class_names=tuple(f"class {i}" for i in range(SEEN + UNSEEN)),
        attributes=attributes, seen=np.arange(SEEN), unseen=np.arange(SEEN, SEEN + UNSEEN),
        trainval_loc=trainval, test_seen_loc=test_seen, test_unseen_loc=test_unseen, verdict="drawn",
    )  # fmt: skip
    manifest = Manifest.in_memory("cub", count=len(features), dim=DIM)
    return FeatureTable(features=features, labels=labels, rows=rows, manifest=manifest), splits


def measure_bmm(rounds: int) -> dict[str, Any]:
    """Time the hidden layer of five critics, forward and for the gradient of its weights, in both ways."""
    torch.manual_seed(0)
    inputs = torch.randn(CRITICS, 2 * BATCH, DIM + CONDITION)
    weights = torch.randn(CRITICS, DIM + CONDITION, HIDDEN)
    gradients = torch.randn(CRITICS, 2 * BATCH, HIDDEN)

    def together() -> None:
        torch.bmm(inputs, weights)
        torch.bmm(inputs.transpose(1, 2), gradients)

    def apart() -> None:
        for x, w, g in zip(inputs, weights, gradients, strict=True):
            x @ w
            x.T @ g

    took: dict[str, list[float]] = {"bmm": [], "apart": []}
    for number in range(rounds + 1):  # the first one warms up
        for way, run in sorted({"bmm": together, "apart": apart}.items(), reverse=bool(number % 2)):
            took[way].append(seconds(run))
    figures = {f"{way}_seconds": fmean(times[1:]) for way, times in took.items()}
    ratio = median(before / after for before, after in zip(took["apart"][1:], took["bmm"][1:], strict=True))
    print(
        f"five critics: {1e3 * figures['apart_seconds']:.1f} ms apart, {1e3 * figures['bmm_seconds']:.1f} ms by bmm",
        end="",
    )
    print(f", ratio {ratio:.2f}")
    return figures | {"ratio": ratio}


def seconds(run: Callable[[], None], times: int = 5) -> float:
    """Return the mean time of a run."""
    began = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - began) / times


if __name__ == "__main__":
    run_script(main, Args)
