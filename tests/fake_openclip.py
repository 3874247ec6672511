"""A stand-in for the package open_clip: a model of a millisecond with random weights, and a tokenizer of letters."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

MODEL, DIM, SIDE, LENGTH = "Tiny-B-32", 12, 32, 40


class FakeTower(nn.Module):
    image_size = SIDE

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.project = nn.Linear(16, DIM, bias=False)
        self.preprocess_cfg = {
            "size": SIDE,
            "mean": (0.5, 0.4, 0.3),
            "std": (0.2, 0.3, 0.4),
            "interpolation": "bicubic",
        }

    def forward(self, images: Tensor) -> Tensor:
        return self.project(self.patches(images).relu().mean((2, 3)))


class FakeCLIP(nn.Module):
    def __init__(self, quick_gelu: bool = False) -> None:
        super().__init__()
        self.quick_gelu = quick_gelu
        self.visual = FakeTower()
        self.letters = nn.Embedding(256, DIM)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self.letters(tokens).mul(torch.arange(1, LENGTH + 1)[:, None]).mean(1)


def tokenize(texts: list[str]) -> Tensor:
    """The first letters of each text as numbers."""
    return torch.tensor([[ord(letter) % 256 for letter in text.ljust(LENGTH)[:LENGTH]] for text in texts])


def get_pretrained_cfg(name: str, tag: str) -> dict[str, Any]:
    """What open_clip knows of published weights; seed 7 was trained with QuickGELU."""
    return {} if tag == "absent" else {"quick_gelu": tag == "seed7"}


def create_model(name: str, pretrained: str | None = None, force_quick_gelu: bool = False) -> FakeCLIP:
    """Random weights; a tag is their seed."""
    if pretrained == "absent":
        raise OSError("no network")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0 if pretrained is None else int(pretrained.removeprefix("seed")))
        return FakeCLIP(force_quick_gelu)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in into the place of open_clip."""
    module: Any = ModuleType("open_clip")
    module.__spec__ = ModuleSpec("open_clip", None)
    module.list_models = lambda: [MODEL, "Tiny-L-14"]
    module.create_model, module.get_tokenizer = create_model, lambda name: tokenize
    module.get_pretrained_cfg = get_pretrained_cfg
    monkeypatch.setitem(sys.modules, "open_clip", module)
