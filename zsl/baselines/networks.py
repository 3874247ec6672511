"""Methods whose score of an image and a class is a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from zsl.baselines.batches import BatchConfig, fit_batches
from zsl.baselines.compatibility import ClassScorer, FeatureKind, FeatureMap
from zsl.features.split import TrainSplit
from zsl.training.log import Log

ScoreLoss = Callable[[Tensor, Tensor], Tensor]  # scores [B, S], targets [B]


class NetworkCompatibility(ClassScorer):
    """The score F(x, y) of a network that maps inputs [N, D] and attributes [C, A] to scores [N, C]."""

    attributes: Tensor  # [S + U, A]

    def __init__(self, train: TrainSplit, prepare: FeatureMap, network: nn.Module) -> None:
        super().__init__(train)
        self.prepare = prepare
        self.network = network
        self.register_buffer("attributes", train.attributes[self.gzsl_classes])
        self.eval().requires_grad_(False)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""
        return self.network(self.prepare(features), self.attributes)


def fit_network(
    train: TrainSplit,
    network: nn.Module,
    loss: ScoreLoss,
    config: BatchConfig,
    features: FeatureKind,
    name: str,
    log: Log,
    *,
    negatives: Tensor | None = None,
) -> NetworkCompatibility:
    """Minimise the mean of `loss` of the seen classes' scores [B, S] and targets [B] by the network's weights.

    negatives: ids of classes [n] without images that get scores, too, after the seen classes: [B, S + n].
    """
    prepare = FeatureMap(train.features, features)
    network = network.to(train.device)
    classes = train.seen if negatives is None else torch.cat([train.seen, negatives])
    attributes = train.attributes[classes]
    inputs, targets = prepare(train.features), train.seen_labels
    fit_batches(inputs, targets, network, lambda x, y: loss(network(x, attributes), y), config, name, log)
    return NetworkCompatibility(train, prepare, network)


class CosineScores(nn.Module):
    """The score scale · cos(x, P(a)), where the network P maps attributes to a prototype of the class's features."""

    def __init__(self, prototypes: nn.Module, scale: float) -> None:
        super().__init__()
        self.prototypes = prototypes
        self.scale = scale

    def forward(self, inputs: Tensor, attributes: Tensor) -> Tensor:
        """Map inputs [N, D] and attributes [C, A] to scores [N, C]."""
        return self.scale * normalize(inputs) @ normalize(self.prototypes(attributes)).T
