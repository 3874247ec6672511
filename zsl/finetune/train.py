"""The training loop: updates in one seeded order, early stopping on a held-out share, exact resume."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from backbones import Transform
from backbones.finetune import Finetuner, make_optimizer, without_classifier
from backbones.finetune_config import FinetuneConfig
from zsl.common.progress import progress_bar
from zsl.finetune.batches import Batches
from zsl.finetune.data import TuningData
from zsl.finetune.held_out import BestWeights, HeldOut, Progress
from zsl.finetune.learner import Learner
from zsl.finetune.probe import probe_heads
from zsl.training.checkpoint import Stateful, load_checkpoint, save_checkpoint
from zsl.training.trackers import Tracker

CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class TunedEncoder:
    """The encoder's tensors after the best epoch, and the way there."""

    state: dict[str, Tensor]
    progress: Progress


def finetune(
    model: Any, data: TuningData, transform: Transform, config: FinetuneConfig, accelerator: Accelerator, folder: Path,
    *, key: str, epochs: int | None = None, checkpoint_seconds: float = 30.0, what: str = "fine-tune",
    tracker: Tracker | None = None,
) -> TunedEncoder:  # fmt: skip
    """Train a copy of timm's `model`; equal input gives equal weights, whatever was killed in between.

    epochs: hold nothing out, and train so many epochs of the same schedule on all of `data`.
    folder: a checkpoint in it is gone on from.
    key: names the run that the checkpoint has to belong to.
    what: the name of the progress bar.
    tracker: gets the loss of each update and the scores of each epoch, those before a kill, too.

    Raises:
        ValueError: the checkpoint is of another run, or the data are too few for the configuration.
        FloatingPointError: the loss is not finite.
    """
    training = Training.of(model, data, transform, config, accelerator, hold_out=epochs is None)
    path, last_save = folder / CHECKPOINT_FILE, time.monotonic()
    if path.is_file():
        load_checkpoint(path, key).restore(training.parts)
    progress, tracker = training.progress, tracker or Tracker()
    _track(tracker, progress)
    last = (config.epochs if epochs is None else epochs) * training.batches.steps_an_epoch
    with progress_bar(
        total=last * config.batch_size, initial=progress.step * config.batch_size, what=what, unit=" images",
        show=accelerator.is_main_process,
    ) as bar:  # fmt: skip
        while progress.step < last and not training.is_over:
            training.advance()
            _track(tracker, progress, progress.step - 1)
            bar.update(config.batch_size)
            bar.set_postfix(loss=f"{progress.losses[-1]:.3f}", refresh=False)
            if training.ends_epoch or time.monotonic() - last_save >= checkpoint_seconds:
                if accelerator.is_main_process:  # all processes hold the same state
                    save_checkpoint(path, training.parts, run=key, step=progress.step)
                last_save = time.monotonic()
    training.learner.release()
    return TunedEncoder(state=training.best.tensors, progress=progress)


def _track(tracker: Tracker, progress: Progress, since: int = 0) -> None:
    """Pass on the losses from update `since` on, and the scores of all epochs; the tracker passes over known ones."""
    for step, loss in enumerate(progress.losses[since:], since):
        tracker("updates", step, {"loss": loss})
    for number, scores in enumerate(progress.epochs, 1):
        tracker("epochs", number, scores)


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """One fine-tuning: what learns, from which batches, on what it is watched, and how far it is."""

    batches: Batches
    held_out: HeldOut
    learner: Learner
    progress: Progress
    best: BestWeights

    @classmethod
    def of(
        cls, model: Any, data: TuningData, transform: Transform, config: FinetuneConfig, accelerator: Accelerator, *,
        hold_out: bool,
    ) -> Training:  # fmt: skip
        """A training before its first update; without `hold_out` every epoch counts as better than the one before.

        Raises:
            ValueError: the data are less than one batch.
        """
        whole = torch.arange(len(data.rows))
        indices, held_out = data.hold_out(config.held_out, config.seed) if hold_out else (whole, whole[:0])
        batches = Batches(
            data=data, indices=indices, transform=transform, config=config, processes=accelerator.num_processes
        )
        learner = Learner.of(model, batches, accelerator)
        return cls(
            batches=batches,
            held_out=HeldOut(data=data, indices=held_out, transform=transform),
            learner=learner,
            progress=Progress(),
            best=BestWeights(tensors=learner.origin),
        )

    @property
    def ends_epoch(self) -> bool:
        """Whether the last update was the last one of an epoch."""
        return self.progress.step % self.batches.steps_an_epoch == 0

    @property
    def is_over(self) -> bool:
        """Whether early stopping ends the training."""
        return len(self.held_out) > 0 and self.progress.is_over(self.batches.config.patience)

    @property
    def parts(self) -> dict[str, Stateful]:
        """The parts of a checkpoint."""
        return {**self.learner.parts, "best": self.best, "progress": self.progress}

    def advance(self) -> None:
        """Make one update; fit the heads before the first one, and score each epoch after its last one."""
        started = time.perf_counter()
        if self.progress.step == 0:
            probe_heads(self.learner, self.batches)
        loss = self.learner.update(self.batches, self.progress.step)
        self.progress.note_update(loss, self.batches.config.batch_size)
        if self.ends_epoch:
            self._end_epoch()
        self.progress.seconds += time.perf_counter() - started

    def _end_epoch(self) -> None:
        """Note the epoch's scores, and keep its weights if it is the best one."""
        losses = self.progress.losses[-self.batches.steps_an_epoch :]
        scores = {"loss": sum(losses) / len(losses)}
        if len(self.held_out):
            scores |= self.held_out.scores(self.learner.averaged, self.learner.accelerator)
        if self.progress.note_epoch(scores):
            self.best.keep(self.learner.averaged.encoder)


def check_possible(model: Any, dim: int, config: FinetuneConfig, processes: int) -> None:
    """Refuse before photos are decoded what these processes, or timm's `model` with features of size `dim`, cannot do.

    Raises:
        ValueError: the batch cannot be shared out; the model has no such stages, step sizes or checkpoints; or there is
            no such optimizer here.
    """
    parts = processes * config.accumulation
    if config.batch_size % parts:
        raise ValueError(
            f"a batch of {config.batch_size} images cannot be dealt to {processes} processes x accumulation "
            f"{config.accumulation}; give a --config.batch-size that is a multiple of {parts}"
        )
    part = config.batch_size // parts
    if part % 2 and (config.augment.mixup or config.augment.cutmix):
        raise ValueError(
            f"mixup and cutmix need parts of an even number of images; a batch of {config.batch_size} in {parts} parts "
            f"has {part} in each"
        )
    tuner = Finetuner(without_classifier(model), dim, torch.eye(2), config)
    try:
        optimizer = make_optimizer(tuner, config)
    except Exception as error:  # each of timm's optimizers has its own way to say what it lacks
        raise ValueError(
            f"--config.optimizer {config.optimizer}: timm cannot make it here ({error}); take another "
            "one, such as adamw"
        ) from error
    if getattr(optimizer, "is_second_order", False):
        raise ValueError(
            f"--config.optimizer {config.optimizer} needs second derivatives, which are not computed; take another "
            "one, such as adamw"
        )
