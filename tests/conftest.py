"""Data that several test files share: the official files where they exist, a tiny drawn benchmark, its features."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import timm
import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from backbones import Backbone, load_backbone
from shards import read_index
from zsl.common.compute import make_accelerator
from zsl.common.config import override
from zsl.datasets.pack import make_shards
from zsl.datasets.places import features_folder, shards_folder
from zsl.datasets.shapes import ShapesConfig, write_shapes
from zsl.dcrgan.config import DCRGANConfig
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.load import load_splits
from zsl.features.split import split_features
from zsl.features.table import read_features
from zsl.predict.encoders import open_backbones
from zsl.predict.predictor import load_predictor
from zsl.predict.reader import Reader

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TINY_SHAPES = ShapesConfig(seen_classes=6, unseen_classes=3, images_per_class=8, image_size=64)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM as they were before the test; importing a script changes what they do."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """One thread for the test and for all its fixtures, whatever a script of an earlier test left.

    Bits and manifests depend on their number.  A millisecond's work is not worth sharing out among cores that others
    use too.
    """
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The official split files and some CUB photos: $ZSL_SHARED_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ZSL_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"official files are not at {folder}; ZSL_SHARED_DATA=DIR says where they are")
    return folder


@pytest.fixture(scope="session")
def accelerator() -> Accelerator:
    """One CPU process in fp32; Accelerate keeps one state a process, so all tests share this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "1")
        accelerator = make_accelerator("no")
    torch.set_num_threads(1)  # it took all cores
    return accelerator


@pytest.fixture(scope="session")
def tiny_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `--data` folder with 72 drawn photos of 6 seen and 3 unseen classes, packed into one shard.  Do not write."""
    data = tmp_path_factory.mktemp("data")
    write_shapes(data / "shapes" / "raw", TINY_SHAPES)
    make_shards("shapes", data)
    return data


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of timm's `test_vit` (D = 64) in a safetensors file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model("test_vit", pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def tiny_backbone(tiny_weights: Path) -> Backbone:
    """An encoder of a millisecond an image."""
    return load_backbone("test_vit", tiny_weights)


@pytest.fixture(scope="session")
def tiny_features(tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator) -> Path:
    """The folder of the feature table of `tiny_shapes` and `tiny_backbone`.  Do not write."""
    shards = shards_folder(tiny_shapes, "shapes")
    out = features_folder(tiny_shapes, "shapes", tiny_backbone.name)
    extract_features(tiny_backbone, shards, read_index(shards), out, accelerator, ExtractSettings(batch_size=16))
    return out


@pytest.fixture(scope="session")
def other_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of timm's `test_resnet`, the second part."""
    path = tmp_path_factory.mktemp("weights") / "other.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def tiny_join(
    tiny_shapes: Path,
    tiny_features: Path,
    other_weights: Path,
    accelerator: Accelerator,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A `--data` folder with `tiny_shapes` and the tables of two backbones.  Do not write."""
    data = tmp_path_factory.mktemp("joined")
    for part in ("shards", "splits", "raw"):
        shutil.copytree(tiny_shapes / "shapes" / part, data / "shapes" / part)
    shutil.copytree(tiny_features, data / "shapes" / "features" / tiny_features.name)
    backbone = load_backbone("test_resnet", other_weights)
    shards, out = shards_folder(data, "shapes"), features_folder(data, "shapes", backbone.name)
    extract_features(backbone, shards, read_index(shards), out, accelerator, ExtractSettings(batch_size=16))
    return data


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium here; on Debian: apt-get install -y --no-install-recommends chromium")
    with playwright.sync_playwright() as driver:
        # The pages are our own files; Chromium's sandbox does not start where the tests run as root.
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def tiny_run(
    tiny_shapes: Path, tiny_features: Path, accelerator: Accelerator, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run of two seeds on `tiny_features`, discriminants and γ as in CUB's recipe.  Do not write."""
    table = read_features(tiny_features)
    splits = load_splits("shapes", tiny_shapes, table)
    train, test = split_features(table, splits)
    config = override(
        DCRGANConfig(),
        {
            "feature_power": 0.5, "attribute_power": 0.5,
            "metric.steps": 20, "srn.steps": 20, "gan.steps": 5, "gan.hidden_dim": 32, "gan.shortcut_ridge": 0.3,
            "regressors.hidden_dim": 16, "classifiers.fit": "discriminant",
            "classifiers.images_per_unseen_class": 10,
        },
    )  # fmt: skip
    data = Experiment(table=table, splits=splits, train=train, test=test, seeds=(0, 1), accelerator=accelerator)
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    data.honest(find_method("dcrgan", config), config, folder, gamma=1.5)
    return folder


@pytest.fixture(scope="session")
def tiny_reader(tiny_run: Path, tiny_weights: Path, accelerator: Accelerator) -> Reader:
    """What `predict.py --run` opens for `tiny_run`."""
    predictor = load_predictor(tiny_run)
    backbones = open_backbones(predictor, tiny_run, [tiny_weights])
    return Reader(predictor=predictor, backbones=backbones, accelerator=accelerator)
