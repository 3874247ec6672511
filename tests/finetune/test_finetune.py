"""Fine-tuning: what it may see, that it can be killed and shared out, and what its weights say of themselves."""

import copy
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from scipy.io import loadmat, savemat
from tiny import pack
from tiny_configs import TINY as DCRGAN
from torch.nn.functional import cosine_similarity
from toy import toy_table
from tuned_study import study_of_weights

from backbones import EncodeOptions, Transform, load_backbone
from backbones.augment import augment, mix
from backbones.finetune import Finetuner, average, make_optimizer
from backbones.finetune_config import AugmentConfig, FinetuneConfig
from backbones.tuned import Rows, TunedFacts, read_tuned_photos
from shards import Location, ShardIndex, open_shard, read_index, read_samples, write_shards
from zsl.common.config import override
from zsl.common.files import read_json
from zsl.datasets.instances import Instance
from zsl.datasets.places import shards_folder
from zsl.datasets.split_file import read_split_file
from zsl.datasets.splits import Splits
from zsl.dcrgan.recipes import Recipe
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.study import run_study
from zsl.experiments.study_plan import names_of
from zsl.experiments.trainer import Trainer
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.facts import describe_data
from zsl.features.load import load_splits
from zsl.features.manifest import Manifest, Source
from zsl.features.pretraining import check_tuned_fold, check_tuned_rows, tuned_on
from zsl.features.split import split_features
from zsl.features.table import FeatureTable, read_features
from zsl.finetune import command as command_module
from zsl.finetune import verdict as verdict_module
from zsl.finetune.command import Finetuning, run_finetuning
from zsl.finetune.data import TuningData
from zsl.finetune.decision import decide, read_verdict
from zsl.finetune.held_out import Progress
from zsl.finetune.images import TrainImages, load_train_images, read_rows
from zsl.finetune.manifest import WEIGHTS_FILE, read_manifest
from zsl.finetune.train import CHECKPOINT_FILE, Training, TunedEncoder, finetune
from zsl.finetune.verdict import judge_features
from zsl.predict.encoders import export, open_backbones
from zsl.predict.predictor import load_predictor
from zsl.scores.folds import FoldScores
from zsl.training.trackers import Tracker

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "finetune.py"
MODEL = "test_resnet"
CONFIG = FinetuneConfig(
    image_size=32, epochs=2, batch_size=8, probe_steps=3, held_out=0.2, wise=(1.0,), ema=0.9, warmup=0.25
)
FLAGS = ["--config.image-size", "32", "--config.epochs", "2", "--config.batch-size", "8", "--config.probe-steps", "3"]
FLAGS += ["--config.held-out", "0.2", "--config.wise", "1.0", "--config.ema", "0.9", "--config.warmup", "0.25"]
FOLD_1 = ["--crossfit", "0", "--folds", "1"]
PIXELS = Transform(size=(36, 36), mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bilinear")
INPUT = replace(PIXELS, size=(32, 32))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small network with batch norms."""
    path = tmp_path_factory.mktemp("resnet") / "resnet.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model(MODEL, pretrained=False).state_dict(), path)
    return path


def make_job(data: Path, weights: Path, shards: Path | None = None, **changes: Any) -> Finetuning:
    job = Finetuning(
        benchmark="shapes", backbone=MODEL, weights=weights, data=data, config=CONFIG, judge="eszsl", folds=(1,),
        shards=shards or shards_folder(data, "shapes"), crossfit=0,
    )  # fmt: skip
    return replace(job, **changes)


@pytest.fixture(scope="module")
def made(tiny_shapes: Path, weights: Path, accelerator: Accelerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run with a verdict."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    job = make_job(tiny_shapes, weights)
    run_finetuning(job, read_index(shards_folder(tiny_shapes, "shapes")), folder, accelerator)
    return folder


@pytest.fixture(scope="module")
def images(tiny_shapes: Path) -> TrainImages:
    shards = shards_folder(tiny_shapes, "shapes")
    index = read_index(shards)
    return load_train_images(shards, index, shard_splits("shapes", tiny_shapes, shards, index), (PIXELS, INPUT))


@pytest.fixture
def tuning(tiny_shapes: Path, images: TrainImages) -> TuningData:
    shards = shards_folder(tiny_shapes, "shapes")
    return TuningData.of(images, shard_splits("shapes", tiny_shapes, shards, read_index(shards)))


def shard_splits(benchmark: str, data: Path, shards: Location, index: ShardIndex) -> Splits:
    return load_splits(benchmark, data, read_rows(shards, index)[0])


def model_of(weights: Path) -> Any:
    model = timm.create_model(MODEL, pretrained=False)
    model.load_state_dict(load_file(weights))
    return model


def spoil_test_rows(data: Path, folder: Path) -> ShardIndex:
    """The same shards with bytes that are no photo in place of every photo that is not of a trainval row."""
    shards = shards_folder(data, "shapes")
    trainval = set(shard_splits("shapes", data, shards, read_index(shards)).trainval_loc.tolist())
    return change_photos(data, folder, lambda row, photo: photo if row in trainval else b"garbage" * 99)


def change_photos(data: Path, folder: Path, change: Callable[[int, bytes], bytes]) -> ShardIndex:
    """Shards in `folder` with the photo that `change` gives for each row and its photo."""
    shards, instances = shards_folder(data, "shapes"), []
    index = read_index(shards)
    for shard in index.shards:
        with open_shard(shards, shard) as stream:
            for sample in read_samples(stream, shard.file):
                file = f"{sample.row}.jpg"
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(change(sample.row, sample.image))
                instances.append(Instance(row=sample.row, label=sample.label, class_name="any", file=file))
    return write_shards(
        instances, folder, folder / "shards", benchmark="shapes", total=index.total, source=index.source
    )


def test_no_pixel_of_a_test_row_can_change_the_weights(
    tiny_shapes: Path, weights: Path, made: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    index = spoil_test_rows(tiny_shapes, tmp_path)
    job = make_job(tiny_shapes, weights, tmp_path / "shards")
    manifest = run_finetuning(job, index, tmp_path / "run", accelerator)
    assert (tmp_path / "run" / WEIGHTS_FILE).read_bytes() == (made / WEIGHTS_FILE).read_bytes()
    trainval = shard_splits("shapes", tiny_shapes, job.shards, index).trainval_loc
    one_based = np.sort(trainval) + 1
    expected = hashlib.md5(one_based.tobytes()).hexdigest()[:6]
    assert manifest.weights.facts.trainval == manifest.rows_decoded == Rows(count=len(trainval), hash=expected)


def test_training_changes_the_encoder_but_neither_the_stem_nor_a_stored_statistic(made: Path, weights: Path) -> None:
    before, after = load_file(weights), load_file(made / WEIGHTS_FILE)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any("running" in name or name.startswith(("conv1", "bn1", "fc")) for name in changed)


def test_the_verdict_comes_from_weights_that_never_saw_the_validation_classes(made: Path, tiny_shapes: Path) -> None:
    fold, whole = (json.loads((made / part / "manifest.json").read_text()) for part in ("fold-1", "."))
    verdict = json.loads((made / "verdict.json").read_text())
    listed = (tiny_shapes / "shapes" / "splits" / "valclasses1.txt").read_text().split("\n")
    assert not set(fold["classes"]) & set(listed)
    assert set(whole["classes"]) & set(listed)
    assert fold["trainval"]["count"] < whole["trainval"]["count"]
    assert whole["verdict"] == verdict
    assert verdict["verdict"] == ("keep" if verdict["gain"] > verdict["margin"] else "roll back")
    assert verdict["gain"] == verdict["after"]["harmonic"] - verdict["before"]["harmonic"]
    assert len(whole["curve"]) == whole["epochs"] == verdict["epochs"]


@pytest.mark.parametrize(("harmonic", "expected"), [(0.61, "keep"), (0.604, "roll back"), (0.5, "roll back")])
def test_a_gain_within_the_margin_is_rolled_back(harmonic: float, expected: str) -> None:
    scores = FoldScores(acc_zsl=0.6, harmonic=0.6, gamma=1.0)
    after = {0.5: replace(scores, harmonic=harmonic), 1.0: replace(scores, harmonic=0.4)}
    decision = decide(scores, after, margin=0.005)
    assert (decision.verdict, decision.share) == (expected, 0.5)


def test_the_default_judge_sees_which_features_tell_unseen_classes_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    config = override(DCRGAN, {"classifiers.fit": "discriminant"})  # without a closed-form start of G
    monkeypatch.setattr(verdict_module, "find_recipe", lambda benchmark, form: Recipe(config=config))
    table, splits = toy_table()
    images = TrainImages(rows=table.rows, labels=table.labels, photo_hashes=(), sizes=())
    telling = torch.from_numpy(table.features)
    noise = torch.randn(telling.shape, generator=torch.Generator().manual_seed(0))

    def judge(features: torch.Tensor) -> FoldScores:
        seeds = Finetuning.judge_seeds
        return judge_features([features], images, [splits], benchmark="toy", judge=Finetuning.judge, seeds=seeds)

    assert Finetuning.judge == "dcrgan+"
    assert judge(telling).acc_zsl > 0.8
    assert judge(telling).harmonic > judge(noise).harmonic + 0.3
    monkeypatch.setattr(verdict_module, "find_method", lambda _, config: find_method("dcrgan", config))
    assert judge(telling).acc_zsl < 0.7  # G from scratch: so that this test can fail


def test_a_fold_judges_once(tiny_shapes: Path, weights: Path) -> None:
    with pytest.raises(ValueError, match="--folds 1 1: name each once"):
        make_job(tiny_shapes, weights, folds=(1, 1))


def test_shards_that_do_not_say_what_they_are_made_from_are_tuned_on(tiny_shapes: Path) -> None:
    shards = shards_folder(tiny_shapes, "shapes")
    index = replace(read_index(shards), source={"split_hashes": ["a", "b", "c"]})
    job = Finetuning(benchmark="shapes", backbone=MODEL, shards=shards, config=CONFIG)
    splits, backbone = cast(Splits, Mock(verdict="of a test")), Mock(weights_sha256="0")
    facts = command_module._facts(job, index, splits, backbone, "no", 0)
    assert facts.data == "unknown"
    assert facts.split_hashes == ("a", "b", "c")


def test_a_finished_run_is_that_of_its_options_and_keeps_no_checkpoint(
    made: Path, tiny_shapes: Path, weights: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    folder = shutil.copytree(made, tmp_path / "run")
    of_an_earlier_version = folder / "fold-1" / "checkpoint.pt"
    left_by_a_kill = [folder / CHECKPOINT_FILE, folder / "fold-1" / CHECKPOINT_FILE, of_an_earlier_version]
    of_another_run = folder / "another" / CHECKPOINT_FILE  # --name run/another
    of_another_run.parent.mkdir()
    for path in (*left_by_a_kill, of_another_run):
        path.write_bytes(b"")
    index = read_index(shards_folder(tiny_shapes, "shapes"))
    again = run_finetuning(make_job(tiny_shapes, weights), index, folder, accelerator)
    assert again.content() == json.loads((made / "manifest.json").read_text())
    assert not any(path.exists() for path in left_by_a_kill)
    assert of_another_run.exists()
    with pytest.raises(ValueError, match=r"other margin \(margin: 0.005 there, 0.1 now\)"):
        run_finetuning(make_job(tiny_shapes, weights, margin=0.1), index, folder, accelerator)


@pytest.mark.parametrize("deleted", [WEIGHTS_FILE, f"fold-1/{WEIGHTS_FILE}"])
def test_a_finished_run_whose_weights_were_deleted_makes_them_again(
    deleted: str, made: Path, tiny_shapes: Path, weights: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    folder = shutil.copytree(made, tmp_path / "run")
    (folder / deleted).unlink()
    index = read_index(shards_folder(tiny_shapes, "shapes"))
    run_finetuning(make_job(tiny_shapes, weights), index, folder, accelerator)
    for name in (WEIGHTS_FILE, f"fold-1/{WEIGHTS_FILE}"):
        assert (folder / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (f"{MODEL}+test_vit", "joined backbones are tuned one by one"),
        (f"{MODEL}-48px", rf"give --backbone {MODEL}, and the input size by --config\.image-size"),
        (f"{MODEL}-flip", f"has options of extraction; give --backbone {MODEL}, "),
        ("openclip_ViT-B-32.openai", "models of open_clip are not fine-tuned here"),
    ],
)
def test_a_backbone_that_cannot_be_tuned_as_it_is_named_is_refused_with_what_can(
    backbone: str, message: str, tiny_shapes: Path, weights: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    job, index = make_job(tiny_shapes, weights, backbone=backbone), read_index(shards_folder(tiny_shapes, "shapes"))
    with pytest.raises(ValueError, match=message):
        run_finetuning(job, index, tmp_path / "run", accelerator)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "batch_size", "message"),
    [
        ({"folds": ()}, 37, "36 training images of all seen classes are less than one batch of 37"),
        (
            {"folds": (), "crossfit": 3, "hold_out": 0.99},
            8,
            "6 training images of all seen classes are less than one",
        ),
        ({"folds": (1,)}, 30, "training images of validation fold 1 are less than one batch of 30"),
        ({"folds": (), "crossfit": 3}, 30, "training images of class fold 1 are less than one batch of 30"),
    ],
)
def test_photos_that_fill_no_batch_are_refused_before_anything_is_written(
    changes: dict[str, Any], batch_size: int, message: str, tiny_shapes: Path, weights: Path,
    accelerator: Accelerator, tmp_path: Path,
) -> None:  # fmt: skip
    job = make_job(tiny_shapes, weights, config=replace(CONFIG, batch_size=batch_size), **changes)
    with pytest.raises(ValueError, match=message):
        run_finetuning(job, read_index(shards_folder(tiny_shapes, "shapes")), tmp_path / "run", accelerator)
    assert not (tmp_path / "run").exists()


def test_the_verdict_says_what_its_classes_chose(made: Path) -> None:
    verdict = json.loads((made / "verdict.json").read_text())
    assert verdict["validation_classes"] == {"1": 2}
    text = read_verdict(made / "verdict.json").text()
    for told in ("the 2 validation classes", "chosen the share", "γ", "number of epochs on held-out photos"):
        assert told in text


def test_weights_name_their_fine_tuning_and_bring_their_input_size(made: Path, weights: Path) -> None:
    backbone = load_backbone(MODEL, made / WEIGHTS_FILE)
    assert backbone.pretraining.endswith("fine-tuned on shapes trainval")
    assert backbone.transform.size == (32, 32)
    assert "-32px" in backbone.name
    of_fold = load_backbone(MODEL, made / "fold-1" / WEIGHTS_FILE)
    assert "FOLD 1 of trainval" in of_fold.pretraining
    assert load_backbone(MODEL, weights).finetuned is None
    with pytest.raises(ValueError, match="fine-tuned test_resnet, asked for is test_vit"):
        load_backbone("test_vit", made / WEIGHTS_FILE)


def test_a_fold_refuses_features_of_a_backbone_that_knows_its_classes(made: Path, tiny_features: Path) -> None:
    data = tiny_features.parents[2]
    backbones = {name: load_backbone(MODEL, made / name / WEIGHTS_FILE) for name in (".", "fold-1")}
    index = read_index(shards_folder(data, "shapes"))
    labels = np.load(tiny_features / "labels.npy")

    def fold_of(name: str, fold: int, without: tuple[str, ...] = ()) -> Any:
        facts = backbones[name].finetuned
        assert facts is not None
        tuned = {key: value for key, value in facts.content().items() if key not in without}
        rows = np.load(tiny_features / "rows.npy")
        manifest = Manifest.in_memory(
            "shapes", source=Source.read(index.source, "index"), finetuned=TunedFacts.read(tuned, "m"),
            count=len(rows), dim=1,
        )  # fmt: skip
        table = FeatureTable(features=np.zeros((len(rows), 1), np.float32), labels=labels, rows=rows, manifest=manifest)
        return load_splits("shapes", data, table, fold=fold)

    for without in ((), ("classes", "split_hashes", "started_from")):  # the second: as in tables of earlier versions
        assert fold_of("fold-1", 1, without).verdict.startswith("validation fold 1")
        for name, fold in ((".", 1), ("fold-1", 2)):
            with pytest.raises(ValueError, match=f"validation classes of fold {fold}"):
                fold_of(name, fold, without)


def test_an_interrupted_epoch_goes_on_to_the_same_weights(
    tuning: TuningData, weights: Path, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tune(folder: str, **changes: Any) -> dict[str, torch.Tensor]:
        config = replace(CONFIG, **changes)
        made = finetune(
            model_of(weights), tuning, INPUT, config, accelerator, tmp_path / folder, key=repr(config),
            checkpoint_seconds=0,
        )  # fmt: skip
        return made.state

    whole = tune("whole")
    advance = Training.advance

    def stop_in_the_middle(self: Training) -> None:
        if self.progress.step == self.batches.steps_an_epoch + 1:
            raise KeyboardInterrupt
        advance(self)

    monkeypatch.setattr(Training, "advance", stop_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        tune("cut")
    monkeypatch.undo()
    resumed = tune("cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(ValueError, match="another configuration, other shards"):
        tune("cut", lr=1e-3)


class Remembering:
    """A tracker of Accelerate that remembers what it gets."""

    name = "remembering"

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))


def test_a_tracker_gets_each_update_and_epoch_once_those_before_a_kill_too(
    tuning: TuningData, weights: Path, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tune(remembering: Remembering) -> TunedEncoder:
        return finetune(
            model_of(weights), tuning, INPUT, CONFIG, accelerator, tmp_path, key="k", checkpoint_seconds=0,
            tracker=Tracker(cast(Any, remembering)),
        )  # fmt: skip

    monkeypatch.setattr(Progress, "note_epoch", Mock(side_effect=KeyboardInterrupt))  # at the end of the first epoch
    with pytest.raises(KeyboardInterrupt):
        tune(cut := Remembering())
    monkeypatch.undo()
    progress = tune(resumed := Remembering()).progress
    updates = [(step, {"updates/loss": loss}) for step, loss in enumerate(progress.losses)]
    epochs = [
        (number, {f"epochs/{name}": score for name, score in scores.items()})
        for number, scores in enumerate(progress.epochs, 1)
    ]
    assert cut.logged == updates[: len(cut.logged)] != []
    assert sorted(map(repr, resumed.logged)) == sorted(map(repr, updates + epochs))


def script(data: Path, runs: Path, weights: Path, name: str, *more: str) -> list[str]:
    words = [SCRIPT, "--backbone", MODEL, "--weights", weights, "--data", data, "--runs", runs, "--name", name]
    return [*map(str, words), *FLAGS, *more]


def start(words: list[str]) -> subprocess.Popen:
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    one_core = sorted(os.sched_getaffinity(0))[:1]  # sums of fp32 depend on the number of threads
    return subprocess.Popen(
        [sys.executable, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, one_core),
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="cores are chosen as Linux does it")
def test_weights_made_through_a_kill_are_those_of_an_undisturbed_run(
    tiny_shapes: Path, weights: Path, made: Path, tmp_path: Path
) -> None:
    words = script(tiny_shapes, tmp_path, weights, "run", "--judge", "eszsl", "--checkpoint-seconds", "0", *FOLD_1)
    process = start(words)
    checkpoint = tmp_path / "run" / "fold-1" / CHECKPOINT_FILE
    while not checkpoint.is_file() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    again = start(words)
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert (tmp_path / "run" / WEIGHTS_FILE).read_bytes() == (made / WEIGHTS_FILE).read_bytes()


# Without clipping and AdamW, whose steps would not tell if every gradient were twice as large.
SGD = replace(CONFIG, optimizer="momentum", lr=0.1, clip=0.0, epochs=3, weight_decay=0.0, ema=0.0)
SGD_FLAGS = ["--config.optimizer", "momentum", "--config.lr", "0.1", "--config.clip", "0", "--config.epochs", "3"]
SGD_FLAGS += ["--config.weight-decay", "0", "--config.ema", "0"]


def test_two_ranks_have_the_loss_curve_of_one_process_with_accumulation_2(
    tiny_shapes: Path, weights: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = start([*launcher, *script(tiny_shapes, tmp_path, weights, "ranks", "--skip-verdict", *SGD_FLAGS)])
    job = make_job(tiny_shapes, weights, folds=(), config=replace(SGD, accumulation=2))
    alone = run_finetuning(job, read_index(shards_folder(tiny_shapes, "shapes")), tmp_path / "alone", accelerator)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    ranks = read_manifest(tmp_path / "ranks" / "manifest.json")
    assert (ranks.processes, alone.processes) == (2, 1)
    assert ranks.rows_decoded.count // 8 * 3 == len(ranks.losses) == len(alone.losses) >= 12
    np.testing.assert_allclose(ranks.losses, alone.losses, rtol=1e-4)
    before, first, second = (load_file(path) for path in (weights, *sorted(tmp_path.glob("*/weights.safetensors"))))
    assert len(moved(before, first)) > 5
    for name in moved(before, first):
        assert (first[name] - second[name]).norm() < 1e-3 * (first[name] - before[name]).norm(), name


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in after if not torch.equal(before[name], after[name])]


def test_accumulated_parts_of_a_batch_step_as_the_whole_batch(
    tuning: TuningData, weights: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    states = []
    for parts in (1, 4):
        config = replace(SGD, accumulation=parts, probe_steps=0)
        made = finetune(
            model_of(weights), tuning, INPUT, config, accelerator, tmp_path / str(parts), key="", epochs=1
        )  # fmt: skip
        states.append(made.state)
    before = model_of(weights).state_dict()
    for name in moved(before, states[0]):
        assert (states[0][name] - states[1][name]).norm() < 1e-3 * (states[0][name] - before[name]).norm(), name


def test_the_first_step_is_that_of_the_mean_gradient_over_the_batch(
    tuning: TuningData, weights: Path, accelerator: Accelerator
) -> None:
    config = replace(SGD, warmup=0.0, batch_size=24, probe_steps=0, label_smoothing=0.0, frozen_stages=0)
    config = replace(config, layer_decay=1.0)
    run = Training.of(model_of(weights), tuning, INPUT, config, accelerator, hold_out=False)
    before = copy.deepcopy(run.learner.tuner)
    images, targets = run.batches.part(0, 0, accelerator.device)
    run.advance()
    before.train()
    logits = before.head(before.encoder(images))
    expected = -(targets * logits.log_softmax(1)).sum() / 24
    expected.backward()
    assert run.progress.losses == pytest.approx([expected.item()], rel=1e-5)
    for (name, was), now in zip(before.encoder.named_parameters(), run.learner.tuner.encoder.parameters(), strict=True):
        torch.testing.assert_close(now, was - 0.1 * was.grad, msg=name, rtol=1e-4, atol=1e-6)


def test_a_view_depends_on_the_row_and_the_epoch_and_not_on_its_neighbours() -> None:
    photos = torch.randint(0, 256, (5, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([7, 3, 99, 12, 0])
    config = AugmentConfig(randaugment="rand-m9-n2", erase=1.0)
    together = augment(photos, rows, (32, 32), config, seed=1, epoch=4)
    assert together.shape == (5, 3, 32, 32)
    order = [4, 2, 0]
    assert torch.equal(augment(photos[order], rows[order], (32, 32), config, seed=1, epoch=4), together[order])
    for other in ({"seed": 1, "epoch": 5}, {"seed": 2, "epoch": 4}):
        assert not torch.equal(augment(photos, rows, (32, 32), config, **other), together)


def test_without_crop_and_flip_a_view_is_the_photo() -> None:
    photos = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    config = AugmentConfig(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    assert torch.equal(augment(photos, torch.tensor([1, 2]), (32, 32), config, seed=0, epoch=0), photos)


def test_mixup_mixes_targets_as_it_mixes_images() -> None:
    images = torch.eye(4)[:, :3, None, None].expand(4, 3, 8, 8).contiguous()
    mixed, targets = mix(images, torch.arange(4), 4, AugmentConfig(mixup=1.0), seed=(0, 1))
    assert not torch.equal(mixed, images)
    assert torch.allclose(targets[:, :3], mixed.mean((2, 3)), atol=1e-6)
    assert torch.allclose(targets.sum(1), torch.ones(4))


def test_attribute_logits_are_scaled_cosines_with_centred_attributes() -> None:
    attributes = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    config = FinetuneConfig(head="attributes", scale=12.0, frozen_stages=0)
    tuner = Finetuner(timm.create_model(MODEL, pretrained=False, num_classes=0), 16, attributes, config)
    features = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    logits = tuner.logits(features)
    predicted = features @ tuner.head.weight.T + tuner.head.bias
    for image in range(3):
        for label in range(5):
            expected = 12 * cosine_similarity(predicted[image], attributes[label] - attributes.mean(0), dim=0)
            assert logits[image, label].item() == pytest.approx(expected.item(), abs=1e-4)


def test_step_sizes_fall_from_layer_to_layer_and_the_head_has_its_own() -> None:
    config = FinetuneConfig(frozen_stages=0, lr=1e-3, lr_head=5e-3, layer_decay=0.5)
    tuner = Finetuner(timm.create_model(MODEL, pretrained=False, num_classes=0), 128, torch.rand(4, 6), config)
    scale = {p: group["lr_scale"] for group in make_optimizer(tuner, config).param_groups for p in group["params"]}
    named = dict(tuner.named_parameters())
    assert len(scale) == len(named)
    assert scale[named["head.weight"]] == pytest.approx(5)
    first, last = named["encoder.conv1.0.weight"], named["encoder.layer4.0.conv1.weight"]
    assert scale[first] < scale[last] <= 1


def test_inductive_no_attribute_of_an_unseen_class_is_there(tiny_shapes: Path, images: TrainImages) -> None:
    shards = shards_folder(tiny_shapes, "shapes")
    splits = shard_splits("shapes", tiny_shapes, shards, read_index(shards))
    changed = splits.attributes.copy()
    changed[splits.unseen] = np.nan
    data = TuningData.of(images, replace(splits, attributes=changed))
    assert torch.equal(data.attributes, torch.from_numpy(splits.attributes[splits.seen]))
    with pytest.raises(ValueError, match="no trainval row"):
        images.position(splits.test_seen_loc)


def test_the_held_out_share_has_every_class_and_no_training_image(tuning: TuningData) -> None:
    train, held = tuning.hold_out(0.2, seed=3)
    assert sorted(torch.cat([train, held]).tolist()) == list(range(len(tuning.rows)))
    assert tuning.labels[held].unique().tolist() == tuning.labels.unique().tolist()
    assert tuning.labels[train].unique().tolist() == tuning.labels.unique().tolist()


def test_photos_beyond_the_memory_bound_are_the_same_photos(tiny_shapes: Path, images: TrainImages) -> None:
    shards = shards_folder(tiny_shapes, "shapes")
    index = read_index(shards)
    splits = shard_splits("shapes", tiny_shapes, shards, index)
    on_disk = load_train_images(shards, index, splits, (PIXELS, INPUT), memory=0)
    assert all(torch.equal(a, b) for a, b in zip(on_disk.sizes, images.sizes, strict=True))


def test_averaging_weights_goes_from_the_old_to_the_new() -> None:
    old, new = {"w": torch.zeros(3), "n": torch.tensor(4)}, {"w": torch.ones(3), "n": torch.tensor(9)}
    assert average(old, new, 0.25)["w"].tolist() == [0.25] * 3
    assert average(old, new, 0.25)["n"] == 4
    assert torch.equal(average(old, new, 1.0)["w"], new["w"])


def test_a_study_of_fine_tuned_weights_chooses_where_their_fold_s_weights_know_no_class(
    made: Path, tiny_shapes: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    study = study_of_weights(f"{MODEL}@{made / WEIGHTS_FILE}", tiny_shapes, tmp_path)
    (row,), failures = run_study(study, accelerator)
    assert not failures
    results = read_json(study.folder / row.backbone / "eszsl" / "results.json")
    assert results["selection"]["folds"].keys() == {"1"}
    tables = {path.parent.name for path in tmp_path.glob("shapes/features/*/manifest.json")}
    assert row.backbone in tables
    assert len(tables) == 2  # the other one is of the weights of fold 1
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in (WEIGHTS_FILE, "manifest.json"):
        shutil.copyfile(made / file, alone / file)
    _, failures = run_study(replace(study, entries=names_of([f"{MODEL}@{alone / WEIGHTS_FILE}"])), accelerator)
    assert [("--skip-verdict" in message) for message in failures.values()] == [True]


# --- weights that know photos or classes already ---------------------------------------------------------------------


def rename_benchmark(tiny_shapes: Path, data: Path) -> ShardIndex:
    """The photos of `shapes` as the benchmark `mine`, whose test_seen rows are rows that were trainval."""
    index = pack(tiny_shapes, data / "mine" / "shards")
    raw = loadmat(tiny_shapes / "shapes" / "splits" / "att_splits.mat")
    splits = {name: value for name, value in raw.items() if not name.startswith("__")}
    trainval, seen = splits["trainval_loc"], splits["test_seen_loc"]
    moved = trainval[: len(seen)]
    splits["test_seen_loc"] = np.sort(moved, axis=0)
    splits["trainval_loc"] = np.sort(np.concatenate([trainval[len(seen) :], seen]), axis=0)
    shutil.copytree(tiny_shapes / "shapes" / "splits", data / "mine" / "splits")
    savemat(data / "mine" / "splits" / "att_splits.mat", splits)
    hashes = read_split_file(data / "mine" / "splits").hashes
    index = replace(index, benchmark="mine", source={"verdict": "mine", "split_hashes": list(hashes), "missing": 0})
    (data / "mine" / "shards" / "index.json").write_text(index.to_json())
    return index


def test_photos_that_weights_were_tuned_on_are_no_test_photos_under_another_name(
    made: Path, tiny_shapes: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    index = rename_benchmark(tiny_shapes, tmp_path)
    shards = tmp_path / "mine" / "shards"
    trainval = load_split_rows(tiny_shapes / "shapes" / "splits")["trainval_loc"]
    test_seen = load_split_rows(tmp_path / "mine" / "splits")["test_seen_loc"]
    assert set(test_seen) < set(trainval)
    backbone = load_backbone(MODEL, made / WEIGHTS_FILE)
    out = tmp_path / backbone.name
    manifest = extract_features(backbone, shards, index, out, accelerator)
    assert manifest.tuned_photos == len(trainval)
    table = read_features(out)
    assert table.tuned_rows is not None
    assert table.tuned_rows.tolist() == sorted(trainval)
    message = rf"fine-tuned on {len(test_seen)} photos that are test photos here \(row {min(test_seen)} is the first"
    with pytest.raises(ValueError, match=message):
        load_splits("mine", tmp_path, table)
    with pytest.raises(ValueError, match=message):  # a start for further fine-tuning is a use too
        load_splits("mine", tmp_path, read_rows(shards, index, backbone)[0])
    np.save(out / "tuned_rows.npy", np.setdiff1d(trainval, test_seen))
    with pytest.raises(ValueError, match=r"tuned_rows\.npy: not as the manifest describes .* make the table anew"):
        read_features(out)
    alone = tmp_path / "renamed.safetensors"  # the hashes of its photos lie in the file, what they are for does not
    shutil.copyfile(made / WEIGHTS_FILE, alone)
    with pytest.raises(ValueError, match=rf"fine-tuned on {len(trainval)} photos, but .* does not describe a file"):
        load_backbone(MODEL, alone)


def test_a_trainval_photo_with_a_copy_among_the_test_photos_is_not_tuned_on(
    tiny_shapes: Path, weights: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    rows = load_split_rows(tiny_shapes / "shapes" / "splits")
    (original, *others), photos = rows["trainval_loc"], dict[int, bytes]()
    change_photos(tiny_shapes, tmp_path / "same", lambda row, photo: photos.setdefault(row, photo))
    copy = rows["test_seen_loc"][0]
    index = change_photos(tiny_shapes, tmp_path, lambda row, photo: photos[original] if row == copy else photo)
    job = make_job(tiny_shapes, weights, tmp_path / "shards", folds=())
    run_finetuning(job, index, tmp_path / "run", accelerator)
    _, hashes = read_rows(job.shards, index)
    assert hashes[copy] == hashes[original]
    assert read_tuned_photos(tmp_path / "run" / WEIGHTS_FILE) == {hashes[row] for row in others}


def load_split_rows(folder: Path) -> dict[str, list[int]]:
    """Official rows by part, as the .mat says them, which counts from 1."""
    content = loadmat(folder / "att_splits.mat")
    return {name: (content[name].ravel() - 1).tolist() for name in ("trainval_loc", "test_seen_loc")}


def test_tuned_weights_are_a_start_only_where_they_know_no_class_that_is_to_judge(
    made: Path, tiny_shapes: Path, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = read_index(shards_folder(tiny_shapes, "shapes"))

    def tune(part: str, folds: tuple[int, ...]) -> dict[str, Any]:
        job = make_job(tiny_shapes, made / part / WEIGHTS_FILE, folds=folds)
        return run_finetuning(job, index, tmp_path / f"{part}{folds}", accelerator).content()

    with monkeypatch.context() as patch:
        patch.setattr(command_module, "load_train_images", None)  # a call would be an error: refused before decoding
        for part, folds, refused in ((".", (1,), 1), ("fold-1", (1, 2), 2)):
            with pytest.raises(ValueError, match=f"validation classes of fold {refused}"):
                tune(part, folds)
    twice = tune("fold-1", (1,))
    assert twice["started_from"]["classes"] == json.loads((made / "fold-1" / "manifest.json").read_text())["classes"]
    assert twice["verdict"]["folds"] == [1]
    blind = tune(".", ())
    assert blind["pretraining"].endswith("fine-tuned on shapes trainval, fine-tuned on shapes trainval")
    assert (blind["image_size"], blind["started_from"]["fold"]) == (32, None)


def tuned(benchmark: str, fold: int | None, classes: str, before: TunedFacts | None = None) -> TunedFacts:
    return TunedFacts(
        benchmark=benchmark, fold=fold, trainval=Rows(count=9, hash="000000"), split_hashes=("a", "b", "c"),
        classes=tuple(classes.split()), started_from=before,
    )  # fmt: skip


def test_what_an_earlier_fine_tuning_was_taught_is_not_forgotten() -> None:
    first = tuned("birds", 2, "001.Black_Swan 002.Grey_Heron")
    record = tuned("birds", 1, "Raven", first)
    assert tuned_on(record, ["Black Swan", "Magpie", "raven"]) == ["Black Swan", "raven"]
    check_tuned_fold(record, "birds", 1, ["Magpie"])
    with pytest.raises(ValueError, match="fold 2 of birds, so that they know 1 of 2 validation classes of fold 1"):
        check_tuned_fold(record, "birds", 1, ["Magpie", "Grey_Heron"])


def test_rows_of_other_splits_of_the_same_benchmark_may_be_test_rows() -> None:
    record = tuned("animals", None, "Dog", tuned("birds", None, "Raven"))
    check_tuned_rows(record, "birds", ("a", "b", "c"), "000000")
    check_tuned_rows(record, "flowers", ("d", "e", "f"), "111111")
    with pytest.raises(ValueError, match="fine-tuned on birds with splits a/b/c, these are d/b/c"):
        check_tuned_rows(record, "birds", ("d", "b", "c"), "000000")
    earlier = replace(tuned("birds", None, ""), split_hashes=None)
    with pytest.raises(ValueError, match="with splits 000000, these are 111111"):
        check_tuned_rows(earlier, "birds", ("a", "b", "c"), "111111")


def test_a_class_of_another_benchmark_s_fine_tuning_was_probably_seen(tiny_features: Path, tiny_shapes: Path) -> None:
    table = read_features(tiny_features)
    splits = load_splits("shapes", tiny_shapes, table)
    name = splits.class_names[splits.unseen[0]]
    for classes, flag in ((name.upper(), "probably seen"), ("Dog", "clean")):
        pretraining, facts = "ImageNet-1k, then more", tuned("own", None, classes)
        manifest = replace(table.manifest, pretraining=pretraining, finetuned=facts)
        assert describe_data(replace(table, manifest=manifest), splits).unseen_classes == flag


# --- a transformer, whose weights depend on the input size -----------------------------------------------------------


@pytest.fixture(scope="module")
def resized(
    tiny_shapes: Path, tiny_weights: Path, accelerator: Accelerator, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Weights of `test_vit`, whose own size is 160², fine-tuned at 64²: 16 position embeddings instead of 100."""
    folder = tmp_path_factory.mktemp("runs") / "resized"
    config = replace(CONFIG, image_size=64, frozen_stages=1, wise=(0.5, 1.0))
    job = make_job(tiny_shapes, tiny_weights, backbone="test_vit", config=config)
    run_finetuning(job, read_index(shards_folder(tiny_shapes, "shapes")), folder, accelerator)
    return folder / WEIGHTS_FILE


def test_a_transformer_is_tuned_and_loaded_at_another_input_size(resized: Path, tiny_weights: Path) -> None:
    assert load_file(resized)["pos_embed"].shape == (1, 1 + 4 * 4, 64)
    backbone = load_backbone("test_vit", resized)
    assert backbone.transform.size == (64, 64)
    assert backbone.name.endswith("-64px")
    at_another = load_backbone("test_vit", resized, EncodeOptions(image_size=96))
    assert at_another.encoder.pos_embed.shape == (1, 1 + 6 * 6, 64)
    assert load_backbone("test_vit", tiny_weights).encoder.pos_embed.shape == (1, 1 + 10 * 10, 64)


def test_tuned_weights_go_through_extraction_training_prediction_and_export(
    resized: Path, tiny_shapes: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    backbone = load_backbone("test_vit", resized)
    shards = shards_folder(tiny_shapes, "shapes")
    features = tmp_path / "features"
    extract_features(backbone, shards, read_index(shards), features, accelerator, ExtractSettings(batch_size=16))
    table = read_features(features)
    splits = load_splits("shapes", tiny_shapes, table)
    train, test = split_features(table, splits)
    data = Experiment(table=table, splits=splits, train=train, test=test, seeds=(0,), accelerator=accelerator)
    data.honest(find_method("dcrgan", DCRGAN), DCRGAN, tmp_path / "run", trainer=Trainer())

    run = load_predictor(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match=r"weights of your own .*; name the file by --weights"):
        open_backbones(run, tmp_path / "run")
    export(run, tmp_path / "export", tmp_path / "run", [resized])
    resized_images = torch.stack([backbone.transform(torch.zeros(3, 80, 70, dtype=torch.uint8))])
    expected = backbone.encode(resized_images)
    exported = load_predictor(tmp_path / "export")
    of_run, of_export = open_backbones(run, tmp_path / "run", [resized]), open_backbones(exported, tmp_path / "export")
    for opened in (*of_run, *of_export):
        assert opened.finetuned == backbone.finetuned
        assert torch.equal(opened.encode(resized_images), expected)
    export(exported, tmp_path / "again", tmp_path / "export")
    (again,) = open_backbones(load_predictor(tmp_path / "again"), tmp_path / "again")
    assert again.finetuned == backbone.finetuned
