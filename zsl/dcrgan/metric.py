"""Stage 1: the metric network, trained with a triplet loss (eq. 1 to 3), and its class prototypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zsl.common.ranges import Count, Decay, NotNegative, Positive, Whole, check_ranges
from zsl.dcrgan.losses import batch_hard_triplet_loss, class_means, triplet_loss
from zsl.dcrgan.networks import MetricNet
from zsl.features.scaling import FeatureScaler
from zsl.features.split import TrainSplit
from zsl.training.log import Log, Watch, silent
from zsl.training.stage import penalised_adam, stage


@dataclass(frozen=True, kw_only=True)
class MetricConfig:
    """Metric network; the reference code trains 100,000 steps, on these features the loss is flat long before."""

    modalities: Literal["both", "features"] = "both"  # MMTL (eq. 2), or the traditional TL on features alone (eq. 1)
    mining: Literal["all", "hard"] = "all"  # triplets of a batch
    representation_dim: Count = 20  # R
    margin: Positive = 1.0
    weight_decay: NotNegative = 5e-5  # factor of ‖θ_M‖² in eq. 3
    steps: Whole = 400
    batch_size: Count = 64
    lr: Positive = 1e-4
    betas: tuple[Decay, Decay] = (0.5, 0.9)

    def __post_init__(self) -> None:
        check_ranges(self)


@stage
def train_metric(train: TrainSplit, config: MetricConfig, *, log: Log = silent) -> MetricNet:
    """Train M on batches of trainval features [B, D] beside their class's attributes [B, A]."""
    attribute_dim = train.attributes.shape[1] if config.modalities == "both" else 0
    metric = MetricNet(train.features.shape[1], attribute_dim, config.representation_dim).to(train.device)
    loss_of = triplet_loss if config.mining == "all" else batch_hard_triplet_loss
    optimizer = penalised_adam(metric, config.weight_decay, lr=config.lr, betas=config.betas)
    watch = Watch(log, "metric", steps=config.steps, every=100, device=train.device)
    for step in log.steps("metric", config.steps, {"metric": metric, "watch": watch}, {"metric": optimizer}):
        batch = torch.randint(len(train.features), (config.batch_size,), device=train.device)
        embeddings = metric(train.features[batch], train.attributes[train.labels[batch]])
        loss = loss_of(embeddings, train.labels[batch], config.margin)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch(step, {"triplet": loss})
    return metric.eval()


@torch.no_grad()
def class_prototypes(metric: MetricNet, train: TrainSplit, *, unit: bool = False, batch_size: int = 4096) -> Tensor:
    """Mean of M over each seen class's images (inside the norm of eq. 4): [S, R].

    unit: first scale each dimension of M to [0, 1] over all training images, as the reference code does; its division
    by the largest value, which is then 1, is left out.
    """
    embeddings = torch.cat(
        [
            metric(features, train.attributes[labels])
            for features, labels in zip(train.features.split(batch_size), train.labels.split(batch_size), strict=True)
        ]
    )
    if unit:
        embeddings = FeatureScaler.fit(embeddings)(embeddings)
    return class_means(embeddings, train.seen_labels, len(train.seen))


def rescale(prototypes: Tensor, std: float) -> Tensor:
    """Prototypes [S, R] shifted and scaled as a whole, to mean 0 and standard deviation `std`.

    Ratios of distances stay.  The triplet loss leaves the scale open: as they come, prototypes are some 20 times as
    long as the attributes beside them in the generator's input, which then hardly listens to the attributes.
    """
    return (prototypes - prototypes.mean()) * (std / prototypes.std())
