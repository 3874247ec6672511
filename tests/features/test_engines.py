"""Other engines: PyTorch's features up to rounding, the same promises about rows and kills, refusals in words."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from tiny import assert_same_rows, pack
from torch import Tensor, nn

import backbones.engines
from backbones import Backbone, EncodeOptions, load_backbone
from backbones.engines import PACKAGES, Engine, check_engine, engine_versions
from shards import ShardIndex
from zsl.features.encoder import compare, drawn_images, engine_encoder
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.parts import Parts
from zsl.features.table import read_features

CPU = torch.device("cpu")


@pytest.fixture(params=["openvino", "onnxruntime"])
def engine(request: pytest.FixtureRequest) -> Engine:
    absent = [name for name in PACKAGES[request.param] if find_spec(name) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed (extra engines)")
    return cast(Engine, request.param)


@pytest.fixture
def extract(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> Callable[[str, Engine], Path]:
    """Extract 23 photos in three shards into a folder of `tmp_path`; no shard is a multiple of the batch."""
    index: ShardIndex = pack(tiny_shapes, tmp_path / "shards", count=23)

    def run(name: str, engine: Engine) -> Path:
        settings = ExtractSettings(batch_size=4, engine=engine)
        extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / name, accelerator, settings)
        return tmp_path / name

    return run


def test_features_are_near_those_of_pytorch_and_the_manifest_says_how_near(
    extract: Callable[[str, Engine], Path], engine: Engine, tiny_features: Path
) -> None:
    table = read_features(extract("out", engine))
    assert_same_rows(table, read_features(tiny_features))
    assert table.manifest.engine == engine
    assert engine in table.manifest.versions
    assert table.manifest.comparison is not None
    assert 0 <= table.manifest.comparison.largest_difference < 1e-4
    assert table.manifest.comparison.smallest_cosine > 1 - 1e-6


def test_a_table_made_with_a_kill_has_equal_bits_and_no_other_engine_continues_it(
    extract: Callable[[str, Engine], Path], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, shards = Parts.write, list[str]()

    def killed(parts: Parts, shard: Any, part: Any) -> None:
        write(parts, shard, part)
        shards.append(shard.file)
        if len(shards) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Parts, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        extract("out", engine)
    extract("out", engine)
    assert len(shards) == len(set(shards)) == 3  # the part of before the kill was kept
    resumed, undisturbed = (read_features(extract(name, engine)).features for name in ("out", "undisturbed"))
    np.testing.assert_array_equal(resumed, undisturbed)
    with pytest.raises(ValueError, match=f"engine = '{engine}', asked for is None"):
        extract("out", "torch")


def test_crops_and_mirror_images_are_averaged_as_before(
    engine: Engine, other_weights: Path, accelerator: Accelerator
) -> None:
    backbone = load_backbone("test_resnet", other_weights, EncodeOptions(image_size=96, crops=5, flip=True))
    images = drawn_images(backbone, 2)
    with torch.inference_mode():
        expected = backbone.encode(images)
    features = engine_encoder(backbone, accelerator, 3, engine).encode(images)
    assert features.shape == expected.shape
    assert compare(features, expected).largest_difference < 1e-4


class Untraceable(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("the graph depends on the photo\nand a long trace")


def test_a_model_that_the_engine_does_not_take_is_named_with_the_reason(
    engine: Engine, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    before = logging.getLogger().level
    broken = replace(tiny_backbone, encoder=Untraceable())
    with pytest.raises(ValueError, match=f"--engine {engine} does not take {tiny_backbone.name}: .*--engine torch"):
        engine_encoder(broken, accelerator, 2, engine)
    assert logging.getLogger().level == before  # later warnings are still seen


def test_an_engine_may_be_installed_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(backbones.engines, "version", lacks)  # onnxruntime-gpu has the module onnxruntime
    for module in PACKAGES["onnxruntime"]:
        monkeypatch.setitem(sys.modules, module, cast(ModuleType, SimpleNamespace(__version__=f"1 of {module}")))
    assert engine_versions("onnxruntime") == {"onnx": "1 of onnx", "onnxruntime": "1 of onnxruntime"}


def test_an_engine_that_computes_something_else_is_refused(
    tiny_backbone: Backbone, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(engine: Engine, encoder: nn.Module, *_: Any) -> Callable[[Tensor], Tensor]:
        return lambda images: encoder(images).roll(1, dims=1)

    monkeypatch.setattr(backbones.engines, "load_engine", load)
    with pytest.raises(ValueError, match="--engine openvino computes other features of"):
        engine_encoder(tiny_backbone, accelerator, 2, "openvino")


@pytest.mark.parametrize(
    ("engine", "precision", "device", "layers", "message"),
    [
        ("onnxruntime", "bf16", "cpu", (), "onnxruntime does not compute in bf16; add --precision no"),
        ("openvino", "fp16", "cpu", (), "openvino does not compute in fp16"),
        ("openvino", "no", "cuda", (), "computes on the CPU, this process on cuda"),
        ("openvino", "no", "cpu", ("norm",), "--fp32-layers mixes precisions"),
    ],
)
def test_what_an_engine_cannot_do_is_refused(
    engine: Engine, precision: str, device: str, layers: tuple[str, ...], message: str,
    tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(backbones.engines, "find_spec", lambda _: "installed")
    backbone = replace(tiny_backbone, options=EncodeOptions(fp32_layers=layers))
    with pytest.raises(ValueError, match=message):
        check_engine(engine, backbone, precision, torch.device(device))
    check_engine("torch", backbone, precision, torch.device(device))


def test_an_absent_package_is_named_with_the_extra_that_has_it(
    extract: Callable[[str, Engine], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(backbones.engines, "find_spec", lambda _: None)
    with pytest.raises(
        ValueError, match=r"needs onnx and onnxruntime, not installed here; pip install '\.\[engines\]'"
    ):
        extract("out", "onnxruntime")
    assert not (tmp_path / "out").exists()


def test_compiling_is_for_pytorch_only() -> None:
    with pytest.raises(ValueError, match="--compile on is for --engine torch"):
        ExtractSettings(engine="openvino", compile="on")
