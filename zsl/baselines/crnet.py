"""CRNet (Zhang & Shi 2019): experts map attributes to anchors, and a relation network compares these with features."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn
from torch.nn.functional import one_hot

from zsl.baselines.batches import BatchConfig
from zsl.baselines.compatibility import FeatureKind, SemanticKind, prepare_attributes
from zsl.baselines.networks import NetworkCompatibility, fit_network
from zsl.common.ranges import Count, NotNegative, Positive
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class CRNetConfig(BatchConfig):
    """The settings of CRNet.

    The modules are the paper's.  Their sizes, the number of experts and the training are our choice.
    """

    batch_size: Count = 64
    lr: Positive = 1e-3
    weight_decay: NotNegative = 5e-5
    experts: Count = 3  # K, at most one for each seen class
    anchor_dim: Count = 512  # E, the length of an anchor
    hidden_dim: Count = 512  # hidden units of the relation network
    features: FeatureKind = "given"
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
    """The score r(x, a) = w ReLU(W [x; f(a)] + b) + c of each pair; its sigmoid is the paper's relation score.

    W [x; f(a)] is a sum of a part of the image and a part of the class.  So the pairs cost only the ReLU and w.
    """

    def __init__(self, feature_dim: int, cooperation: Cooperation, anchor_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.cooperation = cooperation
        self.of_image = nn.Linear(feature_dim, hidden_dim)
        self.of_class = nn.Linear(anchor_dim, hidden_dim, bias=False)
        self.out = nn.Linear(hidden_dim, 1)

    def forward(self, inputs: Tensor, attributes: Tensor) -> Tensor:
        """Map inputs [N, D] and attributes [C, A] to scores [N, C]."""
        of_class = self.of_class(self.cooperation(attributes))
        return self.out((self.of_image(inputs)[:, None] + of_class).relu()).squeeze(2)


def relation_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean over images of Σ_c (sigmoid(r(x, c)) - [c = y])², the squared error of the relation scores.

    scores: [B, S].  targets: true columns y [B].
    """
    return (scores.sigmoid() - one_hot(targets, scores.shape[1])).square().sum(dim=1).mean()


def cluster_centres(attributes: Tensor, count: int) -> Tensor:
    """Compute the centres [K, A] of attributes [S, A] by k-means, from a start that torch's random state decides."""
    seed, points = int(torch.randint(2**31 - 1, ())), attributes.double().cpu().numpy()
    centres, _ = kmeans2(points, min(count, len(points)), iter=100, minit="++", rng=seed)
    return torch.from_numpy(centres).to(attributes)


@stage
def train_crnet(train: TrainSplit, config: CRNetConfig, *, log: Log = silent) -> NetworkCompatibility:
    """Fit experts and relation network on trainval features and the attributes of seen classes."""
    train = prepare_attributes(train, config.attributes)
    cooperation = Cooperation(cluster_centres(train.attributes[train.seen], config.experts), config.anchor_dim)
    network = Relation(train.features.shape[1], cooperation, config.anchor_dim, config.hidden_dim)
    return fit_network(train, network, relation_loss, config, config.features, "CRNet", log)


FEATURES: tuple[FeatureKind, ...] = ("given", "centred")

METHOD = Method(
    name="crnet",
    steps=one_step(train_crnet),
    config=CRNetConfig(),
    rounds=(
        candidates(
            *(
                CRNetConfig(experts=experts, lr=lr, features=features)
                for features, experts, lr in product(FEATURES, (1, 3, 6), (3e-4, 1e-3))
            ),
        ),
    ),
    goal="acc_zsl",
    citation="Zhang, Shi: Co-Representation Network for Generalized Zero-Shot Learning, ICML 2019",
)
