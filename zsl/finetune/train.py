"""The training loop: one seeded order dealt to the processes, exact resume, early stopping on a held-out share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn.functional import cross_entropy, one_hot
from torchvision.transforms.v2.functional import resize

from backbones import Transform
from backbones.augment import augment, mix
from backbones.finetune import Finetuner, distance_to, make_optimizer, without_classifier
from backbones.finetune_config import FinetuneConfig
from zsl.common.determinism import derive_seed, seeded
from zsl.common.files import atomic_path
from zsl.common.progress import progress_bar
from zsl.datasets.splits import Splits
from zsl.finetune.images import TrainImages

CHECKPOINT_FILE = "checkpoint.pt"
EVALUATION_BATCH = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class TuningData:
    """All that fine-tuning may see: photos and labels of some trainval rows, attributes of their classes alone."""

    rows: Tensor  # [N] official rows
    labels: Tensor  # [N] positions in the seen classes
    images: Tensor  # uint8, all trainval photos
    position: Tensor  # [N] where in `images` the photo of each row lies
    attributes: Tensor  # [S, A]

    @classmethod
    def of(cls, images: TrainImages, splits: Splits) -> TuningData:
        """The trainval rows of `splits`, which may be those of a validation fold."""
        position = images.position(splits.trainval_loc)
        return cls(
            rows=torch.from_numpy(splits.trainval_loc.copy()),
            labels=torch.from_numpy(np.searchsorted(splits.seen, images.labels[position])),
            images=images.sizes[0],
            position=torch.from_numpy(position),
            attributes=torch.from_numpy(splits.attributes[splits.seen].copy()),
        )

    def hold_out(self, share: float, seed: int) -> tuple[Tensor, Tensor]:
        """Positions to train on and positions held out, about `share` of each class, at least one of two or more."""
        held = []
        for label in range(len(self.attributes)):
            of_class = (self.labels == label).nonzero().flatten()
            draw = np.random.default_rng((derive_seed(seed, "held-out share"), label))
            count = min(max(1, round(share * len(of_class))), len(of_class) - 1)
            held.append(of_class[torch.from_numpy(draw.permutation(len(of_class))[:count])])
        out = torch.zeros(len(self.rows), dtype=torch.bool)
        out[torch.cat(held)] = True
        return (~out).nonzero().flatten(), out.nonzero().flatten()


@dataclass(kw_only=True)
class Progress:
    """How far training is, beside tensors; all of it is in a checkpoint."""

    step: int = 0  # updates done
    losses: list[float] = field(default_factory=list)  # mean loss of each update's batch
    epochs: list[dict[str, float]] = field(default_factory=list)  # training and held-out loss, held-out accuracy
    best_epoch: int = 0  # 1-based
    trained_images: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """The encoder's tensors after the best epoch, and the way there."""

    state: dict[str, Tensor]
    progress: Progress


def finetune(
    model: Any,
    data: TuningData,
    transform: Transform,
    config: FinetuneConfig,
    accelerator: Accelerator,
    folder: Path,
    *,
    key: str,
    epochs: int | None = None,
    checkpoint_seconds: float = 30.0,
    what: str = "fine-tune",
) -> Tuned:
    """Train a copy of timm's `model`; equal input gives equal weights, whatever was killed in between.

    With `epochs` nothing is held out: that many epochs of the same schedule on all of `data`.  A checkpoint in `folder`
    is gone on from; `key` says what it has to belong to.

    Raises:
        ValueError: the checkpoint is of another run, or the data are too few for the configuration.
        FloatingPointError: the loss is not finite.
    """
    run = _Run(model, data, transform, config, accelerator, held_out=epochs is None)
    path = folder / CHECKPOINT_FILE
    run.load(path, key)
    saved = time.monotonic()
    last = (config.epochs if epochs is None else epochs) * run.steps_an_epoch
    with progress_bar(
        total=last * config.batch_size, initial=run.progress.step * config.batch_size, what=what, unit=" images",
        show=accelerator.is_main_process,
    ) as bar:  # fmt: skip
        while run.progress.step < last and not run.is_over():
            started = time.perf_counter()
            run.update()
            bar.update(config.batch_size)
            bar.set_postfix(loss=f"{run.progress.losses[-1]:.3f}", refresh=False)
            ended = run.progress.step % run.steps_an_epoch == 0
            if ended:
                run.end_epoch()
            run.progress.seconds += time.perf_counter() - started
            if ended or time.monotonic() - saved >= checkpoint_seconds:
                run.save(path, key)
                saved = time.monotonic()
    accelerator.free_memory(run.wrapped, run.stepper)  # else it keeps every model that it has prepared
    return Tuned(state=run.best, progress=run.progress)


def check_possible(model: Any, dim: int, config: FinetuneConfig, processes: int) -> None:
    """Refuse before photos are decoded what these processes, or timm's `model` with features of size `dim`, cannot do.

    Raises:
        ValueError: the batch cannot be shared out, or the model has no such stages, step sizes or checkpoints.
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
    make_optimizer(Finetuner(without_classifier(model), dim, torch.eye(2), config), config)


class _Run:
    """What changes while training: modules, optimizer, progress, best state."""

    def __init__(
        self, model: Any, data: TuningData, transform: Transform, config: FinetuneConfig, accelerator: Accelerator,
        *, held_out: bool,
    ) -> None:  # fmt: skip
        self.data, self.transform, self.config, self.accelerator = data, transform, config, accelerator
        everything = torch.arange(len(data.rows))
        self.train, self.held = (
            data.hold_out(config.held_out, config.seed) if held_out else (everything, everything[:0])
        )
        self.parts = accelerator.num_processes * config.accumulation
        self.steps_an_epoch = len(self.train) // config.batch_size
        if self.steps_an_epoch == 0:
            raise ValueError(
                f"{len(self.train)} training images are less than one batch of {config.batch_size}; give a smaller "
                "--config.batch-size"
            )
        encoder = without_classifier(model)
        with seeded(config.seed, "heads", torch.device("cpu")):
            with torch.no_grad():
                dim = encoder.eval()(torch.zeros(1, 3, *transform.size)).shape[1]
            tuner = Finetuner(encoder, dim, data.attributes, config)
        tuner = tuner.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.origin = {name: tensor.clone() for name, tensor in tuner.encoder.state_dict().items()}
        self.progress = Progress()
        self.best = self.origin
        self.tuner: Finetuner = tuner
        self.optimizer = make_optimizer(tuner, config)
        self.schedule = CosineLRScheduler(
            self.optimizer, t_initial=config.epochs * self.steps_an_epoch, t_in_epochs=False,
            warmup_t=round(config.warmup * config.epochs * self.steps_an_epoch), warmup_prefix=False, lr_min=0.0,
        )  # fmt: skip
        self.ema = ModelEmaV3(tuner, decay=config.ema, use_warmup=True) if config.ema else None
        self.scaler = accelerator.scaler  # of fp16 gradients; all runs of a process share it
        if self.scaler is not None:
            self.scaler.load_state_dict(GradScaler(accelerator.device.type).state_dict())
        self.wrapped, self.stepper = accelerator.prepare(tuner, self.optimizer)

    def is_over(self) -> bool:
        """Whether early stopping says so."""
        return len(self.held) > 0 and len(self.progress.epochs) - self.progress.best_epoch >= self.config.patience

    def update(self) -> None:
        """One optimizer step on the next batch of the global order."""
        progress, config, device = self.progress, self.config, self.accelerator.device
        if progress.step == 0:
            self._probe()
        self.schedule.step_update(progress.step)
        self.wrapped.train()
        total = torch.zeros((), device=device)
        mine = range(self.accelerator.process_index, self.parts, self.accelerator.num_processes)
        for number, part in enumerate(mine):
            images, targets = self._part(part)
            last = number == config.accumulation - 1
            with nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                loss, _ = self.wrapped(images, targets)
                # DDP takes the mean over processes; the loss is a mean over the whole batch.
                mean = loss / config.batch_size
                pull = config.l2sp * distance_to(self.tuner.encoder, self.origin) if config.l2sp and last else 0.0
                self.accelerator.backward(mean * self.accelerator.num_processes + pull)
            total += mean.detach()
        progress.losses.append(float(self.accelerator.reduce(total, "sum")))
        if not np.isfinite(progress.losses[-1]):
            raise FloatingPointError(
                f"the loss of update {progress.step} is {progress.losses[-1]}; try a lower --config.lr"
            )
        if config.clip:
            self.accelerator.clip_grad_norm_(self.wrapped.parameters(), config.clip)
        self.stepper.step()
        self.stepper.zero_grad()
        progress.step += 1
        progress.trained_images += config.batch_size
        if self.ema is not None:
            self.ema.update(self.tuner, progress.step)

    def _part(self, part: int) -> tuple[Tensor, Tensor]:
        """Normalised images and soft targets of one part of the next batch: equal whichever process computes it."""
        config, step = self.config, self.progress.step
        epoch, at = divmod(step, self.steps_an_epoch)
        order = np.random.default_rng((derive_seed(config.seed, "order"), epoch)).permutation(len(self.train))
        size = config.batch_size // self.parts
        start = at * config.batch_size + part * size
        chosen = self.train[torch.from_numpy(order[start : start + size])]
        images = augment(
            self.data.images[self.data.position[chosen]], self.data.rows[chosen], self.transform.size,
            config.augment, seed=derive_seed(config.seed, "views"), epoch=epoch,
        )  # fmt: skip
        labels = self.data.labels[chosen].to(self.accelerator.device)
        torch.manual_seed(derive_seed(config.seed, f"dropout {step} {part}"))
        return mix(
            self._normalise(images), labels, len(self.data.attributes), config.augment,
            seed=(derive_seed(config.seed, "mixing"), step, part),
        )  # fmt: skip

    def _normalise(self, images: Tensor) -> Tensor:
        on_device = images.to(self.accelerator.device)
        return self.transform.normalise(on_device).contiguous(memory_format=torch.channels_last)

    def _probe(self) -> None:
        """Fit the heads to the encoder as it is: with random heads the first updates would spoil features."""
        if self.config.probe_steps == 0:
            return
        self.tuner.eval()
        with torch.no_grad():
            features = torch.cat([self.tuner.encoder(images).float() for images in self._whole_images(self.train)])
        targets = one_hot(self.data.labels[self.train], len(self.data.attributes)).float().to(features.device)
        heads = [p for name, p in self.tuner.named_parameters() if not name.startswith("encoder.")]
        optimizer = torch.optim.Adam(heads, lr=self.config.lr_probe)
        for _ in range(self.config.probe_steps):
            loss, _ = self.tuner.loss(features, targets)
            optimizer.zero_grad()
            (loss / len(features)).backward()
            optimizer.step()
        for head in heads:  # GPUs may differ in last bits, and nothing would make them equal again
            head.data.copy_(broadcast(head.detach().clone()))
        self.stepper.zero_grad()
        if self.ema is not None:
            self.ema.set(self.tuner)

    def _whole_images(self, chosen: Tensor) -> Iterator[Tensor]:
        """Normalised photos, uncropped as in extraction, in batches."""
        for some in chosen.split(EVALUATION_BATCH):
            images = resize(self.data.images[self.data.position[some]], list(self.transform.size), antialias=True)
            yield self._normalise(images)

    def end_epoch(self) -> None:
        """Note how the epoch went, and keep the weights if the held-out share (or nobody) says that they are best."""
        losses = self.progress.losses[-self.steps_an_epoch :]
        facts = {"loss": sum(losses) / len(losses)}
        if len(self.held):
            facts |= self._held_out_scores()
        self.progress.epochs.append(facts)
        known = [epoch.get("held_out_loss", 0.0) for epoch in self.progress.epochs]
        if len(self.held) == 0 or known[-1] == min(known):
            self.progress.best_epoch = len(known)
            tuner = self.ema.module if self.ema is not None else self.tuner
            self.best = {name: tensor.detach().clone() for name, tensor in tuner.encoder.state_dict().items()}

    @torch.no_grad()
    def _held_out_scores(self) -> dict[str, float]:
        tuner = (self.ema.module if self.ema is not None else self.tuner).eval()
        with self.accelerator.autocast():
            logits = torch.cat(
                [tuner.logits(tuner.encoder(images).float()) for images in self._whole_images(self.held)]
            )
        labels = self.data.labels[self.held].to(logits.device)
        right = (logits.argmax(1) == labels).float().mean()
        # All processes stop by the first one's numbers, or some would wait for others that have stopped.
        loss, accuracy = broadcast(torch.stack([cross_entropy(logits, labels), right])).tolist()
        return {"held_out_loss": loss, "held_out_accuracy": accuracy}

    def save(self, path: Path, key: str) -> None:
        """Write a checkpoint, whole or not at all; all processes hold the same, the first one writes."""
        if not self.accelerator.is_main_process:
            return
        content = {
            "key": key,
            "model": self.tuner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler is not None else None,
            "ema": self.ema.module.state_dict() if self.ema is not None else None,
            "best": self.best,
            "progress": asdict(self.progress),
        }
        with atomic_path(path) as temporary:
            torch.save(content, temporary)

    def load(self, path: Path, key: str) -> None:
        """Go on from the checkpoint at `path`, if there is one.

        Raises:
            ValueError: it is of another run.
        """
        if not path.is_file():
            return
        content: Mapping[str, Any] = torch.load(path, map_location=self.accelerator.device, weights_only=True)
        if content["key"] != key:
            raise ValueError(
                f"{path} is the checkpoint of a run with another configuration, other shards or other photos; give "
                "this run another --name, or delete that folder"
            )
        self.tuner.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.scaler is not None:
            self.scaler.load_state_dict(content["scaler"])
        if self.ema is not None:
            self.ema.module.load_state_dict(content["ema"])
        self.best = content["best"]
        self.progress = Progress(**content["progress"])
