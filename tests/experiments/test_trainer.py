"""What a Trainer shares: equal numbers, seed and part of a configuration; nothing else, and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import toy_splits

from zsl.experiments.trainer import CAPACITY, Trainer
from zsl.features.split import TrainSplit
from zsl.training.log import Log, LogInMemory
from zsl.training.method import Method, Step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """A part for each of two steps."""

    first: int = 0
    second: int = 0


@stage
def read_all(train: TrainSplit) -> torch.Tensor:
    return train.features.sum()


class Counted:
    """A method of two steps that notes each of their runs."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.method = Method(
            name="counted",
            config=Config(),
            steps=(
                Step(name="counted 1", run=self.first, part=lambda config: replace(config, second=0)),
                Step(name="counted 2", run=self.second),
            ),
        )

    def first(self, train: TrainSplit, before: None, config: Config, seed: int, log: Log) -> Any:
        self.runs.append("first")
        log("first", 0, {"loss": float(config.first)})
        return read_all(train, seed=seed), config.first

    def second(self, train: TrainSplit, before: Any, config: Config, seed: int, log: Log) -> Any:
        self.runs.append("second")
        return before, config.second


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_a_split_of_equal_numbers_shares_what_another_trained(counted: Counted) -> None:
    trainer, logs = Trainer(), (LogInMemory(), LogInMemory())
    splits = [toy_splits()[0] for _ in logs]
    assert splits[0].features.data_ptr() != splits[1].features.data_ptr()
    models = [
        trainer.model(counted.method, train, Config(), seed=0, log=log) for train, log in zip(splits, logs, strict=True)
    ]
    assert models[0] is models[1]
    assert counted.runs == ["first", "second"]
    assert trainer.trainings == 1
    assert logs[0].entries() == logs[1].entries() != []  # whoever shares says what whoever trains says
    assert [[read.stage for read in train.reads] for train in splits] == [["read_all"]] * 2


@pytest.mark.parametrize("in_folder", [True, False])
def test_who_shares_what_was_trained_without_a_log_has_its_lines_all_the_same(
    counted: Counted, in_folder: bool, tmp_path: Path
) -> None:
    """The yardstick of a fine-tuned backbone's γ may train the first seed's model."""
    train, trainer, log = toy_splits()[0], Trainer(), LogInMemory()
    first, second = counted.method.steps
    method = replace(counted.method, steps=(replace(first, resumes=first.part), second))
    trainer.model(method, train, Config(), seed=0, folder=tmp_path if in_folder else None)
    trainer.model(method, train, Config(), seed=0, log=log)
    assert counted.runs == ["first", "second"]
    assert log.entries() == [{"stage": "first", "step": 0, "loss": 0.0}]


def test_steps_of_equal_configurations_have_checkpoints_of_their_own(counted: Counted, tmp_path: Path) -> None:
    first, second = counted.method.steps
    for name in "ab":
        step = replace(first, name=name, resumes=first.part)
        Trainer().model(
            replace(counted.method, steps=(step, second)), toy_splits()[0], Config(), seed=0, folder=tmp_path
        )
    assert len(list(tmp_path.glob("steps-*"))) == 2


def one_number(name: str) -> Callable[[TrainSplit], TrainSplit]:
    def change(train: TrainSplit) -> TrainSplit:
        values = getattr(train, name).clone()
        values.view(-1)[7] = values.view(-1)[8] + 1 if values.is_floating_point() else values.view(-1)[-1]
        return replace(train, **{name: values})

    return change


@pytest.mark.parametrize(
    "change", [*(one_number(name) for name in ("features", "labels", "attributes", "seen")),
               lambda train: replace(train, seen=train.unseen, unseen=train.seen)],
)  # fmt: skip
def test_one_number_that_differs_is_another_training(
    counted: Counted, change: Callable[[TrainSplit], TrainSplit]
) -> None:
    train, trainer = toy_splits()[0], Trainer()
    for split in (train, change(train), train):
        trainer.model(counted.method, split, Config(), seed=0)
    assert counted.runs == ["first", "second"] * 2
    assert trainer.trainings == 2


def test_another_seed_trains_anew_and_another_part_only_the_steps_that_have_it(counted: Counted) -> None:
    train, trainer = toy_splits()[0], Trainer()

    def runs(config: Config, seed: int = 0) -> list[str]:
        counted.runs.clear()
        (_, first), second = trainer.model(counted.method, train, config, seed=seed)
        assert (first, second) == (config.first, config.second)
        return list(counted.runs)

    assert runs(Config()) == ["first", "second"]
    assert runs(Config(second=1)) == ["second"]
    assert runs(Config(first=1)) == ["first", "second"]
    assert runs(Config(), seed=1) == ["first", "second"]
    assert runs(Config()) == runs(Config(second=1)) == runs(Config(first=1)) == []


def test_a_step_shares_nothing_whose_step_before_was_another_one(counted: Counted) -> None:
    """Even where its own part of the configuration says nothing of the step before."""
    train, trainer = toy_splits()[0], Trainer()
    first, second = counted.method.steps
    method = replace(counted.method, steps=(first, replace(second, part=lambda config: replace(config, first=0))))
    for number in range(2):
        (_, of_first), _ = trainer.model(method, train, Config(first=number), seed=0)
        assert of_first == number
    trainer.model(method, train, Config(), seed=0)
    assert counted.runs == ["first", "second"] * 2


def test_the_oldest_is_forgotten(counted: Counted) -> None:
    """Each may hold a copy of all features."""
    train, trainer = toy_splits()[0], Trainer()
    for first in range(CAPACITY + 1):
        trainer.model(counted.method, train, Config(first=first), seed=0)
    counted.runs.clear()
    trainer.model(counted.method, train, Config(first=1), seed=0)
    assert counted.runs == []
    trainer.model(counted.method, train, Config(first=0), seed=0)
    assert counted.runs == ["first", "second"]
