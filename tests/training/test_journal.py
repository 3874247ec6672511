"""Checkpoints: a run that is killed anywhere and goes on ends at the bits of one that was not; others' are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_trainings import train_through_kills
from tiny_configs import ALL_STAGES
from torch import nn
from toy import toy_splits

from zsl.baselines.registry import BASELINES
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.gan import GANConfig
from zsl.experiments.methods import find_method
from zsl.training.journal import Journal, StepsBehind


def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(("name", "most"), [("dcrgan", 4), ("f-CLSWGAN", 5), ("ale", 9), ("devise", 9)])
def test_kills_at_twenty_random_moments_leave_the_same_model_and_log(name: str, most: int, tmp_path: Path) -> None:
    """At most so many steps between two kills: that is 20 of them over all stages."""
    train, _ = toy_splits()
    method = find_method(name, ALL_STAGES)
    config = method.configured(method.config)
    if name in BASELINES:
        config = replace(config, steps=100)
    if name == "f-CLSWGAN":
        config = replace(config, gan=replace(config.gan, steps=30))
    whole = Journal(tmp_path / "whole" / "metrics.jsonl", run="r", seconds=1e9)
    expected = state(method.train(train, config, seed=3, log=whole))
    path = tmp_path / "killed" / "metrics.jsonl"
    model, kills = train_through_kills(lambda log: method.train(train, config, seed=3, log=log), path, most)
    made = state(model)
    assert kills >= 20
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[name], expected[name]) for name in expected)
    assert path.read_text() == whole.path.read_text()


@pytest.mark.parametrize("name", ["dap", "supervised"])
def test_a_kill_after_a_fit_that_is_one_step_leaves_the_same_model_and_log(name: str, tmp_path: Path) -> None:
    train, _ = toy_splits()
    method = find_method(name, ALL_STAGES)
    made = []
    for _ in range(2):  # the second time as after a kill before the model was scored
        made.append(state(method.train(train, method.config, seed=0, log=Journal(tmp_path / "metrics.jsonl"))))
    assert made[0].keys() == made[1].keys()
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train, _ = toy_splits()
    train_dcrgan(train, ALL_STAGES, seed=0, log=Journal(tmp_path / "metrics.jsonl", run="one"))
    with pytest.raises(ValueError, match=r"metric\.safetensors is of another run .*delete .*checkpoints, or .*--name"):
        train_dcrgan(train, ALL_STAGES, seed=0, log=Journal(tmp_path / "metrics.jsonl", run="other"))


def test_more_steps_of_a_stage_go_on_from_fewer(tmp_path: Path) -> None:
    train, _ = toy_splits()
    few = DCRGANConfig(**{**vars(ALL_STAGES), "gan": GANConfig(**{**vars(ALL_STAGES.gan), "steps": 3})})
    train_dcrgan(train, few, seed=0, log=Journal(tmp_path / "metrics.jsonl"))
    for head in (tmp_path / "checkpoints").glob("*ZSL*"):  # the heads stand on other generators
        head.unlink()
    continued = state(train_dcrgan(train, ALL_STAGES, seed=0, log=Journal(tmp_path / "metrics.jsonl")))
    expected = state(train_dcrgan(train, ALL_STAGES, seed=0))
    assert all(torch.equal(continued[name], expected[name]) for name in expected)
    with pytest.raises(StepsBehind, match="has 8 steps behind it, asked for are 3"):
        train_dcrgan(train, few, seed=0, log=Journal(tmp_path / "metrics.jsonl"))


def test_a_stage_that_has_no_checkpoints_leaves_the_lines_of_its_last_start_alone(tmp_path: Path) -> None:
    """A user's own method may log without `steps`, and then begins anew after a kill."""
    path = tmp_path / "metrics.jsonl"
    first = Journal(path)
    first("metric", 0, {"loss": 3.0})
    for step in range(2):
        first("mine", step, {"loss": 1.0})
    path.write_text(path.read_text() + '{"stage": "mi')
    again = Journal(path)
    again.repeat([{"stage": "metric", "step": 0, "loss": 3.0}, {"stage": "metric", "step": 100, "loss": 2.0}])
    for step in range(2):
        again("mine", step, {"loss": 1.0})
    expected = [("metric", 0), ("metric", 100), ("mine", 0), ("mine", 1)]
    assert [(entry["stage"], entry["step"]) for entry in again.entries()] == expected
    assert len(path.read_text().splitlines()) == len(expected)


def test_a_line_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"stage": "metric", "step": step, "loss": 1.0} for step in (0, 100)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"stage": "metr')
    journal = Journal(path)
    module = nn.Linear(1, 1)
    optimizer = torch.optim.Adam(module.parameters())
    assert list(journal.steps("SRN", 2, {"m": module}, {"m": optimizer})) == [0, 1]
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 100]
    list(journal.steps("metric", 1, {"m": module}, {"m": optimizer}))
    assert path.read_text() == ""  # the metric stage had no checkpoint, so that it began anew
    journal.clear()
    assert not (tmp_path / "checkpoints").exists()
