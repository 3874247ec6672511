"""Run two methods with several seeds on equal features, and ask whether their difference is chance.

python examples/compare.py --methods eszsl sae      # after `make quickstart`; seconds
python examples/compare.py                          # minutes; leaves runs/example-dcrgan, runs/example-dcrgan+
"""

from __future__ import annotations

from pathlib import Path

import tyro

import zsl
from zsl.experiments import Difference


def main(
    methods: tuple[str, str] = ("dcrgan", "dcrgan+"),
    benchmark: str = "shapes",
    backbone: str = "efficientnet_lite0",
    seeds: tuple[int, ...] = (0, 1, 2),
    data: Path = Path("data"),
    runs: Path = Path("runs"),
) -> list[Difference]:
    """Train and score both methods, and print the second minus the first with a 95 % interval for each score."""
    table = zsl.read_features(zsl.find_features(data, benchmark, backbone))
    splits = zsl.load_splits(benchmark, data, table)
    train, test = zsl.split_features(table, splits)
    experiment = zsl.Experiment(
        table=table, splits=splits, train=train, test=test, seeds=seeds, accelerator=zsl.make_accelerator("no")
    )
    folders = [runs / f"example-{name}" for name in methods]
    for name, folder in zip(methods, folders, strict=True):
        method, recipe = zsl.method_and_recipe(name, benchmark, feature_dim=table.manifest.dim)
        experiment.run(method, folder, recipe=recipe)  # chooses γ on folds; a second call only reads the results
    first, second = (zsl.read_run(folder) for folder in folders)
    differences = zsl.compare(first.details, second.details)
    for one in differences:
        print(f"{one.score:>6}  {one.difference:+6.1%}  between {one.low:+6.1%} and {one.high:+6.1%}")
    return differences


if __name__ == "__main__":
    tyro.cli(main)
