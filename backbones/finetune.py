"""A timm encoder with a head over seen classes, and the loss, optimizer and step sizes of its fine-tuning."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, param_groups_layer_decay  # type: ignore[attr-defined] # public, undeclared
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

from backbones.finetune_config import FinetuneConfig

NORMS = (nn.modules.batchnorm._BatchNorm,)


class Finetuner(nn.Module):
    """An encoder with its head.  `attributes` [S, A] are those of the seen classes alone."""

    attributes: Tensor

    def __init__(self, encoder: Any, dim: int, attributes: Tensor, config: FinetuneConfig) -> None:
        """Add a head to `encoder`, a timm model without classifier, whose features have size `dim`."""
        super().__init__()
        # All classes share most of their attributes; only the difference from the mean tells them apart.
        centred = attributes - attributes.mean(0)
        self.register_buffer("attributes", centred / centred.norm(dim=1).mean())
        self.encoder = encoder
        self.config = config
        classes, width = attributes.shape
        self.head = nn.Linear(dim, classes if config.head == "linear" else width)
        self.regressor = nn.Linear(dim, width) if config.attribute_loss else None
        # In a list, so that it is no part of the module: neither its weights nor its mode ever change.
        self._frozen = [copy.deepcopy(encoder).eval().requires_grad_(False)] if config.distill else []
        for frozen in frozen_parameters(encoder, config.frozen_stages):
            frozen.requires_grad_(False)
        if config.checkpoint_gradients:
            try:
                encoder.set_grad_checkpointing(True)
            except (AssertionError, AttributeError) as error:
                raise ValueError(
                    f"checkpoint_gradients: {type(encoder).__name__} does not support it; leave it out"
                ) from error

    def train(self, mode: bool = True) -> Finetuner:
        """Set the mode as usual, but frozen batch norms and those of frozen stages keep their stored statistics."""
        super().train(mode)
        for module in self.encoder.modules():
            if isinstance(module, NORMS):
                weights = list(module.parameters(recurse=False))
                if self.config.freeze_norm or (weights and not any(weight.requires_grad for weight in weights)):
                    module.eval()
        return self

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of losses and the logits [B, S] of normalised images [B, 3, H, W] and soft targets [B, S]."""
        features = self.encoder(images)
        loss, logits = self.loss(features, targets)
        for frozen in self._frozen:
            with torch.no_grad():
                before = frozen.to(images.device)(images)
            loss = loss + self.config.distill * direction_distance(features.float(), before.float()).sum()
        return loss, logits

    def loss(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of losses and the logits [B, S] of features [B, D] and soft targets [B, S]."""
        features = features.float()
        logits = self.logits(features)
        loss = cross_entropy(logits, targets, label_smoothing=self.config.label_smoothing, reduction="sum")
        if self.regressor is not None:
            attributes = targets @ self.attributes
            error = mse_loss(self.regressor(features), attributes, reduction="none").sum()
            loss = loss + self.config.attribute_loss * error
        return loss, logits

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits [B, S] of features [B, D]."""
        if self.config.head == "linear":
            return self.head(features)
        return self.config.scale * normalize(self.head(features), dim=1) @ normalize(self.attributes, dim=1).T


def frozen_parameters(encoder: Any, stages: int | None) -> list[nn.Parameter]:
    """Return the parameters of the first `stages` groups of layers, as timm counts them: the stem, then the stages.

    stages: None is half of the groups.

    Raises:
        ValueError: no group would be left to train, or timm does not know the model's layers.
    """
    if stages == 0:
        return []
    if not hasattr(encoder, "group_matcher"):
        raise ValueError(
            f"timm does not say what the stages of {type(encoder).__name__} are; give --config.frozen-stages 0"
        )
    groups = group_parameters(encoder, encoder.group_matcher(coarse=True))
    if stages is None:
        stages = len(groups) // 2
    if stages >= len(groups):
        raise ValueError(
            f"--config.frozen-stages is {stages}, the encoder has {len(groups)} groups of layers; leave some free"
        )
    named = dict(encoder.named_parameters())
    return [named[name] for number in sorted(groups)[:stages] for name in groups[number] if name in named]


def make_optimizer(model: Finetuner, config: FinetuneConfig) -> torch.optim.Optimizer:
    """Make an optimizer with a step size for each layer, and without weight decay of biases and norms."""
    groups = param_groups_layer_decay(
        model.encoder, weight_decay=config.weight_decay, layer_decay=config.layer_decay,
        no_weight_decay_list=getattr(model.encoder, "no_weight_decay", set)(),
    )  # fmt: skip
    heads = [*model.head.parameters(), *(model.regressor.parameters() if model.regressor else ())]
    groups.append({"params": heads, "weight_decay": 0.0, "lr_scale": config.lr_head / config.lr})
    return create_optimizer_v2(groups, opt=config.optimizer, lr=config.lr, weight_decay=0.0)


def direction_distance(features: Tensor, before: Tensor) -> Tensor:
    """Squared distance [B] between the directions of features [B, D] and of the features before: 2 - 2 cos.

    It keeps what the pretrained network says of a photo (Li & Hoiem 2016 do so with outputs).
    """
    return (normalize(features, dim=1) - normalize(before, dim=1)).square().sum(1)


def distance_to(model: nn.Module, origin: Mapping[str, Tensor]) -> Tensor:
    """Half the squared distance between the free parameters of `model` and those of the same name in `origin`."""
    parts = [(p - origin[name]).square().sum() for name, p in model.named_parameters() if p.requires_grad]
    return torch.stack(parts).sum() / 2


def average(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Compute (1 - share) old + share new for each floating-point tensor of `new`; keep the others of `old`."""
    mixed = {name: tensor.clone() for name, tensor in old.items()}
    for name, tensor in new.items():
        if tensor.is_floating_point():
            mixed[name] = tensor.clone() if share == 1 else torch.lerp(old[name], tensor, share)
    return mixed


def without_classifier(model: Any) -> Any:
    """Copy a timm model without its classifier."""
    encoder = copy.deepcopy(model)
    encoder.reset_classifier(0)
    return encoder
