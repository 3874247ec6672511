"""Stage 1: the metric network, trained with a triplet loss (eq. 1 to 3), and its class prototypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zsl.common.ranges import Count, Decay, NotNegative, Positive, Whole, check_ranges
from zsl.dcrgan.losses import batch_hard_triplet_loss, triplet_loss
from zsl.dcrgan.networks import MetricNet
from zsl.features.class_statistics import class_means
from zsl.features.scaling import FeatureScaler
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.loop import Terms, minimise
from zsl.training.stage import penalised_adam, stage


@dataclass(frozen=True, kw_only=True)
class MetricConfig:
    """The settings of the metric network.  The reference code trains 100,000 steps; the loss is flat long before."""

    modalities: Literal["both", "features"] = "both"  # both: MMTL (eq. 2); features: traditional TL (eq. 1)
    mining: Literal["all", "hard"] = "all"  # which triplets of a batch count
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
    """Train M on batches of trainval features [B, D] and the attributes of their classes [B, A]."""
    attribute_dim = train.attributes.shape[1] if config.modalities == "both" else 0
    metric = MetricNet(train.features.shape[1], attribute_dim, config.representation_dim).to(train.device)
    loss_of = triplet_loss if config.mining == "all" else batch_hard_triplet_loss
    optimizer = penalised_adam(metric, config.weight_decay, lr=config.lr, betas=config.betas)

    def loss(_: int) -> Terms:
        batch = torch.randint(len(train.features), (config.batch_size,), device=train.device)
        embeddings = metric(train.features[batch], train.attributes[train.labels[batch]])
        return {"triplet": loss_of(embeddings, train.labels[batch], config.margin)}

    minimise("metric", config.steps, metric, optimizer, loss, log, every=100)
    return metric.eval()


@torch.no_grad()
def class_prototypes(metric: MetricNet, train: TrainSplit, *, unit: bool = False, batch_size: int = 4096) -> Tensor:
    """Compute the mean of M's output over each seen class's images (inside the norm of eq. 4): [S, R].

    unit: whether each dimension of M's output is first scaled to [0, 1] over all training images, as in the reference
    code.  That code then divides by the largest value; it is 1 there, so the division is left out here.
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
    """Shift and scale all prototypes [S, R] together, to mean 0 and standard deviation `std`.

    Ratios of distances stay.  The triplet loss does not fix the scale, and prototypes are some 20 times as long as
    attributes.  Both are inputs of the generator; without this scaling it would almost ignore the attributes.
    """
    return (prototypes - prototypes.mean()) * (std / prototypes.std())
