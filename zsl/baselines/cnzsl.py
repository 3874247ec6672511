"""CNZSL (Skorokhodov & Elhoseiny 2021): prototypes by a network whose hidden units are normalised over the classes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from zsl.baselines.batches import BatchConfig
from zsl.baselines.compatibility import FeatureKind
from zsl.baselines.networks import CosineScores, NetworkCompatibility, fit_network
from zsl.common.ranges import Count, NotNegative, Positive
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage

Divisor = Literal["variance", "deviation", "none"]


@dataclass(frozen=True, kw_only=True)
class CNZSLConfig(BatchConfig):
    """The settings of CNZSL; the public code has weight decay 1e-4 in Adam's own unit, which is 5e-5 here."""

    steps: Count = 350  # 50 epochs of 1,800 images
    lr: Positive = 5e-4
    weight_decay: NotNegative = 5e-5
    hidden_dim: Count = 1024
    scale: Positive = 25.0  # by which cosines are multiplied
    divisor: Divisor = "variance"  # of class normalisation: as in the public code, as in the paper, or no normalisation
    features: FeatureKind = "given"


class ClassNorm(nn.Module):
    """h ↦ (h - mean) / divisor for each unit, over the classes of the batch; over the seen classes after training."""

    mean: Tensor  # running mean over steps, for classes that are not trained on
    variance: Tensor  # running variance

    def __init__(self, dim: int, divisor: Divisor, momentum: float = 0.1) -> None:
        super().__init__()
        self.divisor, self.momentum = divisor, momentum
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise hidden units [C, H]."""
        if self.divisor == "none":
            return hidden
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = hidden.mean(0), hidden.var(0, correction=0)
            self.mean.lerp_(mean.detach(), self.momentum)
            self.variance.lerp_(variance.detach(), self.momentum)
        return (hidden - mean) / ((variance + 1e-5).sqrt() if self.divisor == "deviation" else variance + 1e-5)


class Prototypes(nn.Module):
    """The network P of CNZSL; features that are at least 0 get a ReLU at its end."""

    def __init__(self, attribute_dim: int, feature_dim: int, config: CNZSLConfig) -> None:
        super().__init__()
        hidden = config.hidden_dim
        out = nn.Linear(hidden, feature_dim)
        bound = (3 / (hidden * feature_dim)) ** 0.5  # prototypes of class-normalised units then have length about 1
        nn.init.uniform_(out.weight, -bound, bound)
        self.layers = nn.Sequential(
            nn.Linear(attribute_dim, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), ClassNorm(hidden, config.divisor), nn.ReLU(), ClassNorm(hidden, config.divisor),
            out, nn.ReLU() if config.features == "given" else nn.Identity(),
        )  # fmt: skip

    def forward(self, attributes: Tensor) -> Tensor:
        """Map attributes [C, A] to prototypes [C, D]; the attributes of each class get length √A first."""
        return self.layers(attributes.shape[1] ** 0.5 * normalize(attributes))


@stage
def train_cnzsl(train: TrainSplit, config: CNZSLConfig, *, log: Log = silent) -> NetworkCompatibility:
    """Fit P by cross entropy over the seen classes."""
    prototypes = Prototypes(train.attributes.shape[1], train.features.shape[1], config)
    network = CosineScores(prototypes, config.scale)
    return fit_network(train, network, cross_entropy, config, config.features, "CNZSL", log)


FEATURES: tuple[FeatureKind, ...] = ("given", "centred")
DIVISORS: tuple[Divisor, ...] = ("variance", "deviation")

METHOD = Method(
    name="cnzsl",
    steps=one_step(train_cnzsl),
    config=CNZSLConfig(),
    rounds=(
        candidates(
            *(
                CNZSLConfig(features=features, divisor=divisor, steps=steps)
                for features, divisor, steps in product(FEATURES, DIVISORS, (175, 350))
            ),
        ),
    ),
    citation="Skorokhodov, Elhoseiny: Class Normalization for (Continual)? Generalized Zero-Shot Learning, ICLR 2021",
)
