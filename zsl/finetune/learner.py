"""The network that is tuned, with all that an update of its weights needs: optimizer, schedule, moving average."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from backbones.finetune import Finetuner, distance_to, make_optimizer, without_classifier
from backbones.finetune_config import FinetuneConfig
from zsl.common.determinism import seeded
from zsl.finetune.batches import Batches
from zsl.training.checkpoint import Stateful


@dataclass(frozen=True, kw_only=True, eq=False)
class Learner:
    """One network in training.  Its tensors change with each update; which objects it consists of does not."""

    config: FinetuneConfig
    accelerator: Accelerator
    tuner: Finetuner
    origin: dict[str, Tensor]  # the encoder's tensors before training
    optimizer: torch.optim.Optimizer
    schedule: CosineLRScheduler  # of the step size: it rises, then falls along a cosine
    ema: ModelEmaV3 | None  # the moving average of the network, if one is kept
    wrapped: Any  # `tuner` as Accelerate wraps it: DDP where there are several processes
    stepper: Any  # `optimizer` as Accelerate wraps it

    @classmethod
    def of(cls, model: Any, batches: Batches, accelerator: Accelerator) -> Learner:
        """A copy of timm's `model` without classifier, and new heads."""
        config = batches.config
        tuner = _tuner(model, batches).to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        origin = {name: tensor.clone() for name, tensor in tuner.encoder.state_dict().items()}
        optimizer = make_optimizer(tuner, config)
        steps = config.epochs * batches.steps_an_epoch
        schedule = CosineLRScheduler(
            optimizer, t_initial=steps, t_in_epochs=False, warmup_t=round(config.warmup * steps),
            warmup_prefix=False, lr_min=0.0,
        )  # fmt: skip
        ema = ModelEmaV3(tuner, decay=config.ema, use_warmup=True) if config.ema else None
        if accelerator.scaler is not None:  # of fp16 gradients; all trainings of a process share it
            accelerator.scaler.load_state_dict(GradScaler(accelerator.device.type).state_dict())
        wrapped, stepper = accelerator.prepare(tuner, optimizer)
        return cls(
            config=config, accelerator=accelerator, tuner=tuner, origin=origin, optimizer=optimizer,
            schedule=schedule, ema=ema, wrapped=wrapped, stepper=stepper,
        )  # fmt: skip

    @property
    def averaged(self) -> Finetuner:
        """The network whose weights are kept: the moving average, or the network itself."""
        return self.tuner if self.ema is None else self.ema.module

    @property
    def parts(self) -> dict[str, Stateful]:
        """The parts of a checkpoint.  The schedule has no state: the number of the step is enough."""
        parts: dict[str, Stateful] = {"network": self.tuner, "optimizer": self.optimizer}
        if self.accelerator.scaler is not None:
            parts["scaler"] = self.accelerator.scaler
        if self.ema is not None:
            parts["average"] = self.ema.module
        return parts

    def update(self, batches: Batches, step: int) -> float:
        """One optimizer step on the batch of `step`, over all processes; gives its mean loss.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        self.schedule.step_update(step)
        self.wrapped.train()
        loss = float(self.accelerator.reduce(self._backward(batches, step), "sum"))
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss of update {step} is {loss}; try a lower --config.lr")
        if self.config.clip:
            self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.config.clip)
        self.stepper.step()
        self.stepper.zero_grad()
        if self.ema is not None:
            self.ema.update(self.tuner, step + 1)
        return loss

    def release(self) -> None:
        """Let Accelerate forget this network; else it keeps every one that it has prepared."""
        self.accelerator.free_memory(self.wrapped, self.stepper)

    def _backward(self, batches: Batches, step: int) -> Tensor:
        """Add the gradients of this process's parts of a batch; gives their share of the batch's mean loss."""
        total = torch.zeros((), device=self.accelerator.device)
        own = batches.parts_of(self.accelerator.process_index)
        for part in own:
            images, targets = batches.part(step, part, self.accelerator.device)
            torch.manual_seed(batches.dropout_seed(step, part))
            last = part == own[-1]
            # The processes exchange gradients once an update.
            with nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                loss, _ = self.wrapped(images, targets)
                mean = loss / self.config.batch_size
                # DDP takes the mean over processes; the loss is a mean over the whole batch.
                self.accelerator.backward(mean * self.accelerator.num_processes + (self._pull() if last else 0.0))
            total += mean.detach()
        return total

    def _pull(self) -> Tensor | float:
        """The loss term that draws weights back to where they started (L2-SP, Li et al. 2018)."""
        return self.config.l2sp * distance_to(self.tuner.encoder, self.origin) if self.config.l2sp else 0.0


def _tuner(model: Any, batches: Batches) -> Finetuner:
    """The network on the CPU; its heads are drawn from the seed."""
    encoder = without_classifier(model)
    with seeded(batches.config.seed, "heads", torch.device("cpu")):
        with torch.no_grad():
            dim = encoder.eval()(torch.zeros(1, 3, *batches.transform.size)).shape[1]
        return Finetuner(encoder, dim, batches.data.attributes, batches.config)
