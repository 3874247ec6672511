"""From features to scores in six lines: train a method on seen classes, and score it once.

python examples/train_and_score.py                   # after `make quickstart`, which makes the features
python examples/train_and_score.py --method eszsl    # another method; this one takes a second
"""

from __future__ import annotations

from pathlib import Path

import tyro

import zsl
from zsl.scores import Scores


def main(
    benchmark: str = "shapes",
    backbone: str = "efficientnet_lite0",
    method: str = "dcrgan+",
    seed: int = 0,
    data: Path = Path("data"),
) -> Scores:
    """Train `method` on the features of `backbone`, and print its scores.  T1 and AUSUC need no γ."""
    table = zsl.read_features(zsl.find_features(data, benchmark, backbone))
    train, test = zsl.split_features(table, zsl.load_splits(benchmark, data, table))
    found, _ = zsl.method_and_recipe(method, benchmark, feature_dim=table.manifest.dim)
    model = found.train(train, found.configured(found.config), seed=seed)
    scores = zsl.evaluate(model, test)
    print(f"T1 {scores.acc_zsl:.1%}, AUSUC {scores.ausuc:.1%}, H at γ = 0 {scores.harmonic:.1%}")
    return scores


if __name__ == "__main__":
    tyro.cli(main)
