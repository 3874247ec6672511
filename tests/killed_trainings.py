"""Trainings whose process ends again and again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from zsl.training.journal import Journal


class Killed(Exception):
    """The process ends here."""


class Killing(Journal):
    """A Journal whose process ends after some steps of whatever stage, before or after they were checkpointed."""

    def __init__(self, path: Path, after: int) -> None:
        super().__init__(path, run="r", seconds=0.0)
        self.left = after

    def steps(
        self, stage: str, count: int, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
    ) -> Iterator[int]:
        for step in super().steps(stage, count, modules, optimizers):
            if self.left == 0:
                raise Killed
            self.left -= 1
            yield step


def train_through_kills(train: Callable[[Journal], Any], path: Path, most: int) -> tuple[Any, int]:
    """Train with a journal at `path`, at most `most` steps between two kills; return model and number of kills."""
    chance, kills = random.Random(0), 0
    while True:
        try:
            return train(Killing(path, after=chance.randint(0, most))), kills
        except Killed:
            kills += 1
