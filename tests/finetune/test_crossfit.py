"""Cross-fitting by classes: what a fold's weights know, kills, several processes, and what is concluded."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from toy import toy_table
from tuned_study import study_of_weights

from backbones.finetune_config import FinetuneConfig
from backbones.tuned import TunedFacts, read_tuned_photos
from shards import ShardIndex, open_shard, read_index, read_samples
from zsl.common.files import read_json, write_json
from zsl.common.long_work import PROGRESS_FILE
from zsl.common.records import write_record
from zsl.datasets.folds import calibration_folds
from zsl.datasets.places import shards_folder
from zsl.datasets.splits import Splits
from zsl.experiments import study_features
from zsl.experiments.study import run_study
from zsl.experiments.study_features import crossfit_tables, find_or_extract
from zsl.experiments.study_plan import names_of
from zsl.features.class_folds import check_all_folds, class_fold_parts, class_fold_weights
from zsl.features.join import join_tables
from zsl.features.load import load_splits
from zsl.features.table import FeatureTable
from zsl.finetune import crossfit
from zsl.finetune.answers import Answers, judged_halves, load_answers
from zsl.finetune.command import Finetuning, run_finetuning
from zsl.finetune.crossfit import FoldsPending, class_folds
from zsl.finetune.crossfit_verdict import CROSSFIT_FILE, SAME, TUNE, WORSE, best_share, conclude, read_crossfit
from zsl.finetune.data import without_copies
from zsl.finetune.images import read_rows
from zsl.finetune.manifest import WEIGHTS_FILE, read_manifest
from zsl.finetune.train import CHECKPOINT_FILE, Training, TunedEncoder
from zsl.finetune.tuning import Tuning
from zsl.scores.details import Details
from zsl.scores.folds import score_folds
from zsl.scores.units import UNITS

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "finetune.py"
MODEL = "test_resnet"
CONFIG = FinetuneConfig(image_size=32, epochs=2, batch_size=4, probe_steps=3, wise=(0.5, 1.0))
FOLDS = 3


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resnet") / "resnet.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model(MODEL, pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def index(tiny_shapes: Path) -> ShardIndex:
    return read_index(shards_folder(tiny_shapes, "shapes"))


@pytest.fixture(scope="module")
def job(tiny_shapes: Path, weights: Path) -> Finetuning:
    return Finetuning(
        benchmark="shapes", backbone=MODEL, weights=weights, data=tiny_shapes, config=CONFIG, judge="eszsl",
        shards=shards_folder(tiny_shapes, "shapes"), crossfit=FOLDS, hold_out=0.2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(
    job: Finetuning, index: ShardIndex, accelerator: Accelerator, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    run_finetuning(job, index, folder, accelerator)
    return folder


@pytest.fixture(scope="module")
def table(job: Finetuning, index: ShardIndex) -> FeatureTable:
    return read_rows(job.shards, index)[0]


@pytest.fixture(scope="module")
def splits(job: Finetuning, table: FeatureTable) -> Splits:
    return load_splits("shapes", job.data, table)


def photos_by_row(job: Finetuning, index: ShardIndex) -> dict[int, str]:
    hashes: dict[int, str] = {}
    for shard in index.shards:
        with open_shard(job.shards, shard) as stream:
            hashes |= {sample.row: sample.photo_hash for sample in read_samples(stream, shard.file)}
    return hashes


def test_a_fold_s_weights_know_no_class_and_no_photo_that_judges(
    made: Path, job: Finetuning, index: ShardIndex, table: FeatureTable, splits: Splits
) -> None:
    hashes = photos_by_row(job, index)
    left_out = []
    for number, fold in calibration_folds(splits, table.rows, table.labels, count=FOLDS).items():
        manifest = read_manifest(made / f"crossfit-{number}" / "manifest.json")
        assert set(manifest.weights.facts.classes or ()) == {splits.class_names[label] for label in fold.seen}
        known = read_tuned_photos(made / f"crossfit-{number}" / WEIGHTS_FILE)
        assert known == {hashes[row] for row in fold.trainval_loc.tolist()}
        judges = [*fold.test_seen_loc.tolist(), *fold.test_unseen_loc.tolist()]
        assert len(judges) > 10
        assert not known & {hashes[row] for row in judges}
        assert set(judges) < set(splits.trainval_loc.tolist())
        left_out += fold.unseen.tolist()
    assert sorted(left_out) == splits.seen.tolist()


def test_all_tunings_take_as_many_passes_over_their_photos_and_stop_at_no_score(made: Path) -> None:
    for part in ("crossfit-1", "crossfit-2", "crossfit-3", "."):
        manifest = read_manifest(made / part / "manifest.json")
        assert len(manifest.losses) == CONFIG.epochs * (manifest.weights.facts.trainval.count // CONFIG.batch_size)
        assert all(epoch.keys() == {"loss"} for epoch in manifest.curve)


def test_final_weights_leave_a_share_of_each_class_s_photos_out(
    made: Path, job: Finetuning, index: ShardIndex, table: FeatureTable, splits: Splits
) -> None:
    hashes, known = photos_by_row(job, index), read_tuned_photos(made / WEIGHTS_FILE)
    labels = dict(zip(table.rows.tolist(), table.labels.tolist(), strict=True))
    left_out = [row for row in splits.trainval_loc.tolist() if hashes[row] not in known]
    assert {labels[row] for row in left_out} == set(splits.seen.tolist())
    assert len(left_out) + len(known) == len(splits.trainval_loc)


def test_the_verdict_and_the_gamma_follow_the_weights(made: Path) -> None:
    verdict = read_crossfit(made / CROSSFIT_FILE)
    manifest = read_manifest(made / "manifest.json")
    gamma = manifest.weights.facts.gamma
    assert gamma is not None
    assert (gamma.unit, gamma.value, gamma.folds) == (verdict.unit, verdict.value, FOLDS)
    assert manifest.share_of_tuned_weights == verdict.share
    assert {unit.unit for unit in verdict.units} == set(UNITS)
    assert read_manifest(made / "crossfit-1" / "manifest.json").weights.facts.gamma is None
    assert verdict.text().startswith(verdict.verdict)


def files(folder: Path) -> dict[str, bytes]:
    """What a run has made; the manifests tell of speeds, and another file of times, which differ from run to run."""
    timed = ("manifest.json", PROGRESS_FILE)
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in timed]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_run_that_is_interrupted_anywhere_goes_on_to_the_same_bits(
    made: Path, job: Finetuning, index: ShardIndex, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    advance, save, updates = Training.advance, Answers.save, [0]

    def stop_in_the_third_update(self: Training) -> None:
        updates[0] += 1
        if updates[0] == 3:
            raise KeyboardInterrupt
        advance(self)

    def stop_before_answers(self: Answers, path: Path) -> None:
        if path.name == "share-1.safetensors":
            raise KeyboardInterrupt
        save(self, path)

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    always, folder = replace(job, checkpoint_seconds=0), tmp_path / "run"
    all_answers = {f"crossfit-{number}/share-{share}.safetensors" for number in (1, 2, 3) for share in (0, 0.5, 1)}
    kills: tuple[tuple[object, str, object, set[str]], ...] = (
        (Training, "advance", stop_in_the_third_update, set()),  # in the first tuning
        (Answers, "save", stop_before_answers, {f"crossfit-1/share-{share}.safetensors" for share in (0, 0.5)}),
        (
            Training,
            "advance",
            stop,
            {f"crossfit-1/share-{share}.safetensors" for share in (0, 0.5, 1)},
        ),
        (crossfit, "write_record", stop, all_answers),
        (Training, "advance", stop, all_answers | {CROSSFIT_FILE}),  # in the last tuning, of the final weights
    )
    for place, name, kill, left in kills:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, kill)
            with pytest.raises(KeyboardInterrupt):
                run_finetuning(always, index, folder, accelerator)
        assert {name for name in files(folder) if "/share-" in name or name == CROSSFIT_FILE} == left
    run_finetuning(always, index, folder, accelerator)
    assert files(tmp_path / "run") == files(made)
    assert not list(tmp_path.rglob(CHECKPOINT_FILE))


@pytest.mark.parametrize(
    ("deleted", "tuned_again"),
    [
        (f"crossfit-2/{WEIGHTS_FILE}", ["crossfit-2"]),
        ("crossfit-1/manifest.json", ["crossfit-1"]),
        (CROSSFIT_FILE, ["crossfit-1", "crossfit-2", "crossfit-3", "run"]),
    ],
)
def test_a_finished_run_makes_again_what_was_deleted(
    deleted: str, tuned_again: list[str], made: Path, job: Finetuning, index: ShardIndex, accelerator: Accelerator,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder, tune, tuned = shutil.copytree(made, tmp_path / "run"), Tuning.tune, list[str]()

    def noted(self: Tuning, splits: Splits, to: Path, classes: str, **options: Any) -> TunedEncoder:
        tuned.append(to.name)
        return tune(self, splits, to, classes, **options)

    monkeypatch.setattr(Tuning, "tune", noted)
    (folder / deleted).unlink()
    run_finetuning(job, index, folder, accelerator)
    assert files(folder) == files(made)
    assert read_manifest(folder / "crossfit-1" / "manifest.json").weights.facts.fold == 1
    assert tuned == tuned_again
    assert not list(folder.rglob(CHECKPOINT_FILE))


@contextmanager
def held_by_another(folder: Path) -> Iterator[None]:
    """A folder in which another process is at work."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


def test_a_process_takes_the_folds_that_no_other_one_makes(
    made: Path, job: Finetuning, index: ShardIndex, accelerator: Accelerator, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with held_by_another(folder / "crossfit-1"), pytest.raises(FoldsPending, match="the one that ends last goes on"):
        run_finetuning(job, index, folder, accelerator)
    assert not list((folder / "crossfit-1").iterdir())
    assert (folder / "crossfit-2" / "share-1.safetensors").is_file()
    assert not (folder / CROSSFIT_FILE).exists()
    with held_by_another(folder / "crossfit-2"):  # that fold is made: nothing is left to take there
        run_finetuning(job, index, folder, accelerator)
    assert files(folder) == files(made)


def test_a_launch_of_two_processes_takes_the_folds_that_no_other_launch_makes(
    job: Finetuning, tmp_path: Path, tiny_shapes: Path
) -> None:
    words = [SCRIPT, "--backbone", MODEL, "--weights", job.weights, "--data", tiny_shapes, "--runs", tmp_path]
    words += ["--name", "run", "--judge", "eszsl", "--crossfit", FOLDS, "--config.image-size", 32]
    words += ["--config.epochs", 1, "--config.batch-size", 2, "--config.probe-steps", 1, "--config.wise", 1]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

    def output() -> str:
        environment = os.environ | {"ACCELERATE_USE_CPU": "1"}
        ended = subprocess.run([*launch, *map(str, words)], capture_output=True, text=True, env=environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    folder = tmp_path / "run"
    with held_by_another(folder / "crossfit-1"):
        assert output() == f"{crossfit.PENDING}\n"
    made = {path.parent.name for path in folder.glob("*/share-1.safetensors")}
    assert made == {f"crossfit-{number}" for number in range(2, FOLDS + 1)}
    assert str(folder / WEIGHTS_FILE) in output()


def test_weights_that_know_the_seen_classes_are_no_start_of_a_cross_fitting(
    made: Path, job: Finetuning, index: ShardIndex, accelerator: Accelerator, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="2 of 2 classes that class fold 1 leaves out"):
        run_finetuning(replace(job, weights=made / WEIGHTS_FILE), index, tmp_path, accelerator)
    with pytest.raises(ValueError, match="two folds are needed at least"):
        replace(job, crossfit=1)
    with pytest.raises(ValueError, match="without class folds there is no γ; leave it out, or --crossfit 0"):
        replace(job, crossfit=0)


def test_no_photo_whose_copy_judges_is_tuned_on(table: FeatureTable, splits: Splits) -> None:
    hashes = {row: str(row // 2) for row in table.rows.tolist()}  # each photo has a copy

    def judging(of_fold: Splits) -> set[str]:
        return {hashes[row] for row in (*of_fold.test_seen_loc.tolist(), *of_fold.test_unseen_loc.tolist())}

    for of_fold in calibration_folds(splits, table.rows, table.labels, count=FOLDS).values():
        kept, before = without_copies(of_fold, hashes), of_fold.trainval_loc.tolist()
        assert judging(kept) == judging(of_fold)
        assert kept.trainval_loc.tolist() == [row for row in before if hashes[row] not in judging(of_fold)]
        assert 0 < len(kept.trainval_loc) < len(before)
    assert without_copies(splits, {row: str(row) for row in hashes}) is splits


@pytest.mark.parametrize(
    ("classes", "photos", "count", "message"),
    [
        (3, 10, 2, "2 class folds leave less than two of 3 seen classes to tune on; give a larger --crossfit"),
        (5, 2, 2, "holds out 2 photos of seen classes, .*: give a larger --crossfit"),
        (2, 4, 2, "2 class folds leave less than two of 2 seen classes to tune on; give --crossfit 0"),
        (4, 2, 4, "holds out 3 photos of seen classes, .*: give --crossfit 0"),
        (4, 1, 3, "no class folds: .* no seen class has two trainval images, .*; give --crossfit 0"),
    ],
)
def test_too_little_for_class_folds_is_refused_with_a_remedy_that_works(
    classes: int, photos: int, count: int, message: str
) -> None:
    table, whole = toy_table()
    rows = [whole.trainval_loc[table.labels[whole.trainval_loc] == label][:photos] for label in range(classes)]
    splits = replace(whole, seen=np.arange(classes), trainval_loc=np.concatenate(rows))
    with pytest.raises(ValueError, match=message):
        class_folds(splits, table, count)
    if "larger" in message:
        assert len(class_folds(splits, table, classes)) == classes
    assert class_folds(splits, table, 0) == {}


def test_planted_leaks_are_found_where_a_class_fold_judges(
    made: Path, table: FeatureTable, splits: Splits, job: Finetuning
) -> None:
    features = np.random.default_rng(0).random((len(table.rows), 5)).astype(np.float32)
    folds = calibration_folds(splits, table.rows, table.labels, count=FOLDS)

    def of_fold(number: int, tuned_rows: np.ndarray, part: str) -> FeatureTable:
        facts = read_manifest(made / part / "manifest.json").weights.facts
        manifest = replace(table.manifest, finetuned=facts, dim=5)
        return replace(table, features=features, manifest=manifest, tuned_rows=tuned_rows)

    clean = {number: of_fold(number, fold.trainval_loc, f"crossfit-{number}") for number, fold in folds.items()}
    parts = class_fold_parts(clean, splits, torch.device("cpu"))
    assert {number: train.rows.tolist() for number, (train, _) in parts.items()} == {
        number: fold.trainval_loc.tolist() for number, fold in folds.items()
    }
    with_photo = np.sort(np.append(folds[1].trainval_loc, folds[1].test_seen_loc[0]))
    with pytest.raises(ValueError, match="fine-tuned on 1 photos that are test photos here"):
        class_fold_parts(clean | {1: of_fold(1, with_photo, "crossfit-1")}, splits, torch.device("cpu"))
    with pytest.raises(ValueError, match="2 of 2 classes that class fold 1 leaves out"):
        class_fold_parts(clean | {1: of_fold(1, folds[1].trainval_loc, "crossfit-2")}, splits, torch.device("cpu"))


def test_a_study_chooses_on_the_class_folds_of_cross_fitted_weights(
    made: Path, tiny_shapes: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    study = study_of_weights(f"{MODEL}@{made / WEIGHTS_FILE}", tiny_shapes, tmp_path)
    (row,), failures = run_study(study, accelerator)
    assert not failures
    assert row.folds == (1, 2, 3)
    results = read_json(study.folder / row.backbone / "eszsl" / "results.json")
    assert results["selection"]["folds"].keys() == {"1", "2", "3"}
    assert len(list(tmp_path.glob("shapes/features/*/manifest.json"))) == 1 + FOLDS


def test_a_study_of_a_join_takes_each_fold_s_weights_for_its_tuned_part(
    made: Path, weights: Path, tiny_shapes: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    entry = f"{MODEL}@{weights}+{MODEL}@{made / WEIGHTS_FILE}"
    study = study_of_weights(entry, tiny_shapes, tmp_path)
    (row,), failures = run_study(study, accelerator)
    assert not failures
    assert row.folds == (1, 2, 3)
    assert not row.calibrated  # the tuned part knows the classes of calibration folds
    results = read_json(study.folder / row.backbone / "eszsl" / "results.json")
    assert results["selection"]["folds"].keys() == {"1", "2", "3"}
    frozen = {path for path in tmp_path.glob("shapes/features/*") if not (path / "tuned_rows.npy").is_file()}
    assert len(frozen) == 1
    assert len(list(tmp_path.glob("shapes/features/*/tuned_rows.npy"))) == 1 + FOLDS
    for number, entry_of_fold in (
        (n, study.entries[0].of_class_fold(n, study.entries[0].parts[1:])) for n in row.folds
    ):
        assert str(entry_of_fold) == f"{MODEL}@{weights}+{MODEL}@{made / f'crossfit-{number}' / WEIGHTS_FILE}"


def test_a_study_takes_the_gamma_of_weights_that_were_cross_fitted_after_their_features_were_made(
    made: Path, tiny_shapes: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    study = study_of_weights(f"{MODEL}@{made / WEIGHTS_FILE}", tiny_shapes, tmp_path)
    gamma = read_manifest(made / "manifest.json").weights.facts.gamma
    assert gamma is not None
    table = find_or_extract(study, study.entries[0], accelerator)
    path = next(tmp_path.glob("shapes/features/*/manifest.json"))
    content = read_json(path)
    content["finetuned"].pop("gamma")
    write_json(path, content)
    again = find_or_extract(study, study.entries[0], accelerator)
    for each in (table, again):
        assert each.manifest.finetuned is not None
        assert each.manifest.finetuned.gamma == gamma


def test_class_folds_of_a_fine_tuning_on_another_benchmark_choose_nothing(
    made: Path, tiny_shapes: Path, table: FeatureTable, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(study_features, "find_or_extract", lambda study, entry, accelerator: str(entry))
    own, elsewhere = (
        f"{MODEL}@{made / WEIGHTS_FILE}",
        f"{MODEL}@{shutil.copytree(made, tmp_path / 'cub')}/{WEIGHTS_FILE}",
    )
    study = study_of_weights(own, tiny_shapes, tmp_path)
    here = read_manifest(made / "manifest.json").weights.facts

    def tables_of(names: str, *facts: TunedFacts) -> dict[int, Any]:
        (entry,) = names_of([names])
        parts = [replace(table, manifest=replace(table.manifest, finetuned=each)) for each in facts]
        return crossfit_tables(study, entry, join_tables(parts), accelerator)

    def of_fold(number: int) -> str:
        return f"{MODEL}@{made / f'crossfit-{number}' / WEIGHTS_FILE}"

    there = replace(here, benchmark="cub")
    assert tables_of(elsewhere, there) == {}
    assert tables_of(own, here) == {number: of_fold(number) for number in (1, 2, 3)}
    joined = tables_of(f"{own}+{elsewhere}", here, there)
    assert joined == {number: f"{of_fold(number)}+{elsewhere}" for number in (1, 2, 3)}


# --- what is concluded -----------------------------------------------------------------------------------------------


def drawn(seed: int, strength: float, scale: float = 1.0, photos: int = 40) -> Answers:
    """A drawn model of four seen and three unseen classes; more `strength`, higher true scores."""
    draw, ids, parts = torch.Generator().manual_seed(seed), torch.arange(7), dict[str, Any]()
    for part, labels in (("seen", ids[:4].repeat(photos)), ("unseen", ids[4:].repeat(photos))):
        scores = torch.randn(len(labels), 7, generator=draw) + strength * (labels[:, None] == ids) + (ids < 4)
        parts |= {
            f"{part}_rows": torch.arange(len(labels)), f"{part}_labels": labels, f"{part}_scores": scale * scores,
            f"{part}_predicted": scores.argmax(1),
        }  # fmt: skip
    details = Details(zsl_classes=ids[4:], gzsl_classes=ids, unseen_zsl_predicted=parts["unseen_labels"], **parts)
    return Answers(details=details, alg=scale)


@pytest.mark.parametrize(("strength", "expected"), [(3.0, TUNE), (2.0, SAME), (1.0, WORSE)])
def test_only_a_gain_that_excludes_0_says_tune(strength: float, expected: str) -> None:
    frozen = {fold: drawn(fold, 2.0) for fold in (1, 2, 3)}
    tuned = {1.0: {fold: drawn(10 + fold, strength) for fold in (1, 2, 3)}}
    verdict = conclude(frozen, tuned, held_out=True, judge="eszsl", epochs=5)
    assert verdict.verdict == expected
    assert verdict.gain.low <= verdict.gain.difference <= verdict.gain.high
    assert verdict.frozen == score_folds([answers.details for answers in frozen.values()])


def test_the_gain_is_not_that_of_the_luckiest_share() -> None:
    frozen = {fold: drawn(fold, 2.0) for fold in (1, 2)}
    better, worse = (
        {fold: drawn(fold + seed, 2.0 + sign) for fold in (1, 2)} for seed, sign in ((20, 1.0), (30, -1.0))
    )
    tuned = {0.5: {1: better[1], 2: worse[2]}, 1.0: {1: worse[1], 2: better[2]}}
    assert best_share(tuned, [1]) == 0.5
    assert best_share(tuned, [2]) == 1.0
    verdict = conclude(frozen, tuned, held_out=True, judge="eszsl", epochs=5)
    assert verdict.gain.difference < 0  # each fold has the share that is best on the other one
    assert max(each.scores.ausuc for each in verdict.shares) > verdict.gain.difference + verdict.frozen.ausuc


def test_h_of_tuned_weights_is_not_that_of_the_luckiest_share_or_unit() -> None:
    drawn_gains = []
    for case in range(8):
        frozen = {fold: drawn(1000 * case + fold, 2.0) for fold in (1, 2, 3)}
        tuned = {
            share: {fold: drawn(1000 * case + 100 * k + fold, 2.0) for fold in (1, 2, 3)}
            for k, share in enumerate((0.3, 0.5, 0.7, 1.0), start=1)
        }
        verdict = conclude(frozen, tuned, held_out=True, judge="eszsl", epochs=5)
        drawn_gains.append(verdict.harmonic_tuned - verdict.harmonic_frozen)
    gains = torch.tensor(drawn_gains)
    assert gains.mean().abs() < 2 * gains.std() / len(gains) ** 0.5


def test_all_folds_of_each_fine_tuning_are_needed(tmp_path: Path) -> None:
    weights = tmp_path / WEIGHTS_FILE
    for name in ("crossfit-1", "crossfit-3", "crossfit-2 (copy)", "crossfit-"):
        (tmp_path / name).mkdir()
        (tmp_path / name / WEIGHTS_FILE).touch()
    assert class_fold_weights(weights).keys() == {1, 3}
    check_all_folds({"a": {1, 2, 3}, "b": {2, 1, 3}}, {3})
    for numbers, counts in (({"a": {1, 3}}, {3}), ({"a": {1, 2}}, {3}), ({"a": {1, 2}, "b": {1, 2, 3}}, set[int]())):
        with pytest.raises(ValueError, match=r"class folds with weights: a: 1, .*as many for each: crossfit-1, crossf"):
            check_all_folds(numbers, counts)


def test_gamma_takes_the_unit_that_loses_least_among_those_that_final_weights_can_have() -> None:
    frozen = {fold: drawn(fold, 2.0) for fold in (1, 2)}
    tuned = {1.0: {1: drawn(5, 2.0), 2: drawn(6, 2.0, scale=30.0)}}
    lost = {}
    for held_out in (True, False):
        verdict = conclude(frozen, tuned, held_out=held_out, judge="eszsl", epochs=5)
        lost = {unit.unit: unit.harmonic_lost for unit in verdict.units}
        usable = lost if held_out else {name: lost[name] for name in ("raw", "alg")}
        assert lost[verdict.unit] == min(usable.values())
    assert lost["raw"] > lost["alg"] + 0.05


def test_a_unit_that_a_model_of_equal_scores_does_not_have_is_left_out(tmp_path: Path) -> None:
    frozen, tuned = ({fold: drawn(fold, 2.0, scale=scale) for fold in (1, 2)} for scale in (1.0, 0.0))
    for before, after in ((frozen, tuned), (tuned, frozen)):
        verdict = conclude(before, {1.0: after}, held_out=True, judge="eszsl", epochs=5)
        write_record(tmp_path / CROSSFIT_FILE, verdict)
        assert "NaN" not in (tmp_path / CROSSFIT_FILE).read_text()
        assert "raw" in {unit.unit for unit in verdict.units}
    assert len(verdict.units) == 4


def test_no_photo_is_on_a_curve_whose_gamma_its_margin_has_chosen() -> None:
    answers = drawn(0, 1.0, photos=5)
    first, second = answers.halves()
    rows = [half.details.seen_rows.tolist() for half in (first, second)]
    assert sorted(rows[0] + rows[1]) == answers.details.seen_rows.tolist()
    for part, counts in zip((first, second), ([3, 2, 3, 2], [2, 3, 2, 3]), strict=True):
        assert part.details.seen_labels.bincount().tolist() == counts
        assert torch.equal(part.details.unseen_rows, answers.details.unseen_rows)
    one, other = judged_halves(1, answers)
    assert torch.equal(one.yardstick.margins, second.yardstick.margins)
    assert torch.equal(other.yardstick.margins, first.yardstick.margins)
    assert torch.equal(one.curve.seen, first.curve.seen)


def test_answers_and_verdicts_are_read_as_they_were_written(tmp_path: Path) -> None:
    answers = drawn(3, 1.0)
    answers.save(tmp_path / "answers.safetensors")
    again = load_answers(tmp_path / "answers.safetensors")
    assert again.alg == answers.alg
    assert all(
        torch.equal(value, getattr(again.details, name))
        for name, value in vars(answers.details).items()
        if name != "gamma"
    )
    save_file({"alg": torch.zeros(())}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds other tensors"):
        load_answers(tmp_path / "other.safetensors")
    verdict = conclude({1: answers, 2: answers}, {1.0: {1: answers, 2: answers}}, held_out=True, judge="j", epochs=1)
    write_record(tmp_path / CROSSFIT_FILE, verdict)
    assert read_crossfit(tmp_path / CROSSFIT_FILE) == verdict
