"""A run on joined backbones: predictions, export, page, audit and report are as those of a run on one."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from bad_photos import JPEG
from tiny_configs import TINY

import backbones
from backbones import Photo
from zsl.audit.audit import audit
from zsl.audit.findings import failed
from zsl.common.tensors import read_tensors, write_tensors
from zsl.dcrgan.saved import TRAIN_FILE
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.results import read_results
from zsl.features.join import find_tables, read_tables
from zsl.features.load import load_splits
from zsl.features.scaling import FeatureScaler
from zsl.features.split import split_features
from zsl.predict.answers import Answer
from zsl.predict.desk import Desk
from zsl.predict.encoders import export, open_backbones
from zsl.predict.photos import Limits, read_photo
from zsl.predict.predictor import load_predictor
from zsl.predict.reader import Reader
from zsl.report.page import Options, write_report
from zsl.report.runs import read_report_run
from zsl.scores.details import DETAILS_FILE, load_details


@pytest.fixture(scope="module")
def joined(tiny_join: Path) -> str:
    """The name of the join: `test_resnet…+test_vit…`."""
    return "+".join(sorted(path.parent.name for path in tiny_join.glob("shapes/features/*/manifest.json")))


@pytest.fixture(scope="module")
def joined_run(
    tiny_join: Path, joined: str, accelerator: Accelerator, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run on the join, in a folder with its name."""
    table = read_tables(find_tables(tiny_join, "shapes", joined))
    splits = load_splits("shapes", tiny_join, table)
    train, test = split_features(table, splits)
    data = Experiment(table=table, splits=splits, train=train, test=test, seeds=(0,), accelerator=accelerator)
    folder = tmp_path_factory.mktemp("runs") / joined
    data.honest(find_method("dcrgan", TINY), TINY, folder, gamma=1.5)
    return folder


@pytest.fixture(scope="module")
def reader(joined_run: Path, other_weights: Path, tiny_weights: Path, accelerator: Accelerator) -> Reader:
    """What `predict.py` opens for the run."""
    predictor = load_predictor(joined_run)
    opened = open_backbones(predictor, joined_run, [other_weights, tiny_weights])
    return Reader(predictor=predictor, backbones=opened, accelerator=accelerator)


def test_the_predictor_has_the_accuracy_of_the_run_and_decodes_each_photo_once(
    tiny_join: Path, joined_run: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = sorted((tiny_join / "shapes" / "raw" / "images").glob("*/*.jpg"))  # the official row order
    details = load_details(joined_run / "seed-0" / DETAILS_FILE)
    decoded, decode = [], backbones.decode_photo

    def note(data: bytes, **options: Any) -> Photo:
        decoded.append(data)
        return decode(data, **options)

    monkeypatch.setattr("backbones.decode_photo", note)
    rows = torch.cat([details.seen_rows, details.unseen_rows]).tolist()
    answers = list(reader.read([photos[row] for row in rows], Limits(), batch_size=7))
    assert len(decoded) == len(rows)
    names = [answer.classes[0].name for answer in answers if isinstance(answer, Answer)]
    predicted = [reader.predictor.train.class_names.index(name) for name in names]
    assert predicted == torch.cat([details.seen_predicted, details.unseen_predicted]).tolist()
    mean = read_results(joined_run / "results.json").mean
    count = len(details.seen_rows)
    for part, labels, key in (
        (predicted[:count], details.seen_labels, "acc_seen"), (predicted[count:], details.unseen_labels, "acc_unseen")
    ):  # fmt: skip
        right = np.array(part) == labels.numpy()
        assert np.mean([right[labels.numpy() == label].mean() for label in labels.unique()]) == pytest.approx(mean[key])


def test_an_export_holds_both_backbones_and_answers_the_same(
    joined_run: Path, reader: Reader, other_weights: Path, tiny_weights: Path, tiny_join: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made+moved"
    export(reader.predictor, made, joined_run, [other_weights, tiny_weights])
    predictor = load_predictor(made)
    opened = dataclasses.replace(reader, predictor=predictor, backbones=open_backbones(predictor, made))
    assert [one.name for one in opened.backbones] == [one.name for one in reader.backbones]
    photos = sorted((tiny_join / "shapes" / "raw" / "images").glob("*/*.jpg"))[::9]
    first, second = (list(one.read(photos, Limits(), 4)) for one in (reader, opened))
    assert first == second
    export(predictor, tmp_path / "again", made)
    assert sorted(path.parent.name for path in (tmp_path / "again").glob("*/backbone.safetensors")) == [
        "backbone-1", "backbone-2",
    ]  # fmt: skip


def test_one_file_of_weights_is_needed_for_each_backbone_that_came_from_one(
    joined_run: Path, tiny_weights: Path, other_weights: Path
) -> None:
    predictor = load_predictor(joined_run)
    with pytest.raises(ValueError, match=r"--weights names 1 files; .* in this order: test_resnet\..*, test_vit\."):
        open_backbones(predictor, joined_run, [tiny_weights])
    with pytest.raises(ValueError, match="weights"):
        open_backbones(predictor, joined_run, [tiny_weights, other_weights])
    with pytest.raises(FileNotFoundError, match="name the file by --weights"):
        open_backbones(predictor, joined_run)


def test_the_page_answers_with_all_backbones(reader: Reader, joined: str) -> None:
    desk = Desk(reader=reader, run="a+b", limits=Limits())
    image, notes = read_photo(JPEG)
    (expected,) = reader.answers([reader.inputs(image)], ["photo"], [notes])
    assert desk.answer(JPEG) == dataclasses.asdict(expected)
    assert desk.describe()["backbone"] == joined


def test_the_audit_checks_every_part_and_the_scaler_of_the_join(
    tiny_join: Path, joined: str, joined_run: Path, tmp_path: Path
) -> None:
    tables = list(find_tables(tiny_join, "shapes", joined))
    findings = audit("shapes", tiny_join, tmp_path / "out", tables=tables, run=joined_run)
    assert not failed([finding for finding in findings if finding.check != "same bytes"])
    assert {f"features {name}" for name in joined.split("+")} <= {finding.check for finding in findings}
    leaky = tmp_path / "leaky"
    shutil.copytree(joined_run, leaky)
    tensors, _ = read_tensors(leaky / TRAIN_FILE, "")
    table = read_tables(tables)
    everything = FeatureScaler.fit(torch.from_numpy(np.asarray(table.features)), table.blocks)
    write_tensors(leaky / TRAIN_FILE, tensors | {"scaler.low": everything.low, "scaler.span": everything.span})
    findings = audit("shapes", tiny_join, tmp_path / "out", tables=tables, run=leaky)
    assert any("fitted on all rows, test rows included" in finding.message for finding in findings)
    other = audit("shapes", tiny_join, tmp_path / "out", tables=tables[:1], run=joined_run)
    assert any("made from other features" in f.message or "is not fitted on" in f.message for f in other)


def test_the_report_names_both_backbones(tiny_join: Path, joined: str, joined_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a+b"
    shutil.copytree(joined_run, folder)
    page = write_report(read_report_run(folder), [], Options(data=tiny_join, audit=False)).read_text()
    for name in joined.split("+"):
        assert name in page
    assert "No features of" not in page
