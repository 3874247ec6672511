"""ZLAP (Chen et al. 2022): prototypes trained by cross entropy with logits that are adjusted by class priors.

The paper trains on real features of seen classes and on a few features of unseen classes from a generator.  Its two
priors have these parts: the frequency of a class among the seen or among the unseen classes, and the odds of a seen
class (`ratio`).  A table of features has no generated ones.  Two forms are then possible, and both are here.

- Inductive, the default: the softmax has the seen classes alone.  The odds are a constant there, so they cancel.  At
  test they are a γ, which is chosen on folds for every method.  What remains is the frequency of the classes.
- Transductive (`unseen_classes`): the softmax has all classes, and unseen classes have no examples, as if the paper's
  number of generated features were 0.  Each image of a seen class pushes unseen prototypes away, the less the larger
  `ratio` is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.baselines.batches import BatchConfig
from zsl.baselines.compatibility import FeatureKind, SemanticKind, prepare_attributes
from zsl.baselines.networks import CosineScores, NetworkCompatibility, fit_network
from zsl.common.ranges import Count, NotNegative, Positive
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class ZLAPConfig(BatchConfig):
    """The settings of ZLAP; the public code has weight decay 1e-4 in Adam's own unit, which is 5e-5 here."""

    steps: Count = 200
    lr: Positive = 1e-3
    weight_decay: NotNegative = 5e-5
    hidden_dim: Count = 1024
    temperature: Positive = 0.04  # by which cosines are divided
    ratio: Positive = 30.0  # odds of a seen class, of `unseen_classes` alone: CUB 30, SUN 60, aPY 300, AWA2 1000
    unseen_classes: bool = False  # whether training uses the attributes of unseen classes
    features: FeatureKind = "given"
    attributes: SemanticKind = "given"


def log_priors(counts: Tensor, unseen: int, ratio: float) -> Tensor:
    """Compute log p(y | seen or unseen) + log p(seen or unseen) [S + U]: first seen classes, then unseen ones.

    counts: number of images of each seen class [S].  unseen: number of unseen classes; they are equally likely.  ratio:
    p(seen) / p(unseen); without unseen classes p(seen) is 1.
    """
    share = counts / counts.sum()
    if unseen == 0:
        return share.log()
    odds = torch.cat([share * ratio, share.new_full((unseen,), 1 / unseen)])
    return (odds / (1 + ratio)).log()


@stage
def train_zlap(train: TrainSplit, config: ZLAPConfig, *, log: Log = silent) -> NetworkCompatibility:
    """Fit the prototypes by cross entropy of the adjusted logits; the model's own scores are not adjusted."""
    train = prepare_attributes(train, config.attributes)
    unseen = train.unseen if config.unseen_classes else train.unseen[:0]
    priors = log_priors(train.seen_labels.bincount(minlength=len(train.seen)), len(unseen), config.ratio)
    hidden = nn.Linear(train.attributes.shape[1], config.hidden_dim)
    prototypes = nn.Sequential(hidden, nn.LeakyReLU(0.2), nn.Linear(config.hidden_dim, train.features.shape[1]))
    network = CosineScores(prototypes, 1 / config.temperature)

    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(scores + priors, targets)

    return fit_network(train, network, loss, config, config.features, "ZLAP", log, negatives=unseen)


FEATURES: tuple[FeatureKind, ...] = ("given", "centred")
ATTRIBUTES: tuple[SemanticKind, ...] = ("given", "centred")

METHOD = Method(
    name="zlap",
    steps=one_step(train_zlap),
    config=ZLAPConfig(),
    rounds=(
        candidates(
            *(
                ZLAPConfig(features=features, attributes=attributes, lr=lr)
                for features, attributes, lr in product(FEATURES, ATTRIBUTES, (3e-4, 1e-3))
            ),
        ),
    ),
    transductive=lambda config: config.unseen_classes,
    citation="Chen, Shen, Zhang, Torr: Zero-Shot Logit Adjustment, IJCAI 2022",
)
