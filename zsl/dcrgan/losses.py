"""The losses of the paper as pure functions: tensors in, tensor out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def triplet_loss(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Batch-all triplet loss, mean over the violating triplets of max(0, margin + d(a, p) - d(a, n)) (eq. 1, 2).

    embeddings: [B, R]; labels: [B]; d is the Euclidean distance.  Anchor and positive are different rows of one class,
    the negative is of another.  Zero where no triplet violates the margin.  The mean is over the violating triplets, as
    in the reference code: over all of them the loss would fade as soon as most triplets are satisfied.
    """
    distance = pairwise_distance(embeddings)
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    violation = (distance[:, :, None] - distance[:, None, :] + margin).clamp(min=0)  # [anchor, positive, negative]
    violation = violation * (positive[:, :, None] & ~same[:, None, :])
    return violation.sum() / (violation > 0).sum().clamp(min=1)


def batch_hard_triplet_loss(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Batch-hard triplet loss (Hermans et al. 2017): of each anchor the farthest positive and the nearest negative.

    embeddings: [B, R]; labels: [B].  Mean over the anchors that violate the margin, as in `triplet_loss`; anchors
    without a positive or a negative in the batch have no triplet.
    """
    distance = pairwise_distance(embeddings)
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farthest = distance.masked_fill(~positive, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    violation = (farthest - nearest + margin).clamp(min=0)  # 0 where there is no triplet: -inf
    return violation.sum() / (violation > 0).sum().clamp(min=1)


def pairwise_distance(points: Tensor) -> Tensor:
    """Euclidean distances [B, B] between points [B, R], with a gradient of 0, not NaN, where two coincide."""
    square = (points[:, None, :] - points[None, :, :]).square().sum(dim=2)
    coincide = square == 0
    return square.masked_fill(coincide, 1.0).sqrt().masked_fill(coincide, 0.0)


def class_means(values: Tensor, labels: Tensor, count: int) -> Tensor:
    """Mean of values [N, R] over each of `count` classes: [count, R]; labels [N] are in [0, count), none is empty.

    Equal input gives equal bits, on a GPU too: there `index_add_` would add in the order in which threads arrive.
    """
    if values.device.type == "cpu":
        total = torch.zeros(count, values.shape[1], dtype=values.dtype).index_add_(0, labels, values)
    else:
        total = class_sums_by_product(values, labels, count)
    return total / torch.bincount(labels, minlength=count)[:, None]


def class_sums_by_product(values: Tensor, labels: Tensor, count: int) -> Tensor:
    """Sum of values [N, R] over each of `count` classes, [count, R], as a product with the one-hot labels.

    In fp64, so that `matmul_precision` rounds no factor.
    """
    return (one_hot(labels, count).T.double() @ values.double()).to(values.dtype)


def representation_loss(rectified: Tensor, prototypes: Tensor) -> Tensor:
    """Squared distance of SRN's output to the class prototypes, mean over the seen classes (eq. 4); both [S, R]."""
    return (rectified - prototypes).square().sum(dim=1).mean()


def norm_representation_loss(rectified: Tensor, prototypes: Tensor) -> Tensor:
    """Frobenius norm of SRN's error over the number of seen classes, as the reference code has eq. 4; both [S, R]."""
    return (rectified - prototypes).norm() / len(prototypes)


def gradient_penalty(critic: Callable[[Tensor, Tensor], Tensor], mixed: Tensor, condition: Tensor) -> Tensor:
    """Mean over the batch of (‖d critic(x) / dx‖ - 1)² at x = mixed [B, D] (Gulrajani et al. 2017; eq. 6).

    For any critic; one with a single hidden layer needs no second differentiation: `critic_gradients`.
    """
    x = mixed.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x, condition).sum(), x, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()


def reconstruction_loss(reconstructed: Tensor, target: Tensor) -> Tensor:
    """L1 distance of F1(x) to a [B, A], or of F2(x) to R(a) [B, R], mean over batch and dimensions (eq. 7, 8).

    The paper's norm is a sum over dimensions; the mean makes λ1 and λ2 mean the same for 312 attributes and 20
    representations.
    """
    return (reconstructed - target).abs().mean()
