"""Batches in one global order, which the seed alone decides: any process can compute any part of any batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backbones import Transform
from backbones.augment import augment, mix
from backbones.finetune_config import FinetuneConfig
from zsl.common.determinism import derive_seed
from zsl.finetune.data import TuningData, normalise


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """The batches of a training: each is cut into equal parts, which are dealt to the processes in turn.

    Raises:
        ValueError: the images to train on are less than one batch.
    """

    data: TuningData
    indices: Tensor  # [n] of the rows of `data` to train on
    transform: Transform
    config: FinetuneConfig
    processes: int

    def __post_init__(self) -> None:
        if self.steps_an_epoch == 0:
            raise ValueError(
                f"{len(self.indices)} training images are less than one batch of {self.config.batch_size}; give a "
                "smaller --config.batch-size"
            )

    @property
    def steps_an_epoch(self) -> int:
        """Whole batches; what is left over after them changes from epoch to epoch."""
        return len(self.indices) // self.config.batch_size

    @property
    def parts(self) -> int:
        """The number of parts of a batch."""
        return self.processes * self.config.accumulation

    def parts_of(self, process: int) -> range:
        """The parts of each batch that a process works through, by its number."""
        return range(process, self.parts, self.processes)

    def part(self, step: int, part: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Views of the photos [b, 3, H, W], normalised, and soft targets [b, S] of one part of the batch of `step`."""
        epoch, batch = divmod(step, self.steps_an_epoch)
        indices = self._rows(epoch, batch, part)
        seed, recipe = self.config.seed, self.config.augment
        views = augment(
            self.data.photos(indices), self.data.rows[indices], self.transform.size, recipe,
            seed=derive_seed(seed, "views"), epoch=epoch,
        )  # fmt: skip
        labels = self.data.labels[indices].to(device)
        mixing = (derive_seed(seed, "mixing"), step, part)
        return mix(
            normalise(views, self.transform, device), labels, len(self.data.attributes), recipe, seed=mixing
        )  # fmt: skip

    def dropout_seed(self, step: int, part: int) -> int:
        """The seed of what the network itself draws for one part of the batch of `step`."""
        return derive_seed(self.config.seed, f"dropout {step} {part}")

    def _rows(self, epoch: int, batch: int, part: int) -> Tensor:
        """Indices of one part's rows [b]."""
        order = np.random.default_rng((derive_seed(self.config.seed, "order"), epoch)).permutation(len(self.indices))
        size = self.config.batch_size // self.parts
        start = batch * self.config.batch_size + part * size
        return self.indices[torch.from_numpy(order[start : start + size])]
