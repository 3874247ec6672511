"""The losses of the paper as pure functions: tensors in, tensor out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def triplet_loss(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Batch-all triplet loss: the mean of max(0, margin + d(a, p) - d(a, n)) over the violating triplets (eq. 1, 2).

    d is the Euclidean distance.  The anchor a and the positive p are different rows of one class; the negative n is of
    another class.  The loss is 0 where no triplet violates the margin.  The mean is over the violating triplets, as in
    the reference code.  A mean over all triplets would fade as soon as most of them keep the margin.

    embeddings: [B, R].  labels: [B].
    """
    distance = pairwise_distance(embeddings)
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    violation = (distance[:, :, None] - distance[:, None, :] + margin).clamp(min=0)  # [anchor, positive, negative]
    violation = violation * (positive[:, :, None] & ~same[:, None, :])
    return violation.sum() / (violation > 0).sum().clamp(min=1)


def batch_hard_triplet_loss(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Batch-hard triplet loss: each anchor's triplet has its farthest positive and its nearest negative.

    The mean is over the anchors that violate the margin, as in `triplet_loss`.  An anchor without a positive or without
    a negative in the batch has no triplet (Hermans et al. 2017).

    embeddings: [B, R].  labels: [B].
    """
    distance = pairwise_distance(embeddings)
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farthest = distance.masked_fill(~positive, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    violation = (farthest - nearest + margin).clamp(min=0)  # -inf, so 0, where there is no triplet
    return violation.sum() / (violation > 0).sum().clamp(min=1)


def pairwise_distance(points: Tensor) -> Tensor:
    """Euclidean distances [B, B] between points [B, R]; the gradient is 0, not NaN, where two points coincide."""
    square = (points[:, None, :] - points[None, :, :]).square().sum(dim=2)
    coincide = square == 0
    return square.masked_fill(coincide, 1.0).sqrt().masked_fill(coincide, 0.0)


def representation_loss(rectified: Tensor, prototypes: Tensor) -> Tensor:
    """Squared distance between SRN's output and the class prototypes, mean over seen classes (eq. 4); both [S, R]."""
    return (rectified - prototypes).square().sum(dim=1).mean()


def norm_representation_loss(rectified: Tensor, prototypes: Tensor) -> Tensor:
    """Frobenius norm of SRN's error divided by S: eq. 4 in the reference code; both parameters are [S, R]."""
    return (rectified - prototypes).norm() / len(prototypes)


def gradient_penalty(critic: Callable[[Tensor, Tensor], Tensor], mixed: Tensor, condition: Tensor) -> Tensor:
    """Mean over the batch of (‖d critic(x) / dx‖ - 1)² at x = mixed [B, D] (Gulrajani et al. 2017; eq. 6).

    It takes any critic.  `gradients.critic_gradients` spares the second differentiation for one hidden layer.
    """
    x = mixed.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x, condition).sum(), x, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()


def reconstruction_loss(reconstructed: Tensor, target: Tensor) -> Tensor:
    """L1 distance between F1(x) and a [B, A], or F2(x) and R(a) [B, R], mean over batch and dimensions (eq. 7, 8).

    The paper's norm is a sum over dimensions.  The mean gives λ1 and λ2 the same meaning for 312 attributes and for
    representations of length 20.
    """
    return (reconstructed - target).abs().mean()
