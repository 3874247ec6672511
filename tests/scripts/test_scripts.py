"""The commands as a user types them: what they leave, what they say, and how they refuse."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import assert_refused, run
from tiny_configs import TINY

from backbones import Backbone
from shards import read_index, read_shard
from zsl.cli import describe_form, method_name, run_name
from zsl.datasets.benchmark import read_benchmark
from zsl.datasets.pack import open_shards
from zsl.experiments.methods import find_method
from zsl.features.table import read_features


@pytest.fixture(scope="module")
def data(tiny_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `--data` folder in which the photos are drawn but not packed."""
    folder = tmp_path_factory.mktemp("scripts")
    shutil.copytree(tiny_shapes / "shapes" / "raw", folder / "shapes" / "raw")
    return folder


@pytest.fixture(scope="module")
def packed(data: Path) -> subprocess.CompletedProcess[str]:
    """make_shards.py has run on `data`."""
    return run("make_shards.py", "--data", data)


def test_make_shards_packs_every_photo_and_says_what_it_found(
    packed: subprocess.CompletedProcess[str], data: Path
) -> None:
    assert packed.returncode == 0, packed.stderr
    verdict, counts, summary = packed.stdout.splitlines()
    assert verdict.startswith("unknown split, hash ")
    assert verdict.endswith(", complete")
    assert counts == "36 / 12 / 24 trainval / test_seen / test_unseen rows, 6 seen / 3 unseen classes"
    assert summary.startswith(f"{data / 'shapes' / 'shards'}: 72 photos in 1 shard")
    index = read_index(data / "shapes" / "shards")
    photos = [sample.image for sample in read_shard(data / "shapes" / "shards" / index.shards[0].file)]
    assert photos == [path.read_bytes() for path in sorted((data / "shapes" / "raw" / "images").glob("*/*.jpg"))]


def test_extract_makes_a_table_that_another_process_makes_too(
    packed: subprocess.CompletedProcess[str],
    data: Path,
    tiny_weights: Path,
    tiny_backbone: Backbone,
    tiny_features: Path,
) -> None:
    assert packed.returncode == 0, packed.stderr
    words = ("--data", data, "--backbone", "test_vit", "--weights", tiny_weights, "--precision", "no")
    process = run("extract.py", *words)
    assert process.returncode == 0, process.stderr
    out = data / "shapes" / "features" / tiny_backbone.name
    assert process.stdout.startswith(f"{out}: 72 images x 64 from {tiny_backbone.name}, precision no, ")
    table, expected = read_features(out), read_features(tiny_features)
    np.testing.assert_array_equal(table.labels, expected.labels)
    np.testing.assert_allclose(table.features, expected.features, rtol=1e-3, atol=1e-3)
    raw = read_benchmark("shapes", data / "shapes" / "raw", data / "shapes" / "raw")
    assert table.labels.tolist() == [instance.label for instance in raw.instances]


def test_make_shards_refuses_an_unknown_benchmark(data: Path, tmp_path: Path) -> None:
    raw = data / "shapes" / "raw"
    process = run("make_shards.py", "--benchmark", "bird", "--images", raw, "--splits", raw, "--data", tmp_path)
    assert_refused(process, "no benchmark 'bird'", "there are apy, awa1, awa2, cub, shapes, sun")
    assert not list(tmp_path.iterdir())


def test_extract_refuses_to_start_without_shards(tmp_path: Path) -> None:
    process = run("extract.py", "--benchmark", "cub", "--data", tmp_path, "--precision", "no")
    assert_refused(process, f"no index.json in {tmp_path / 'cub' / 'shards'}", "scripts/make_shards.py")


def test_extract_refuses_an_unknown_backbone(packed: subprocess.CompletedProcess[str], data: Path) -> None:
    assert packed.returncode == 0, packed.stderr
    process = run("extract.py", "--data", data, "--backbone", "resnet1o1", "--precision", "no")
    assert_refused(process, "no backbone 'resnet1o1'; there are", "efficientnet_lite0", "resnet101")


def test_a_run_is_named_by_what_is_not_as_usual() -> None:
    usual: dict[str, Any] = {"method": "dcrgan+", "fold": None, "selection": None, "protocol": "honest"}
    assert run_name("cub", **usual) == "cub"
    assert run_name("cub", **usual | {"method": "LDF"}) == "cub-LDF"
    assert run_name("cub", **usual | {"method": "dcrgan"}) == "cub-dcrgan"
    assert run_name("cub", **usual | {"fold": 2}) == "cub-fold2"
    assert run_name("cub", **usual | {"method": "C-3", "selection": Path("s")}) == "cub-C-3-chosen"
    assert run_name("cub", **usual | {"protocol": "published"}) == "cub-published"


def test_the_first_line_of_a_training_says_which_form_it_is_and_names_the_other() -> None:
    for name, other in (("dcrgan", "dcrgan+"), ("A+", "A"), ("f-CLSWGAN", "f-CLSWGAN+")):
        line = describe_form(name, find_method(name, TINY).form)
        assert line.startswith(f"method {name}, {'with closed-form parts' if '+' in name else 'as published'}: ")
        assert f"; --method {other}: " in line
    assert method_name(None, None) == method_name(None, "cub") == "dcrgan+"
    assert method_name(None, "reference-cub-gzsl") == method_name(None, "paper-sun-zsl") == "dcrgan"
    assert method_name("A+", "paper-sun-zsl") == "A+"
    assert describe_form("eszsl", find_method("eszsl", TINY).form) == "method eszsl"


def test_a_benchmark_that_is_not_at_hand_can_have_its_shards_elsewhere(
    packed: subprocess.CompletedProcess[str], data: Path, tmp_path: Path
) -> None:
    assert packed.returncode == 0, packed.stderr
    shards = tmp_path / "elsewhere"
    shutil.copytree(data / "shapes" / "shards", shards)
    index = json.loads((shards / "index.json").read_text())
    (shards / "index.json").write_text(json.dumps(index | {"benchmark": "zoo"}))
    assert open_shards("zoo", tmp_path / "data", shards).benchmark == "zoo"


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("train_dcrgan.py", ("--benchmark", "CUB"), "no benchmark 'CUB'; did you mean 'cub'?; there are apy"),
        ("extract.py", ("--benchmark", "zoo"), "no benchmark 'zoo'; there are apy, awa1"),
        ("doctor.py", ("--benchmark", "awa3"), "no benchmark 'awa3'; did you mean 'awa"),
        ("make_shards.py", ("--images", "x"), "shapes is drawn where both are left out"),
        ("extract.py", ("--image-size", "0"), "--image-size 0: at least 1 pixel"),
        ("extract.py", ("--splits", "x"), "--splits is for --import-mat"),
        ("audit.py", ("--run", "nowhere"), "nowhere is no run folder (no config.json)"),
        ("train_dcrgan.py", ("--name", "/elsewhere"), "--name /elsewhere: the name of a folder below --runs"),
        (
            "finetune.py",
            ("--skip-verdict", "--folds", "1"),
            "--skip-verdict trains no fold, --crossfit and --folds ask",
        ),
        ("finetune.py", ("--name", "../elsewhere"), "--name ../elsewhere: the name of a folder below --runs"),
    ],
)
def test_a_slip_on_the_command_line_is_answered_at_once(
    script: str, words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    process = run(script, *words, "--data", tmp_path)
    assert process.returncode != 0
    assert message in " ".join(process.stderr.replace("│", " ").split())
    assert "Traceback" not in process.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--every", "7"), "--every 7 is for --protocol published"),
        (("--seeds",), "--seeds without any: name at least one"),
        (("--config.metric.representation-dim", "0"), "representation_dim is 0; it is at least 1"),
        (("--config.classifiers.images-per-unseen-class", "0"), "images_per_unseen_class is 0; it is at least 1"),
    ],
)
def test_training_refuses_what_could_not_be_trained(
    words: tuple[str, ...], message: str, tiny_features: Path, tmp_path: Path
) -> None:
    process = run(
        "train_dcrgan.py", "--features", tiny_features, "--data", tiny_features.parents[2], "--runs", tmp_path, *words
    )
    assert process.returncode != 0
    assert message in " ".join(process.stderr.replace("│", " ").split())
    assert "Traceback" not in process.stderr
    assert not list(tmp_path.iterdir())
