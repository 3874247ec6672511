"""A study: missing tables and runs are made, finished ones are not, a kill changes nothing, a failure stops nothing."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from command_line import LAUNCHER
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from safetensors.torch import save_file
from tiny import Rank
from tiny_configs import ALL_STAGES
from toy import toy_table

import zsl.experiments.study_features
from backbones.tuned import FINETUNED, Rows, TunedFacts
from zsl.common.drawing import Plot, finish
from zsl.common.files import read_json, write_json
from zsl.datasets.class_vectors import read_class_vectors
from zsl.dcrgan.recipes import Recipe
from zsl.experiments import study_table
from zsl.experiments.methods import OTHERS
from zsl.experiments.study import Row, run_study
from zsl.experiments.study_features import find_or_extract, fold_tables
from zsl.experiments.study_plan import Study, names_of
from zsl.experiments.study_table import STUDY_FILES, markdown, write_study
from zsl.features.load import load_splits
from zsl.features.pretraining import TaughtBefore
from zsl.features.table import read_features

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "study.py"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights of two architectures with features of different size."""
    files = {}
    for name in ("test_vit", "test_resnet"):
        files[name] = tmp_path_factory.mktemp("study") / f"{name}.safetensors"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            save_file(timm.create_model(name, pretrained=False).state_dict(), files[name])
    return files


@pytest.fixture
def data(tiny_shapes: Path, tmp_path: Path) -> Path:
    for part in ("shards", "splits"):
        shutil.copytree(tiny_shapes / "shapes" / part, tmp_path / "data" / "shapes" / part)
    return tmp_path / "data"


def study_of(data: Path, *entries: str, methods: tuple[str, ...] = ("eszsl", "sae"), seeds: int = 2) -> Study:
    return Study(
        benchmark="shapes", entries=names_of(entries), methods=methods, seeds=tuple(range(seeds)),
        folder=data.parent / "runs" / "s", data=data, batch_size=16,
    )  # fmt: skip


def both(weights: dict[str, Path]) -> list[str]:
    return [f"{name}@{file}" for name, file in weights.items()]


def files_of(folder: Path) -> dict[str, int]:
    """When each file below `folder` was written last."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# --- what is made ----------------------------------------------------------------------------------------------------


def test_every_backbone_gets_every_method_and_its_own_costs(
    data: Path, weights: dict[str, Path], accelerator: Accelerator
) -> None:
    study = study_of(data, *both(weights))
    rows, failures = run_study(study, accelerator)
    assert not failures
    assert [(row.entry, row.method) for row in rows] == [(e, m) for e in both(weights) for m in study.methods]
    for row in rows:
        name = row.entry.partition("@")[0]
        model = timm.create_model(name, pretrained=False, num_classes=0)
        assert row.parameters == sum(parameter.numel() for parameter in model.parameters())
        results = read_json(study.folder / row.backbone / row.method / "results.json")
        assert (row.mean, row.std) == (results["mean"], results["std"])
        assert [seed["seed"] for seed in results["seeds"]] == [0, 1]
        assert results["selection"]["folds"].keys() == {"1", "2", "3"}  # γ is chosen anew on each table's folds
        manifest = read_json(data / "shapes" / "features" / row.backbone / "manifest.json")
        assert row.images_per_second == manifest["images_per_second"]
        assert [row.input_size] * 2 == manifest["transform"]["size"]
        assert row.unseen_classes == results["unseen_classes"] == manifest["unseen_classes"] == "unknown"
    dims = {read_json(path)["dim"] for path in data.glob("shapes/features/*/manifest.json")}
    assert len(dims) == 2


def test_dcrgan_runs_on_features_of_another_size(
    data: Path, weights: dict[str, Path], accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zsl.experiments.table, "find_recipe", lambda benchmark, form: Recipe(config=ALL_STAGES))
    rows, failures = run_study(study_of(data, both(weights)[1], methods=("dcrgan", "dcrgan+"), seeds=1), accelerator)
    assert not failures
    assert [row.method for row in rows] == ["dcrgan", "dcrgan+"]


def test_a_finished_study_opens_no_test_row_again_and_extracts_nothing(
    data: Path, weights: dict[str, Path], accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(data, *both(weights))
    first = write_study(*run_study(study, accelerator), study.folder)
    kept = {name: (study.folder / name).read_bytes() for name in STUDY_FILES}
    features = files_of(data / "shapes" / "features")
    seeds = {path: when for path, when in files_of(study.folder).items() if "/seed-" in path or "test_access" in path}
    monkeypatch.setattr(zsl.experiments.study_features, "extract_features", None)  # a call would be an error
    assert write_study(*run_study(study, accelerator), study.folder) == first
    assert {name: (study.folder / name).read_bytes() for name in STUDY_FILES} == kept
    assert files_of(data / "shapes" / "features") == features
    assert {path: files_of(study.folder)[path] for path in seeds} == seeds


def test_a_table_that_is_there_needs_no_weights(data: Path, tiny_features: Path, accelerator: Accelerator) -> None:
    folder = data / "shapes" / "features" / "test_vit.r160_in1k"
    shutil.copytree(tiny_features, folder)
    manifest = read_json(folder / "manifest.json") | {"backbone": folder.name, "pretraining": "ImageNet-1k"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    rows, failures = run_study(study_of(data, "test_vit.r160_in1k", methods=("eszsl",)), accelerator)
    assert not failures
    assert rows[0].unseen_classes == "clean"


def test_a_table_of_which_an_array_was_deleted_is_made_again(
    data: Path, weights: dict[str, Path], accelerator: Accelerator, caplog: pytest.LogCaptureFixture
) -> None:
    study = study_of(data, both(weights)[0])
    features = np.array(find_or_extract(study, study.entries[0], accelerator).features)
    (path,) = data.glob("shapes/features/*/features.npy")
    path.unlink()
    assert np.array_equal(find_or_extract(study, study.entries[0], accelerator).features, features)
    assert caplog.messages == [f"the feature table in {path.parent} lacks a file, so it is made again"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("a class list is damaged"), "a class list is damaged"),
        (TaughtBefore("x"), "on all seen classes, so"),
    ],
)
def test_only_weights_that_know_a_fold_are_said_to_know_it(
    error: ValueError, message: str, data: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(zsl.experiments.study_features, "load_splits", fail)
    study, table = study_of(data, "test_vit@tuned.safetensors"), toy_table()[0]
    tuned = TunedFacts(
        benchmark="toy", fold=None, trainval=Rows(count=1, hash="a"), split_hashes=(), classes=(), started_from=None
    )
    table = replace(table, manifest=replace(table.manifest, finetuned=tuned))
    with pytest.raises(ValueError, match=message):
        fold_tables(study, study.entries[0], table, accelerator)


def test_class_vectors_stand_in_place_of_attributes_and_the_study_says_so(
    data: Path, tiny_features: Path, accelerator: Accelerator
) -> None:
    table = data / "shapes" / "features" / "test_vit.r160_in1k"
    shutil.copytree(tiny_features, table)
    splits = load_splits("shapes", data, read_features(table))

    def with_vectors(name: str, vectors: np.ndarray) -> Study:
        path = data.parent / f"{name}.npy"
        np.save(path, vectors)
        path.with_suffix(".txt").write_text("\n".join(splits.class_names))
        return replace(
            study_of(data, "test_vit.r160_in1k", methods=("eszsl",), seeds=1), folder=data.parent / "runs" / name,
            vectors=read_class_vectors(path, None, beside=False),
        )  # fmt: skip

    scaled = splits.attributes * np.arange(1, len(splits.attributes) + 1)[:, None]  # lengths are taken out
    noise = np.random.default_rng(0).normal(size=splits.attributes.shape)
    (same,), failed = run_study(with_vectors("same", scaled), accelerator)
    (random,), failed_too = run_study(with_vectors("random", noise), accelerator)
    plain = study_of(data, "test_vit.r160_in1k", methods=("eszsl",), seeds=1)
    (by_attributes,), _ = run_study(plain, accelerator)
    assert not failed
    assert not failed_too
    assert same.mean == pytest.approx(by_attributes.mean, abs=1e-3)
    assert random.mean["acc_zsl"] != by_attributes.mean["acc_zsl"]
    assert (by_attributes.side_information, same.side_information) == ("attributes", "class vectors")
    assert "Side information: class vectors." in markdown([same], {})
    assert "Side information" not in markdown([by_attributes], {})


def test_a_backbone_without_weights_is_reported_and_the_rest_goes_on(
    data: Path, weights: dict[str, Path], accelerator: Accelerator
) -> None:
    absent = data / "absent.safetensors"
    study = study_of(data, f"test_vit@{absent}", both(weights)[1], methods=("eszsl",))
    rows, failures = run_study(study, accelerator)
    assert [row.entry for row in rows] == [both(weights)[1]]
    assert failures == {f"test_vit@{absent}": f"no weights file {absent}"}
    text = markdown(rows, failures)
    assert f"FAILED test_vit@{absent}: no weights file" in text
    assert "unlike folds" not in text


def test_a_model_that_breaks_is_reported_and_the_rest_goes_on(
    data: Path, weights: dict[str, Path], accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([RuntimeError("shapes do not fit"), AssertionError()])

    def breaks(*args: object, **options: object) -> None:
        raise next(errors)

    monkeypatch.setattr(zsl.experiments.study_features, "extract_features", breaks)
    rows, failures = run_study(study_of(data, *both(weights)), accelerator)
    assert not rows
    assert list(failures.values()) == ["RuntimeError: shapes do not fit", "AssertionError"]
    assert "FAILED" in markdown(rows, failures)


def test_a_method_that_fails_on_a_backbone_costs_its_row_alone(
    data: Path, weights: dict[str, Path], accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(*args: object, **options: object) -> None:
        raise FloatingPointError("loss is nan")

    step = replace(OTHERS["sae"].steps[0], run=diverges)
    monkeypatch.setitem(OTHERS, "sae", replace(OTHERS["sae"], steps=(step,)))
    rows, failures = run_study(study_of(data, both(weights)[0]), accelerator)
    assert [row.method for row in rows] == ["eszsl"]
    assert failures == {f"{both(weights)[0]}, sae": "Diverged: loss is nan"}
    assert f"FAILED {both(weights)[0]}, sae: Diverged: loss is nan" in markdown(rows, failures)


def test_a_method_that_failed_is_named_where_its_backbone_fails_later(
    data: Path, weights: dict[str, Path], accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, error in (("eszsl", FloatingPointError("loss is nan")), ("sae", ValueError("another run"))):

        def fails(*args: object, error: Exception = error) -> None:
            raise error

        step = replace(OTHERS[name].steps[0], run=fails)
        monkeypatch.setitem(OTHERS, name, replace(OTHERS[name], steps=(step,)))
    entry = both(weights)[0]
    rows, failures = run_study(study_of(data, entry), accelerator)
    assert not rows
    assert failures == {entry: "another run", f"{entry}, eszsl": "Diverged: loss is nan"}


def table_of(data: Path, weights: dict[str, Path], name: str, accelerator: Accelerator) -> Path:
    (entry,) = names_of([f"{name}@{weights[name]}"])
    table = find_or_extract(study_of(data, str(entry)), entry, accelerator)
    return data / "shapes" / "features" / table.manifest.backbone / "manifest.json"


def test_tables_of_another_precision_or_of_other_shards_are_not_compared(
    data: Path, weights: dict[str, Path], accelerator: Accelerator
) -> None:
    manifest_file = table_of(data, weights, "test_vit", accelerator)
    whole = read_json(manifest_file)
    study = study_of(data, *both(weights), methods=("eszsl",))

    def refused() -> dict[str, str]:
        return run_study(study, accelerator)[1]

    manifest_file.write_text(json.dumps(whole | {"shards_sha256": "0" * 64}))
    (message,) = refused().values()
    assert "72 rows of shards 000000000000…" in message
    manifest_file.write_text(json.dumps(whole | {"precision": "bf16"}))
    (message,) = refused().values()
    assert "precision no, those of" in message
    assert "with bf16" in message


def test_costs_are_those_of_the_input_size_that_the_weights_were_tuned_at(
    data: Path, weights: dict[str, Path], accelerator: Accelerator, tmp_path: Path
) -> None:
    tuned = tmp_path / "tuned" / "weights.safetensors"
    tuned.parent.mkdir()
    shutil.copyfile(weights["test_resnet"], tuned)
    manifest = {
        "kind": FINETUNED, "weights_file": tuned.name, "architecture": "test_resnet", "image_size": 64,
        "pretraining": "unknown", "benchmark": "other", "fold": None, "trainval": {"count": 1, "hash": "0"},
        "split_hashes": [], "classes": (data / "shapes" / "splits" / "valclasses2.txt").read_text().split(),
    }  # fmt: skip
    write_json(tuned.with_name("manifest.json"), manifest)
    study = study_of(data, f"test_resnet@{weights['test_resnet']}", f"test_resnet@{tuned}", methods=("eszsl",))
    rows, failures = run_study(study, accelerator)
    assert not failures
    own = timm.get_pretrained_cfg("test_resnet").input_size[-1]  # type: ignore[union-attr]
    assert [row.input_size for row in rows] == [own, 64]
    assert rows[1].flops / rows[0].flops == pytest.approx((64 / own) ** 2, rel=0.01)  # a convolution's share of pixels
    own_folds = rows[1].folds  # those that have none of the classes that another benchmark's fine-tuning taught
    assert 2 not in own_folds
    assert rows[0].folds == (1, 2, 3)
    frozen, taught = f"1, 2, 3 and, for γ, calibration folds for {rows[0].backbone}", ", ".join(map(str, own_folds))
    told = f"{frozen}; {taught} for {rows[1].backbone}"
    assert told in markdown(rows, {})


def test_shards_may_lie_elsewhere(
    data: Path, weights: dict[str, Path], accelerator: Accelerator, tmp_path: Path
) -> None:
    elsewhere = (data / "shapes" / "shards").rename(tmp_path / "elsewhere")
    study = replace(study_of(data, both(weights)[0], methods=("eszsl",), seeds=1), shards=elsewhere)
    rows, failures = run_study(study, accelerator)
    assert not failures
    assert len(rows) == 1


def test_a_study_of_several_processes_is_refused(data: Path, accelerator: Accelerator) -> None:
    with pytest.raises(ValueError, match="a study runs in one process, this is one of 2"):
        run_study(study_of(data, "test_vit"), Rank(0, threading.Barrier(2)))


@pytest.mark.parametrize(
    ("backbones", "methods", "message"),
    [
        (("resnet1o1",), ("eszsl",), "no backbone 'resnet1o1'"),
        (("test_vit@",), ("eszsl",), "weights file is to follow the @"),
        (("test_vit", "test_vit"), ("eszsl",), "each once"),
        (("test_vit",), ("eszls",), "no method 'eszls'"),
        (("test_vit",), (), "at least one"),
        (("test_vit",), ("eszsl", "clip"), "--method clip needs --class-vectors"),
    ],
)
def test_a_typing_error_is_refused_before_anything_is_done(
    data: Path, accelerator: Accelerator, backbones: tuple[str, ...], methods: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run_study(study_of(data, *backbones, methods=methods), accelerator)
    assert not (data / "shapes" / "features").exists()


# --- after a kill ----------------------------------------------------------------------------------------------------


def start(data: Path, runs: Path, weights: dict[str, Path]) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHER)}
    words = ["--data", data, "--runs", runs, "--name", "s", "--methods", "eszsl", "sae", "--seeds", "0", "1"]
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, words), "--precision", "no", "--backbones", *both(weights)],
        env=environment | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_killed_study_goes_on_and_ends_in_the_same_table(data: Path, weights: dict[str, Path]) -> None:
    runs = data.parent / "runs"
    process = start(data, runs, weights)
    while process.poll() is None and not list(runs.glob("s/test_vit*/*/seed-0/scores.json")):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (runs / "s" / "study.md").exists()
    done = {path: when for path, when in files_of(data.parent).items() if "scores.json" in path or "features" in path}
    finished = sum("scores.json" in path for path in done)
    lost = len(open_lines(runs)) - finished  # the kill may meet a run between its test and its scores
    assert finished >= 1
    assert lost in (0, 1)

    process = start(data, runs, weights)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert {path: files_of(data.parent)[path] for path in done} == done  # nothing was done twice
    assert len(open_lines(runs)) == 8 + lost  # two backbones, two methods, two seeds; one more only for a lost run

    fresh = start(data, data.parent / "fresh", weights)
    assert fresh.wait() == 0
    table, undisturbed = ((folder / "s" / "study.csv").read_bytes() for folder in (runs, data.parent / "fresh"))
    assert table == undisturbed
    assert output.startswith((runs / "s" / "study.md").read_text())


def open_lines(runs: Path) -> list[str]:
    return [line for path in runs.glob("s/*/*/test_access.jsonl") for line in path.read_text().splitlines()]


# --- the table -------------------------------------------------------------------------------------------------------


def row(backbone: str, method: str, harmonic: float, speed: float | None, folds: tuple[int, ...] = (1, 2, 3)) -> Row:
    scores = {"acc_zsl": 0.5, "acc_unseen": 0.25, "acc_seen": 0.125, "harmonic": harmonic, "ausuc": 0.0625}
    return Row(
        entry=backbone, backbone=f"{backbone}.tag", method=method, mean=scores, std=dict.fromkeys(scores, 0.01),
        seeds=3, parameters=3_400_000, flops=770_000_000, images_per_second=speed, input_size=224,
        pretraining="ImageNet-1k", unseen_classes="synonyms", protocol="honest", folds=folds, calibrated=True,
        side_information="attributes", measured_on="cpu",
    )  # fmt: skip


ROWS = [row("a", "eszsl", 0.1, 10.0), row("a", "dcrgan", 0.2, 10.0), row("b", "eszsl", 0.3, 1000.0)]


def test_the_markdown_has_each_number_in_its_column() -> None:
    head, _, first, *_ = [line.strip("| ").split(" | ") for line in markdown(ROWS, {}).splitlines()]
    assert dict(zip(head, first, strict=True)) == {
        "backbone": "a.tag", "method": "eszsl", "T1": "50.0 ± 1.0", "U": "25.0 ± 1.0", "S": "12.5 ± 1.0",
        "H": "10.0 ± 1.0", "AUSUC": "6.2 ± 1.0", "parameters (M)": "3.4", "GFLOPs": "0.77", "images/s": "10.0",
        "input": "224²", "pretraining": "ImageNet-1k", "unseen classes": "synonyms",
    }  # fmt: skip


def test_rows_that_only_an_earlier_call_had_are_named(tmp_path: Path) -> None:
    assert "earlier call" not in write_study(ROWS, {}, tmp_path)
    assert "earlier call" not in write_study(ROWS, {}, tmp_path)
    text = write_study(ROWS[:1], {}, tmp_path)
    for lost in ROWS[1:]:
        assert f"{lost.backbone}, {lost.method}" in text.splitlines()[-1]
    assert f"{ROWS[0].backbone}, {ROWS[0].method}" not in text.splitlines()[-1]


def test_the_csv_reads_back_unrounded(tmp_path: Path) -> None:
    write_study(ROWS, {}, tmp_path)
    with (tmp_path / "study.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [float(line["harmonic_mean"]) for line in lines] == [0.1, 0.2, 0.3]
    assert [float(line["flops"]) for line in lines] == [7.7e8] * 3


def test_the_plot_has_a_point_a_row_a_colour_a_backbone_and_a_bar_of_one_sd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []

    def keep(figure: Figure, name: str, alt: str, folder: Path) -> Plot:
        figures.append(figure)
        return finish(figure, name, alt, folder)

    monkeypatch.setattr(study_table, "finish", keep)
    write_study([*ROWS, row("c", "eszsl", 0.9, None)], {}, tmp_path)  # a backbone of unknown speed has no place in it
    (axes,) = figures[0].axes
    assert axes.get_xscale() == "log"
    drawn = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
    points = [container.lines[0] for container in drawn]
    assert [tuple(np.asarray(point.get_xydata())[0]) for point in points] == [(10, 10), (10, 20), (1000, 30)]
    assert points[0].get_color() == points[1].get_color() != points[2].get_color()
    assert points[0].get_marker() == points[2].get_marker() != points[1].get_marker()
    (bar,) = drawn[0].lines[2]
    assert bar.get_segments()[0][:, 1].tolist() == pytest.approx([9, 11])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(STUDY_FILES)
    write_study([row("c", "eszsl", 0.9, None)], {}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.csv", "study.md"]


def test_the_eleventh_backbone_differs_from_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(study_table, "finish", lambda figure, *_: figures.append(figure))
    write_study([row(str(number), "eszsl", 0.1, 10.0 + number) for number in range(20)], {}, tmp_path)
    (axes,) = figures[0].axes
    points = [container.lines[0] for container in axes.containers if isinstance(container, ErrorbarContainer)]
    assert len({(point.get_color(), point.get_markerfacecolor()) for point in points}) == 20


# --- joined backbones ------------------------------------------------------------------------------------------------


def test_an_entry_of_joined_backbones_is_parsed_and_written_as_it_was() -> None:
    for text in ("test_vit+test_resnet", "test_vit@a/b.pth+test_resnet-96px@c+d/e.pth", "test_vit@a+b.pth"):
        (entry,) = names_of([text])
        assert str(entry) == text
        assert len(entry.parts) == (1 if text == "test_vit@a+b.pth" else 2)
    for text, message in (
        ("test_vit+", r"a name is missing beside a \+"),
        ("test_vit+resnet5000", "no backbone 'resnet5000'"),
        ("test_vit+test_vit", "are the same features"),
    ):
        with pytest.raises(ValueError, match=message):
            names_of([text])


def test_a_study_of_a_join_extracts_its_parts_and_adds_up_their_costs(
    data: Path, weights: dict[str, Path], accelerator: Accelerator
) -> None:
    one, two = both(weights)
    rows, failures = run_study(study_of(data, one, two, f"{one}+{two}", methods=("eszsl",)), accelerator)
    assert not failures
    assert rows[2].backbone == f"{rows[0].backbone}+{rows[1].backbone}"
    assert rows[2].parameters == rows[0].parameters + rows[1].parameters
    assert rows[2].flops == rows[0].flops + rows[1].flops
    assert rows[2].input_size == max(rows[0].input_size, rows[1].input_size)
    assert f"| {rows[2].backbone} |" in markdown(rows, failures)
