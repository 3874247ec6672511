"""TensorBoard and W&B show what metrics.jsonl holds, each step once, whatever was killed in between."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import accelerate.tracking
import numpy as np
import pytest
from accelerate import Accelerator
from killed_trainings import Killed, Killing
from tiny_configs import ALL_STAGES, TINY
from toy import toy_splits
from toy_runs import FACTS, NO_GAMMA

from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.experiments.run import run_seeds
from zsl.features.split import TrainSplit
from zsl.scores.model import Calibrated
from zsl.training import trackers
from zsl.training.log import Log
from zsl.training.trackers import LogWith, Tracker, check_tracker, open_tracker

WATCHED: tuple[tuple[str, LogWith | None], ...] = (("watched", "tensorboard"), ("unwatched", None))
Scalars = list[tuple[str, int, float]]  # tag, step, value


def events(folder: Path) -> Scalars:
    """All scalars of the event files in a folder, as TensorBoard itself reads them."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra tensorboard)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return [(tag, e.step, e.value) for tag in accumulator.Tags()["scalars"] for e in accumulator.Scalars(tag)]


def lines(path: Path) -> Scalars:
    """The terms of a metrics.jsonl in fp32, which event files hold."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        (f"{entry['stage']}/{name}", entry["step"], float(np.float32(value)))
        for entry in entries
        for name, value in entry.items()
        if name not in ("stage", "step", "seed")
    ]


def train(split: TrainSplit, seed: int, log: Log) -> Calibrated:
    return Calibrated(train_dcrgan(split, TINY, seed=seed, log=log), 0.0, split.seen)


def test_the_event_files_hold_what_the_log_holds(tmp_path: Path, accelerator: Accelerator) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra tensorboard)")
    results = [
        run_seeds(
            train, *toy_splits(), (0, 1), tmp_path / name, FACTS, NO_GAMMA, accelerator, log_with=log_with
        ).as_json
        for name, log_with in WATCHED
    ]
    assert results[0] == results[1]
    assert not (tmp_path / "unwatched" / "tensorboard").exists()
    for seed in (0, 1):
        expected = lines(tmp_path / "watched" / f"seed-{seed}" / "metrics.jsonl")
        assert len(expected) > 10
        assert sorted(events(tmp_path / "watched" / "tensorboard" / f"seed-{seed}")) == sorted(expected)


def test_kills_repeat_no_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra tensorboard)")
    split, _ = toy_splits()
    path = tmp_path / "seed-0" / "metrics.jsonl"
    for after in (5, 9, 3, 10**6):
        with open_tracker("tensorboard", tmp_path, "seed-0") as tracker:
            journal = Killing(path, after=after)
            journal.tracker = tracker
            try:
                train_dcrgan(split, ALL_STAGES, seed=0, log=journal)
            except Killed:
                continue
    found = events(tmp_path / "tensorboard" / "seed-0")
    assert max(Counter((tag, step) for tag, step, _ in found).values()) == 1
    assert sorted(found) == sorted(lines(path))


class Fake:
    """A tracker of Accelerate that remembers what it gets."""

    def __init__(self, project: str = "", **settings: Any) -> None:
        self.name, self.tracker, self.settings = "wandb", self, settings
        self.logged: list[dict[str, Any]] = []
        self.metrics: list[tuple[str, str]] = []
        self.is_finished = False

    def define_metric(self, name: str, *, step_metric: str) -> None:
        self.metrics.append((name, step_metric))

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        assert step is None  # W&B refuses a step below an earlier one, and each stage begins at 0
        self.logged.append(values)

    def finish(self) -> None:
        self.is_finished = True


def test_wandb_gets_each_step_once_on_the_axis_of_its_stage() -> None:
    fake = Fake()
    track = Tracker(fake)
    for stage, step in (("SRN", 0), ("SRN", 10), ("SRN", 10), ("DCR-GAN", 0)):
        track(stage, step, {"loss": 1.0})
    assert [tuple(values.items()) for values in fake.logged] == [
        (("SRN/loss", 1.0), ("SRN/step", 0)), (("SRN/loss", 1.0), ("SRN/step", 10)),
        (("DCR-GAN/loss", 1.0), ("DCR-GAN/step", 0)),
    ]  # fmt: skip
    assert fake.metrics == [("SRN/*", "SRN/step"), ("DCR-GAN/*", "DCR-GAN/step")]


@pytest.mark.parametrize(
    ("mode", "expected"), [(None, "offline"), ("", "offline"), ("online", "online"), ("disabled", "disabled")]
)
def test_wandb_is_offline_unless_the_user_says_otherwise(
    mode: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Fake] = []

    def make(project: str, **settings: Any) -> Fake:
        made.append(Fake(project, **settings))
        return made[0]

    monkeypatch.setattr(accelerate.tracking, "WandBTracker", make)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if mode is not None:
        monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(KeyboardInterrupt), open_tracker("wandb", tmp_path, "seed-3"):
        raise KeyboardInterrupt
    assert made[0].settings["mode"] == expected
    assert made[0].settings["name"] == f"{tmp_path.name}/seed-3"
    assert made[0].is_finished


def test_an_absent_package_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    check_tracker(None)
    with pytest.raises(ValueError, match=r"--log-with wandb needs the package wandb.*zsl-dcrgan\[wandb\]"):
        check_tracker("wandb")
