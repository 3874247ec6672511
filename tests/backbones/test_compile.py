"""Compiled encoders: on a GPU a replay of kernels that writes over its last output, on a CPU constants for weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones import EncodeOptions, compile_backbone, load_backbone


class Replay:
    """What `torch.compile(…, mode="reduce-overhead")` gives on a GPU: every call writes its output to one place."""

    def __init__(self, encoder: nn.Module, **options: Any) -> None:
        self.encoder, self.options = encoder, options
        self.output = torch.empty(0)

    def __call__(self, images: Tensor) -> Tensor:
        features = self.encoder(images)
        self.output = features if self.output.shape != features.shape else self.output.copy_(features)
        return self.output


def test_an_image_and_its_mirror_image_are_averaged_though_a_replay_writes_over_its_output(
    other_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_backbone("test_resnet", other_weights, EncodeOptions(flip=True))
    images = [
        torch.randint(0, 256, (2, 3, *backbone.transform.size), dtype=torch.uint8, generator=torch.Generator())
        for _ in range(2)
    ]
    images[1] = images[1].flip(0)
    monkeypatch.setattr(torch, "compile", Replay)
    replayed = compile_backbone(backbone, "cuda")
    assert replayed.encoder.encoder.options == {"mode": "reduce-overhead"}
    with torch.inference_mode():
        features = [replayed.encode(batch) for batch in images]  # the first features stay as they are
        for batch, result in zip(images, features, strict=True):
            torch.testing.assert_close(result, backbone.encode(batch), rtol=0, atol=0)


def test_on_a_cpu_the_compiler_may_take_weights_for_constants(
    other_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", Replay)
    compiled = compile_backbone(load_backbone("test_resnet", other_weights))
    assert compiled.encoder.options == {"options": {"freezing": True}}
