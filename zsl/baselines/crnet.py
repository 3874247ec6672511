"""CRNet (Zhang & Shi 2019): experts map attributes to anchors, and a relation network compares these with features."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, one_hot

from zsl.baselines.batches import BatchConfig
from zsl.baselines.compatibility import FeatureKind, SemanticKind, prepare_attributes
from zsl.baselines.networks import NetworkCompatibility, fit_network
from zsl.common.ranges import Count, NotNegative, Positive
from zsl.features.class_statistics import kmeans
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage

ROWS = 64  # images whose pairs with all classes are in memory at once


@dataclass(frozen=True, kw_only=True)
class CRNetConfig(BatchConfig):
    """The settings of CRNet.

    The modules are the paper's.  Its number of experts and its training are public nowhere, so they are ours; folds
    choose the experts and the rate.  The scale of the inputs is ours, too: features are standardised, and attributes
    have the length √A.  With shorter ones anchors are too small beside features, and the network answers by chance.
    """

    steps: Count = 2000
    batch_size: Count = 64
    lr: Positive = 1e-4
    weight_decay: NotNegative = 5e-6
    experts: Count = 3  # K, at most one for each seen class
    hidden_dim: Count = 512  # hidden units of the relation network
    features: FeatureKind = "standardised"
    attributes: SemanticKind = "centred"


class Cooperation(nn.Module):
    """The anchor f(a) = Σ_k ReLU(W_k (a - κ_k) + b_k): each expert k starts from its own centre κ_k."""

    centres: Tensor  # κ [K, A]

    def __init__(self, centres: Tensor, anchor_dim: int) -> None:
        super().__init__()
        self.register_buffer("centres", centres)
        self.experts = nn.ModuleList(nn.Linear(centres.shape[1], anchor_dim) for _ in centres)

    def forward(self, attributes: Tensor) -> Tensor:
        """Map attributes [C, A] to anchors [C, E]."""
        responses = [expert(attributes - centre) for expert, centre in zip(self.experts, self.centres, strict=True)]
        return torch.stack(responses).relu().sum(0)


class Relation(nn.Module):
    """The score w ReLU(W [x; f(a)] + b) + c of each pair; its sigmoid is the paper's relation score r(x, a).

    W [x; f(a)] is a sum of a part of the image and a part of the class.  So the pairs cost only the ReLU and w.
    """

    def __init__(self, feature_dim: int, cooperation: Cooperation, hidden_dim: int) -> None:
        super().__init__()
        self.cooperation = cooperation
        self.hidden = nn.Linear(2 * feature_dim, hidden_dim)  # an anchor is as long as a feature
        self.out = nn.Linear(hidden_dim, 1)

    def forward(self, inputs: Tensor, attributes: Tensor) -> Tensor:
        """Map inputs [N, D] and attributes [C, A] to scores [N, C]."""
        of_feature, of_anchor = self.hidden.weight.split(inputs.shape[1], dim=1)
        images = linear(inputs, of_feature, self.hidden.bias)
        classes = linear(self.cooperation(attributes.shape[1] ** 0.5 * attributes), of_anchor)
        return torch.cat([self.out((some[:, None] + classes).relu()).squeeze(2) for some in images.split(ROWS)])


def relation_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean over images of Σ_c (sigmoid(score of c) - [c = y])², the squared error of the relation scores.

    scores: [B, S].  targets: true columns y [B].
    """
    return (scores.sigmoid() - one_hot(targets, scores.shape[1])).square().sum(dim=1).mean()


@stage
def train_crnet(train: TrainSplit, config: CRNetConfig, *, log: Log = silent) -> NetworkCompatibility:
    """Fit experts and relation network on trainval features and the attributes of seen classes."""
    train = prepare_attributes(train, config.attributes)
    seen, feature_dim = train.attributes[train.seen], train.features.shape[1]
    centres = seen.shape[1] ** 0.5 * kmeans(seen, min(config.experts, len(seen)))
    network = Relation(feature_dim, Cooperation(centres, feature_dim), config.hidden_dim)
    return fit_network(train, network, relation_loss, config, config.features, "CRNet", log)


METHOD = Method(
    name="crnet",
    steps=one_step(train_crnet),
    config=CRNetConfig(),
    rounds=(candidates(*(CRNetConfig(experts=k, lr=lr) for lr, k in product((1e-4, 5e-5, 2e-4), (3, 1)))),),
    budget=6,  # a training takes half a minute
    citation="Zhang, Shi: Co-Representation Network for Generalized Zero-Shot Learning, ICML 2019",
)
