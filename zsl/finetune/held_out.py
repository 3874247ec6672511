"""Early stopping: scores on the held-out share of the training images, and the weights of the best epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from backbones import Transform
from backbones.finetune import Finetuner
from zsl.finetune.data import TuningData, whole_images
from zsl.training.checkpoint import StateDict


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """The images on which training is watched; none are, where the number of epochs is decided already."""

    data: TuningData
    indices: Tensor  # [n] of rows of `data`
    transform: Transform

    def __len__(self) -> int:
        return len(self.indices)

    @torch.no_grad()
    def scores(self, tuner: Finetuner, accelerator: Accelerator) -> dict[str, float]:
        """Cross-entropy and accuracy of `tuner`; every process gets the same."""
        tuner.eval()
        images = whole_images(self.data, self.indices, self.transform, accelerator.device)
        with accelerator.autocast():
            logits = torch.cat([tuner.logits(tuner.encoder(some).float()) for some in images])
        labels = self.data.labels[self.indices].to(logits.device)
        right = (logits.argmax(1) == labels).float().mean()
        # All processes stop by the first one's numbers, or some would wait for others that have stopped.
        loss, accuracy = broadcast(torch.stack([cross_entropy(logits, labels), right])).tolist()
        return {"held_out_loss": loss, "held_out_accuracy": accuracy}


@dataclass(kw_only=True)
class Progress:
    """How far training is, beside its tensors; a part of each checkpoint."""

    step: int = 0  # updates done
    losses: list[float] = field(default_factory=list)  # mean loss of each update's batch
    epochs: list[dict[str, float]] = field(default_factory=list)  # training and held-out loss, held-out accuracy
    best_epoch: int = 0  # 1-based
    trained_images: int = 0
    seconds: float = 0.0

    def note_update(self, loss: float, images: int) -> None:
        """Count one update on a batch of so many images."""
        self.losses.append(loss)
        self.step += 1
        self.trained_images += images

    def note_epoch(self, scores: dict[str, float]) -> bool:
        """Keep an epoch's scores; gives whether it is the best one, which the last is where nothing is held out."""
        self.epochs.append(scores)
        losses = [epoch.get("held_out_loss", 0.0) for epoch in self.epochs]
        if losses[-1] != min(losses):
            return False
        self.best_epoch = len(losses)
        return True

    def is_over(self, patience: int) -> bool:
        """Whether so many epochs have passed since the best one."""
        return len(self.epochs) - self.best_epoch >= patience

    def state_dict(self) -> StateDict:
        """All fields."""
        return asdict(self)

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over what `state_dict` gave."""
        for name, value in state_dict.items():
            setattr(self, name, value)


@dataclass(kw_only=True, eq=False)
class BestWeights:
    """The encoder's tensors after the best epoch so far; before the first epoch those that training starts from."""

    tensors: dict[str, Tensor]

    def keep(self, encoder: nn.Module) -> None:
        """Take a copy of the encoder's tensors."""
        self.tensors = {name: tensor.detach().clone() for name, tensor in encoder.state_dict().items()}

    def state_dict(self) -> StateDict:
        """The tensors."""
        return dict(self.tensors)

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over what `state_dict` gave, on the device of the tensors before."""
        self.tensors = {name: tensor.to(self.tensors[name].device) for name, tensor in state_dict.items()}
