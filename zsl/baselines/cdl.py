"""CDL (Jiang et al. 2018): a visual and a semantic dictionary, in which a class has the same codes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import normalize

from zsl.baselines.compatibility import ClassScorer, FeatureKind, FeatureMap, SemanticKind, prepare_attributes
from zsl.common.ranges import Count, Positive, check_ranges
from zsl.features.class_statistics import class_means
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class CDLConfig:
    """The settings of CDL.

    The sum of squares is the paper's.  Its weights, the number of atoms and the order of its updates are public
    nowhere, so they are ours, and so is the nearest prototype by the cosine, in the visual space alone.  Folds choose
    the number of atoms, the ridge of unseen classes and the kind of inputs.  The paper's transductive term on features
    of unseen classes is left out.
    """

    atoms: Count = 40  # K, of each dictionary
    attribute_weight: Positive = 1.0  # λ, of the attributes' error
    image_weight: Positive = 1.0  # β, of the images' distance to the prototype of their class
    ridge: Positive = 1e-3  # of dictionaries and codes, which makes their solutions unique
    unseen_ridge: Positive = 0.1  # of the codes of unseen classes, whose attributes alone are known
    rounds: Count = 50  # of the updates
    features: FeatureKind = "centred"
    attributes: SemanticKind = "centred"

    def __post_init__(self) -> None:
        check_ranges(self)


class CDL(ClassScorer):
    """The model of CDL: its score is the cosine between a feature and a prototype."""

    prototypes: Tensor  # [S + U, D] of length 1

    def __init__(self, train: TrainSplit, prepare: FeatureMap, prototypes: Tensor) -> None:
        super().__init__(train)
        self.prepare = prepare
        self.register_buffer("prototypes", normalize(prototypes))
        self.eval().requires_grad_(False)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""
        return normalize(self.prepare(features)) @ self.prototypes.T


def ridge_regression(inputs: Tensor, targets: Tensor, ridge: float) -> Tensor:
    """Return the weights W [m, k] with the least ‖targets - inputs W‖² + ridge ‖W‖²; inputs [n, m], targets [n, k]."""
    gram = inputs.T @ inputs + ridge * torch.eye(inputs.shape[1]).to(inputs)
    return torch.linalg.solve(gram, inputs.T @ targets)


def solve_dictionary(targets: Tensor, codes: Tensor, ridge: float) -> Tensor:
    """Return the dictionary [K, n] of targets [S, n] with codes [S, K]; atoms that are longer than 1 get length 1."""
    dictionary = ridge_regression(codes, targets, ridge)
    return dictionary / dictionary.norm(dim=1, keepdim=True).clamp(min=1)


def solve_codes(targets: Tensor, dictionary: Tensor, ridge: float) -> Tensor:
    """Return the codes [S, K] of targets [S, n] in a dictionary [K, n]."""
    return ridge_regression(dictionary.T, targets.T, ridge).T


def solve_prototypes(means: Tensor, counts: Tensor, decoded: Tensor, image_weight: float) -> Tensor:
    """Return the prototypes P [S, D] with the least ‖P - decoded‖² + image_weight Σ_i ‖x_i - P_{y_i}‖².

    means: of the features of each class [S, D].  counts: of its images [S].  decoded: the classes' codes in the visual
    dictionary [S, D].
    """
    weights = image_weight * counts[:, None].to(means)
    return (decoded + weights * means) / (1 + weights)


@stage
def train_cdl(train: TrainSplit, config: CDLConfig, *, log: Log = silent) -> CDL:
    """Fit dictionaries, codes and prototypes of seen classes, and decode the prototypes of unseen classes."""
    train = prepare_attributes(train, config.attributes)
    prepare = FeatureMap(train.features, config.features)
    inputs = prepare(train.features).double()
    inputs = inputs / inputs.norm(dim=1).mean()
    means = class_means(inputs, train.seen_labels, len(train.seen))
    counts = train.seen_labels.bincount(minlength=len(train.seen))
    known, unknown = (train.attributes[classes].double() for classes in (train.seen, train.unseen))
    scale = config.attribute_weight**0.5  # with which one regression finds codes for both spaces
    prototypes, codes = means, torch.randn(len(means), config.atoms, dtype=means.dtype, device=means.device)
    for _ in range(config.rounds):
        visual, semantic = (solve_dictionary(of, codes, config.ridge) for of in (prototypes, known))
        targets = torch.cat([prototypes, scale * known], dim=1)
        codes = solve_codes(targets, torch.cat([visual, scale * semantic], dim=1), config.ridge)
        prototypes = solve_prototypes(means, counts, codes @ visual, config.image_weight)
    decoded = solve_codes(unknown, semantic, config.unseen_ridge) @ visual
    return CDL(train, prepare, torch.cat([prototypes, decoded]).float())


KINDS: tuple[SemanticKind, ...] = ("given", "centred")  # of features and attributes alike

METHOD = Method(
    name="cdl",
    steps=one_step(train_cdl),
    quick=True,
    config=CDLConfig(),
    rounds=(
        candidates(
            *(
                CDLConfig(features=kind, attributes=kind, atoms=atoms, unseen_ridge=ridge)
                for kind, atoms, ridge in product(KINDS, (20, 40), (0.03, 0.1, 0.3))
            ),
        ),
    ),
    citation="Jiang, Wang, Shan, Chen: Learning Class Prototypes via Structure Alignment for Zero-Shot Recognition, "
    "ECCV 2018",
)
