"""SSE (Zhang & Saligrama 2015): classes and images are mixtures of the seen classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor, nn

from zsl.baselines.batches import BatchConfig
from zsl.baselines.compatibility import FeatureKind, FeatureMap, SemanticKind, margins, prepare_attributes
from zsl.baselines.networks import NetworkCompatibility, fit_network
from zsl.common.ranges import Count, NotNegative, Positive
from zsl.features.class_statistics import class_means
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.method import Method, candidates, one_step
from zsl.training.stage import stage

ROWS = 64  # images whose similarities to all seen classes are in memory at once
SUM_WEIGHT = 1e3  # of the equation that the shares of a mixture add up to 1, beside those of the attributes


@dataclass(frozen=True, kw_only=True)
class SSEConfig(BatchConfig):
    """The settings of SSE.

    The mixtures and the score are the paper's.  It alternates between w and the v's, with constants of its own, which
    are public nowhere.  Here Adam moves both at once, and the v's start at the class means.  Folds choose the smoothing
    and the weight of class means; the other constants are ours.  With little smoothing a seen class is almost the
    mixture of itself alone, so that images hardly ever go to an unseen class without γ.
    """

    steps: Count = 500
    batch_size: Count = 64
    lr: Positive = 1e-2
    weight_decay: NotNegative = 1e-3
    smoothing: Positive = 0.001  # γ: how evenly a mixture spreads over the seen classes
    class_weight: NotNegative = 1.0  # of the margins of class means, beside those of images
    features: FeatureKind = "given"
    attributes: SemanticKind = "given"


def mixtures(attributes: Tensor, known: Tensor, smoothing: float) -> Tensor:
    """Return the mixtures z [C, S] with the least ‖a - Σ_s z_s a_s‖² + γ ‖z‖² and z ≥ 0, Σ_s z_s = 1, on the CPU.

    attributes: a [C, A].  known: a_s of the seen classes [S, A].  smoothing: γ.
    """
    from scipy.optimize import nnls  # takes a third of a second, which other methods need not wait for

    count, (rows, known) = len(known), (part.double().cpu() for part in (attributes, known))
    left = torch.cat([known.T, smoothing**0.5 * torch.eye(count), torch.full((1, count), SUM_WEIGHT)]).numpy()
    right = torch.cat([rows, torch.zeros(len(rows), count), torch.full((len(rows), 1), SUM_WEIGHT)], dim=1).numpy()
    found = torch.stack([torch.from_numpy(nnls(left, row)[0]) for row in right])
    return (found / found.sum(dim=1, keepdim=True)).to(attributes)


class SimilarityEmbedding(nn.Module):
    """The score Σ_s z_s w · max(0, x - v_s) of an image x and a class with the mixture z, the paper's ReLU form.

    Its other form has min(x, v_s) in this place.  That is x - max(0, x - v_s), and the shares add up to 1, so with -w
    it is the same score but for a number of the image's own.
    """

    def __init__(self, starts: Tensor) -> None:
        """Make w [D] of zeros, and the v's [S, D] at `starts`."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, starts.shape[1]))
        self.bounds = nn.Parameter(starts.clone())

    def forward(self, inputs: Tensor, mixtures: Tensor) -> Tensor:
        """Map inputs [N, D] and mixtures [C, S] to scores [N, C]."""
        similarities = [(some[:, None] - self.bounds).relu() @ self.weight[0] for some in inputs.split(ROWS)]
        return torch.cat(similarities) @ mixtures.T


def sse_loss(scores: Tensor, targets: Tensor, different: Tensor, class_weight: float) -> Tensor:
    """Sum over the other classes of max(0, Δ + F(x, c) - F(x, y)): mean over images, plus that of class means.

    scores: [B, S].  targets: true columns y [B].  different: Δ [S, S], the margin of each pair of classes.
    class_weight: of the second part, a mean over the classes of the batch of the margins of their images' mean scores.
    """
    classes, positions = targets.unique(return_inverse=True)
    of_classes = class_means(scores, positions, len(classes))

    def hinges(scores: Tensor, targets: Tensor) -> Tensor:
        return margins(scores, targets, different[targets]).relu().sum(dim=1).mean()

    return hinges(scores, targets) + class_weight * hinges(of_classes, classes)


@stage
def train_sse(train: TrainSplit, config: SSEConfig, *, log: Log = silent) -> NetworkCompatibility:
    """Fit w and the v's on trainval features and the mixtures of seen classes; Δ of two classes is 1 - z · z'."""
    attributes = prepare_attributes(train, config.attributes).attributes
    train = replace(train, attributes=mixtures(attributes, attributes[train.seen], config.smoothing))
    seen = train.attributes[train.seen]
    different = 1 - seen @ seen.T
    inputs = FeatureMap(train.features, config.features)(train.features)
    network = SimilarityEmbedding(class_means(inputs, train.seen_labels, len(train.seen)))

    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        return sse_loss(scores, targets, different, config.class_weight)

    return fit_network(train, network, loss, config, config.features, "SSE", log)


ATTRIBUTES: tuple[SemanticKind, ...] = ("given", "centred")

METHOD = Method(
    name="sse",
    steps=one_step(train_sse),
    config=SSEConfig(),
    rounds=(
        candidates(
            *(
                SSEConfig(attributes=attributes, smoothing=smoothing, class_weight=class_weight)
                for smoothing, attributes, class_weight in product((0.001, 0.01, 0.1), ATTRIBUTES, (1.0, 0.0))
            ),
        ),
    ),
    budget=12,  # a training takes minutes with hundreds of classes, so a table's budget holds for it
    citation="Zhang, Saligrama: Zero-Shot Learning via Semantic Similarity Embedding, ICCV 2015",
)
