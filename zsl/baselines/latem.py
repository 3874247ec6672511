"""LATEM (Xian et al. 2016): several bilinear scores, of which the highest counts for an image and a class."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from zsl.baselines.compatibility import FeatureKind, RankingConfig, prepare_attributes
from zsl.baselines.devise import devise_loss
from zsl.baselines.networks import NetworkCompatibility, fit_network
from zsl.common.ranges import Count
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class LATEMConfig(RankingConfig):
    """The settings of LATEM; with one map it is DeViSE.

    The paper's SGD draws one wrong class for each image.  Here the loss sums over all of them, as its expectation does.
    """

    maps: Count = 4  # K, 2 to 16 in the paper


class LatentMaps(nn.Module):
    """The score max_i x W_i a (eq. 2 of the paper).

    Equal maps would stay equal, because they have equal gradients.  So each starts from random numbers.  These are
    small, because what training leaves of them is noise in the scores of unseen classes.
    """

    def __init__(self, feature_dim: int, attribute_dim: int, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(maps, feature_dim, attribute_dim) * 0.1 / feature_dim**0.5)

    def forward(self, inputs: Tensor, attributes: Tensor) -> Tensor:
        """Map inputs [N, D] and attributes [C, A] to scores [N, C]."""
        return (inputs @ (self.weight @ attributes.T)).amax(dim=0)


@stage
def train_latem(train: TrainSplit, config: LATEMConfig, *, log: Log = silent) -> NetworkCompatibility:
    """Fit the maps on trainval features and the attributes of seen classes, by the pairwise ranking loss."""
    train = prepare_attributes(train, config.attributes)
    network = LatentMaps(train.features.shape[1], train.attributes.shape[1], config.maps)

    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        return devise_loss(scores, targets, config.margin)

    return fit_network(train, network, loss, config, config.features, "LATEM", log)


KINDS: tuple[FeatureKind, ...] = ("given", "centred")

METHOD = Method(
    name="latem",
    steps=one_step(train_latem),
    config=LATEMConfig(),
    rounds=(
        candidates(
            *(
                LATEMConfig(maps=maps, weight_decay=weight_decay, features=features)
                for features, maps, weight_decay in product(KINDS, (2, 4, 8), (1e-2, 1e-1))
            ),
        ),
    ),
    citation="Xian, Akata, Sharma, Nguyen, Hein, Schiele: Latent Embeddings for Zero-shot Classification, CVPR 2016",
)
