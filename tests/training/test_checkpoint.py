"""Checkpoints: what is read is what was written; a training that goes on ends at the same bits; others' are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined] # public, undeclared
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from zsl.training.checkpoint import RandomState, load_checkpoint, save_checkpoint


class Content:
    """A part whose state is any value."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.value = state_dict["value"]


def round_trip(value: Any, path: Path) -> Any:
    save_checkpoint(path, {"part": Content(value)}, run="r", step=3)
    part = Content()
    load_checkpoint(path, "r").restore({"part": part})
    return part.value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0.1 + 0.2,
        "γ",
        (0.9, 0.999),
        [1, [2, (3,)], {}],
        {0: {"betas": (0.5, 0.9)}, 1: {"lr": 1e-3}, "1": None},
        {"losses": [float("inf"), 1e-300]},
    ],
)
def test_numbers_texts_and_containers_come_back_as_they_were(value: Any, tmp_path: Path) -> None:
    again = round_trip(value, tmp_path / "c.safetensors")
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_tensors_come_back_with_their_type_and_their_order_in_memory(dtype: torch.dtype, tmp_path: Path) -> None:
    whole = torch.randint(0, 2, (2, 3, 4, 5), generator=torch.Generator().manual_seed(0)).to(dtype)
    value = [whole, whole, whole[:1], whole.to(memory_format=torch.channels_last), torch.tensor(1).to(dtype)]
    again = round_trip(value, tmp_path / "c.safetensors")
    for read, written in zip(again, value, strict=True):
        assert torch.equal(read, written)
        assert (read.dtype, read.stride()) == (written.dtype, written.stride())


class Training:
    """A small network with all that a fine-tuning has: an optimizer, a moving average, a scaler, noise."""

    def __init__(self, optimizer: str) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
        self.module = self.module.to(memory_format=torch.channels_last)
        self.optimizer = create_optimizer_v2(self.module, opt=optimizer, lr=0.01, weight_decay=0.01)
        self.ema = ModelEmaV3(self.module, decay=0.9)
        self.scaler = GradScaler("cpu", growth_interval=2)

    @property
    def parts(self) -> dict[str, Any]:
        return {
            "module": self.module, "optimizer": self.optimizer, "ema": self.ema.module, "scaler": self.scaler,
            "random": RandomState(),
        }  # fmt: skip

    def step(self) -> None:
        loss = self.module(torch.randn(4, 3, 8, 8)).square().mean()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.ema.update(self.module)

    def tensors(self) -> dict[str, Tensor]:
        average = {f"ema.{name}": tensor for name, tensor in self.ema.module.state_dict().items()}
        return {name: tensor.clone() for name, tensor in (self.module.state_dict() | average).items()}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "momentum", "lamb", "adafactor", "lookahead_radam", "rmsproptf"])
def test_a_training_that_goes_on_ends_at_the_bits_of_one_that_was_not_stopped(optimizer: str, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        whole = Training(optimizer)
        for step in range(9):
            whole.step()
            if step == 3:
                save_checkpoint(path, whole.parts, run="r", step=step + 1)
        torch.manual_seed(2)
        again = Training(optimizer)
        checkpoint = load_checkpoint(path, "r")
        checkpoint.restore(again.parts)
        assert again.scaler.get_scale() != GradScaler("cpu").get_scale()
        for _ in range(checkpoint.step, 9):
            again.step()
    assert again.tensors().keys() == whole.tensors().keys()
    assert all(torch.equal(again.tensors()[name], tensor) for name, tensor in whole.tensors().items())
    assert again.scaler.state_dict() == whole.scaler.state_dict()


def test_a_write_that_fails_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"part": Content(1)}, run="r", step=1)
    with pytest.raises(TypeError, match=r"part/value/1: a checkpoint cannot hold a function"):
        save_checkpoint(path, {"part": Content([2, lambda: None])}, run="r", step=2)
    assert load_checkpoint(path, "r").states == {"part": {"value": 1}}
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_checkpoint_of_another_run_version_or_training_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"part": Content(1)}, run="r", step=1)
    with pytest.raises(ValueError, match=rf"c\.safetensors is of another run .*delete {tmp_path}, or .*--name"):
        load_checkpoint(path, "other")
    with pytest.raises(ValueError, match=r"holds the state of part; needed is that of part, ema; delete "):
        load_checkpoint(path, "r").restore({"part": Content(), "ema": Content()})
    save_file({"module/m/weight": torch.zeros(1)}, path, metadata={"step": "1", "run": "r"})  # as version 1 wrote it
    with pytest.raises(ValueError, match=r"is no checkpoint of this version; delete "):
        load_checkpoint(path, "r")
    path.write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"c\.safetensors is broken \(.*\); delete this file; the steps "):
        load_checkpoint(path, "r")
