"""All methods of Table II on a small `shapes`: each beats chance, and one command trains, ranks and prints them all."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from command_line import load_script
from descriptor import descriptor
from sklearn.metrics import confusion_matrix
from small_configs import small, tiny
from tiny_configs import TINY

from shards import read_index
from zsl.baselines.registry import BASELINES
from zsl.common.config import override
from zsl.datasets.pack import make_shards
from zsl.datasets.places import features_folder, shards_folder
from zsl.datasets.shapes import ShapesConfig, write_shapes
from zsl.dcrgan.config import DCRGANConfig
from zsl.experiments.methods import find_method, ungrouped
from zsl.experiments.results import read_results
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.load import load_folds, load_splits
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import read_features
from zsl.generative.registry import GENERATIVE
from zsl.scores.evaluate import evaluate_details
from zsl.training.method import Method

TABLE2 = ungrouped(["table2"])
UNSEEN, SEEDS = 6, (0, 1)
PHOTOS = ShapesConfig(seen_classes=24, unseen_classes=UNSEEN, images_per_class=40, image_size=64)
LEARNING: dict[str, dict[str, Any]] = {  # what these photos need beyond the toy problem
    "cnzsl": {"hidden_dim": 128, "steps": 300, "lr": 2e-3},
    "crnet": {"hidden_dim": 128, "steps": 1500, "lr": 1e-3, "weight_decay": 1e-4},
    "latem": {"maps": 2},
    "ZeroDiff-lite": {"gan.steps": 300},
}
OF_GENERATORS = {"gan.steps": 600, "vae_weight": 1.0}
RECIPE = {
    "gan.steps": 600, "gan.hidden_dim": 64, "gan.batch_size": 32, "gan.lr_generator": 2e-3, "gan.lr_critic": 2e-3,
    "metric.steps": 300, "srn.steps": 300,
}  # fmt: skip


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory, accelerator: Accelerator) -> Path:
    data = tmp_path_factory.mktemp("data")
    write_shapes(data / "shapes" / "raw", PHOTOS)
    make_shards("shapes", data)
    shards, backbone = shards_folder(data, "shapes"), descriptor()
    out = features_folder(data, "shapes", backbone.name)
    extract_features(backbone, shards, read_index(shards), out, accelerator, ExtractSettings(batch_size=64))
    return out


@pytest.fixture(scope="module")
def splits(features: Path) -> tuple[TrainSplit, TestSplit]:
    rows = read_features(features)
    return split_features(rows, load_splits("shapes", features.parents[2], rows))


def learning(name: str) -> Any:
    """A configuration of some seconds with which the method learns."""
    if name in BASELINES:
        return small(name, **LEARNING.get(name, {}))
    if name in GENERATIVE:
        return small(name, **OF_GENERATORS | LEARNING.get(name, {}))
    return override(find_method(name, DCRGANConfig()).config, RECIPE)


def answers(name: str, splits: tuple[TrainSplit, TestSplit], seed: int) -> np.ndarray:
    """How often images of each unseen class (row) get each unseen class (column) as their answer, by class id."""
    train, test = splits
    model = find_method(name, DCRGANConfig()).train(train, learning(name), seed=seed)
    details = evaluate_details(model, test)
    return confusion_matrix(details.unseen_labels, details.unseen_zsl_predicted)


@pytest.mark.parametrize("name", TABLE2)
def test_unseen_classes_of_drawn_photos_are_recognised_better_than_by_chance(
    name: str, splits: tuple[TrainSplit, TestSplit]
) -> None:
    """Few other assignments of the answers to the six classes would be right as often.

    So the classes are what chance draws, and not the images: a model can be sure of them and take one for the other.
    """
    counts = np.sum([answers(name, splits, seed) for seed in SEEDS], axis=0)
    others = np.array([counts[range(UNSEEN), order].sum() for order in permutations(range(UNSEEN))])
    assert (others >= counts.trace()).mean() < 0.05
    assert counts.trace() / counts.sum() > 1.5 / UNSEEN


def tiny_method(name: str, config: DCRGANConfig) -> Method:
    """A method with one configuration, of a second, with which nothing is learned."""
    method = find_method(name, TINY)
    if name in BASELINES:
        known = {field.name for field in fields(method.config)}
        method = replace(method, config=override(method.config, {"steps": 5} if "steps" in known else {}))
    if name in GENERATIVE:
        method = replace(method, config=tiny(name))
    return replace(method, rounds=())


def test_one_command_trains_ranks_and_prints_every_method(
    tiny_shapes: Path, tiny_features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zsl.experiments.table.find_method", tiny_method)
    script = load_script("table.py")
    monkeypatch.setattr(script, "load_folds", partial(load_folds, numbers=[1]))
    monkeypatch.setattr("zsl.experiments.experiment.load_calibration", lambda *_: {})  # so fold 1 chooses γ, too
    monkeypatch.setattr("zsl.common.compute.available_cores", lambda: 1)  # other tests take the others
    args = {"data": tiny_shapes, "features": tiny_features, "runs": tmp_path}
    script.main(script.Args(**args, methods=("table2",), seeds=(0,), budget=1, workers=1))
    scores, ranking = (tmp_path / "shapes-table" / "table.md").read_text().split("Ranking by AUSUC")
    for text, column in ((scores, 1), (ranking, 2)):
        named = [line.split("|")[column].strip() for line in text.splitlines() if line.count("|") > 3][2:]
        assert sorted(named) == sorted(TABLE2)
    for name in TABLE2:
        assert read_results(tmp_path / "shapes-table" / name / "results.json").seeds[0].seed == 0
    assert (tmp_path / "shapes-table" / "ranking.svg").is_file()
