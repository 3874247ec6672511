"""What is different on a GPU: where tensors lie, its precisions, its decoder, its compiler, and its random numbers.

Without a GPU all of it is skipped.  Expected values come from the same work on the CPU.
"""

from __future__ import annotations

import copy
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
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from killed_trainings import train_through_kills
from small_configs import small, tiny
from tiny_configs import ALL_STAGES
from torch import Tensor
from toy import UNSEEN, toy_splits

from backbones import Backbone, load_backbone
from shards import read_index
from zsl.baselines.registry import BASELINES
from zsl.common.compute import Precision, available_cores, make_accelerator
from zsl.common.cost import stopwatch
from zsl.datasets.places import shards_folder
from zsl.dcrgan.config import DCRGANConfig
from zsl.experiments.methods import find_method
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.manifest import Manifest
from zsl.features.table import read_features
from zsl.generative.registry import GENERATIVE
from zsl.scores.evaluate import evaluate
from zsl.scores.summary import Scores
from zsl.training.journal import Journal

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
GPU = torch.device("cuda")
SHORT = ["--config.gan.steps", "20", "--config.metric.steps", "20", "--config.srn.steps", "20"]
STATES: Any = (AcceleratorState, GradientState, PartialState)


@contextmanager
def computing_on_the_gpu(precision: Precision) -> Iterator[Accelerator]:
    """Accelerate keeps one state a process, and other tests of this process compute on the CPU with it."""
    kept = {state: dict(state._shared_state) for state in STATES}
    for state in STATES:
        state._shared_state.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ACCELERATE_USE_CPU", raising=False)
        yield make_accelerator(precision)
    for state, content in kept.items():
        state._shared_state.clear()
        state._shared_state.update(content)


@pytest.fixture(params=["no", "bf16", "fp16"])
def each_precision(request: pytest.FixtureRequest) -> Iterator[Accelerator]:
    """The GPU, in each of its precisions."""
    with computing_on_the_gpu(request.param) as accelerator:
        yield accelerator


@pytest.fixture
def gpu() -> Iterator[Accelerator]:
    """The GPU, in fp32."""
    with computing_on_the_gpu("no") as accelerator:
        yield accelerator


# --- extraction ------------------------------------------------------------------------------------------------------


def extracted(
    backbone: Backbone, data: Path, out: Path, accelerator: Accelerator, **settings: Any
) -> tuple[np.ndarray, Manifest]:
    shards = shards_folder(data, "shapes")
    own = replace(backbone, encoder=copy.deepcopy(backbone.encoder))  # it moves to the GPU
    chosen = ExtractSettings(**{"batch_size": 16} | settings)
    manifest = extract_features(own, shards, read_index(shards), out, accelerator, chosen)
    return np.asarray(read_features(out).features), manifest


def cosines(features: np.ndarray, expected: np.ndarray) -> Tensor:
    return torch.cosine_similarity(torch.from_numpy(features).double(), torch.from_numpy(expected).double())


@pytest.mark.parametrize("settings", [{}, {"compile": "on"}, {"decoder": "nvjpeg"}, {"compile": "on", "batch_size": 7}])
@pytest.mark.parametrize("model", ["test_vit", "test_resnet"])
def test_features_are_those_of_the_cpu(
    model: str, settings: dict[str, Any], tiny_join: Path, tiny_weights: Path, other_weights: Path,
    each_precision: Accelerator, tmp_path: Path,
) -> None:  # fmt: skip
    backbone = load_backbone(model, tiny_weights if model == "test_vit" else other_weights)
    expected = np.asarray(read_features(tiny_join / "shapes" / "features" / backbone.name).features)
    features, manifest = extracted(backbone, tiny_join, tmp_path / "table", each_precision, **settings)
    assert manifest.compute is not None
    assert manifest.compute.device == "cuda"
    assert manifest.compute.compiled == ("compile" in settings)
    least = 0.999 if each_precision.mixed_precision == "no" else 0.99
    assert cosines(features, expected).min() > (0.98 if "decoder" in settings else least)


def test_the_gpu_extracts_the_same_bits_again(
    tiny_shapes: Path, tiny_backbone: Backbone, gpu: Accelerator, tmp_path: Path
) -> None:
    first, _ = extracted(tiny_backbone, tiny_shapes, tmp_path / "first", gpu)
    again, _ = extracted(tiny_backbone, tiny_shapes, tmp_path / "again", gpu)
    np.testing.assert_array_equal(first, again)


# --- training --------------------------------------------------------------------------------------------------------


def scores_of(name: str, config: Any, device: torch.device) -> Scores:
    train, test = toy_splits()
    method = GENERATIVE.get(name) or BASELINES.get(name) or find_method(name, DCRGANConfig())
    model = method.train(train.to(device), config, seed=0)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {device.type}
    return evaluate(model, test.to(device))


@pytest.mark.parametrize("name", [*GENERATIVE, *(name for name in BASELINES if name != "supervised")])
def test_every_method_learns_on_the_gpu_as_on_the_cpu(name: str) -> None:
    config = small(name)
    there = scores_of(name, config, GPU)
    assert there.acc_zsl > 2 / UNSEEN
    assert there.ausuc > scores_of(name, config, torch.device("cpu")).ausuc - 0.25  # other draws


@pytest.mark.parametrize("name", ["f-CLSWGAN", "TF-VAEGAN", "dcrgan"])
def test_kills_on_the_gpu_leave_the_same_model(name: str, tmp_path: Path) -> None:
    """Random numbers of the GPU are in the checkpoints.  Sums may be added in another order."""
    method = GENERATIVE.get(name) or find_method(name, ALL_STAGES)
    config = tiny(name) if name in GENERATIVE else method.configured(ALL_STAGES)
    train = toy_splits()[0].to(GPU)
    whole = Journal(tmp_path / "whole" / "metrics.jsonl", run="r", seconds=1e9)
    expected = method.train(train, config, seed=3, log=whole).state_dict()
    model, kills = train_through_kills(
        lambda log: method.train(train, config, seed=3, log=log), tmp_path / "killed" / "metrics.jsonl", most=4
    )
    assert kills >= 2
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-4)


def test_the_memory_of_the_gpu_is_told() -> None:
    cost = stopwatch()
    kept = torch.ones(1 << 30, dtype=torch.int8, device=GPU)
    memory = cost().memory
    assert memory is not None
    assert memory >= len(kept)


# --- the commands ----------------------------------------------------------------------------------------------------


def launched(script: str, *words: str | Path, launcher: tuple[str, ...] = ()) -> str:
    """Start a script without the environment that keeps tests on the CPU, and return what it says."""
    kept_off = ("ACCELERATE_USE_CPU", "OMP_NUM_THREADS")
    environment = {key: value for key, value in os.environ.items() if key not in kept_off}
    start = launcher or ("-m", "accelerate.commands.launch", "--num_processes", "1")
    command = [sys.executable, *start, str(SCRIPTS / script), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def data(tiny_shapes: Path, tmp_path: Path) -> Path:
    """A `--data` folder with the shards of the tiny benchmark."""
    shutil.copytree(tiny_shapes, tmp_path / "data", ignore=shutil.ignore_patterns("features"))
    return tmp_path / "data"


@pytest.mark.parametrize("launcher", [(), ("-m", "torch.distributed.run", "--nproc-per-node", "1")])
def test_photos_become_scores_on_the_gpu(
    launcher: tuple[str, ...], data: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    places = ("--data", data)
    said = launched("extract.py", *places, "--backbone", "test_vit", "--weights", tiny_weights, launcher=launcher)
    assert "72 images x 64" in said
    assert ", precision bf16, " in said
    table = next((data / "shapes" / "features").iterdir()).name
    compute = read_features(data / "shapes" / "features" / table).manifest.compute
    assert compute is not None
    assert compute.threads == available_cores()  # which decode; the launcher says 1
    runs = (*places, "--runs", tmp_path / "runs", "--backbone", table)
    launched("train_dcrgan.py", *runs, "--method", "dcrgan", "--seeds", "0", "1", "--name", "run", *SHORT,
             launcher=launcher)  # fmt: skip
    photo = next((data / "shapes" / "raw" / "images").glob("*/*.jpg"))
    said = launched("predict.py", photo, "--run", tmp_path / "runs" / "run", "--weights", tiny_weights)
    assert ".jpg" in said


@pytest.mark.parametrize("precision", ["bf16", "fp16", "no"])
def test_a_backbone_is_tuned_on_the_gpu(precision: str, data: Path, other_weights: Path, tmp_path: Path) -> None:
    flags = ["--config.image-size", "32", "--config.epochs", "2", "--config.batch-size", "8", "--skip-verdict"]
    launched("finetune.py", "--data", data, "--runs", tmp_path / "runs", "--backbone", "test_resnet", "--weights",
             other_weights, "--precision", precision, "--name", "tuned", *flags)  # fmt: skip
    weights = tmp_path / "runs" / "tuned" / "weights.safetensors"
    assert "72 images" in launched("extract.py", "--data", data, "--backbone", "test_resnet", "--weights", weights)
