"""Photos of official archives, as far as they are at hand, from the raw folder to a prediction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from scipy.io import loadmat
from tiny_configs import TINY

from backbones import Backbone
from shards import read_index
from zsl.common.config import override
from zsl.datasets.pack import make_shards
from zsl.datasets.places import features_folder, shards_folder
from zsl.dcrgan.config import DCRGANConfig
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.load import load_splits
from zsl.features.split import split_features
from zsl.features.table import FeatureTable, read_features
from zsl.predict.answers import Answer
from zsl.predict.encoders import open_backbones
from zsl.predict.photos import Limits
from zsl.predict.predictor import load_predictor
from zsl.predict.reader import Reader
from zsl.report.page import Options, write_report
from zsl.report.runs import read_report_run

BENCHMARKS = [("sun", "SUN", "SUN"), ("apy", "aPY", "APY")]  # name, raw folder, split folder


@pytest.mark.parametrize(("name", "folder", "split_folder"), BENCHMARKS, ids=[row[0] for row in BENCHMARKS])
def test_photos_at_hand_go_from_the_raw_folder_to_a_prediction(
    name: str,
    folder: str,
    split_folder: str,
    shared_data: Path,
    tmp_path: Path,
    tiny_backbone: Backbone,
    tiny_weights: Path,
    accelerator: Accelerator,
) -> None:
    raw, splits = shared_data / folder, shared_data / "xlsa17" / split_folder
    if not raw.is_dir() or not splits.is_dir():
        pytest.skip(f"no photos in {raw}, or no split files in {splits}; ZSL_SHARED_DATA=DIR says where they are")
    data = tmp_path / "data"
    index, _ = make_shards(name, data, images=raw, splits=splits, allow_missing=True)
    shards = shards_folder(data, name)
    out = features_folder(data, name, tiny_backbone.name)
    extract_features(tiny_backbone, shards, read_index(shards), out, accelerator, ExtractSettings(batch_size=64))
    table = read_features(out)
    at_hand = rows_at_hand(raw, splits)
    assert index.count == len(table.rows) == len(at_hand)
    assert table.rows.tolist() == at_hand

    run = train(name, data, table, tmp_path / "runs" / name, accelerator)
    results = json.loads((run / "results.json").read_text())
    assert 0 <= results["mean"]["harmonic"] <= 1
    assert "INCOMPLETE" in results["data"]
    page = write_report(read_report_run(run), [], Options(data=data, audit=False))
    assert f"{len(at_hand):,}" in page.read_text()

    predictor = load_predictor(run)
    reader = Reader(
        predictor=predictor, backbones=open_backbones(predictor, run, [tiny_weights]), accelerator=accelerator, top=3
    )
    photo = next(raw.rglob("*.jpg"))
    (answer,) = reader.read([photo], Limits(), 1)
    assert isinstance(answer, Answer)
    assert len(answer.classes) == 3


def rows_at_hand(raw: Path, splits: Path) -> list[int]:
    """The 0-based rows whose photo is below `raw`, by the photo's name, which no other photo there has."""
    cells = loadmat(splits / "labels_files.mat")["image_files"].ravel()
    at_hand = {path.name for path in raw.rglob("*.jpg")}
    return [
        row for row, cell in enumerate(cells) if str(np.ravel(cell)[0]).replace("\\", "/").split("/")[-1] in at_hand
    ]


def train(name: str, data: Path, table: FeatureTable, folder: Path, accelerator: Accelerator) -> Path:
    """A finished run of one seed."""
    splits = load_splits(name, data, table)
    train_split, test_split = split_features(table, splits)
    experiment = Experiment(
        table=table, splits=splits, train=train_split, test=test_split, seeds=(0,), accelerator=accelerator
    )
    config = override(TINY, {"gan.steps": 2})
    assert isinstance(config, DCRGANConfig)
    experiment.honest(find_method("dcrgan", config), config, folder, gamma=0.0)
    return folder
