"""Linear softmax heads, trained by gradient or computed in closed form as discriminants."""

from __future__ import annotations

import torch
from numpy.linalg import LinAlgError
from torch import Tensor, nn


class SoftmaxHead(nn.Module):
    """A linear softmax classifier over standardised inputs; column k is the k-th class of its set."""

    mean: Tensor
    std: Tensor

    def __init__(self, real: Tensor, class_count: int) -> None:
        """Take mean and spread from `real` [N, dim], the real inputs of seen classes.

        Synthetic inputs would not do.  A dimension that the generator's ReLU sets to 0 has no spread, and real inputs
        divided by this spread would outweigh all other dimensions.
        """
        super().__init__()
        std = real.std(0)
        self.register_buffer("mean", real.mean(0))
        self.register_buffer("std", torch.where(std > 0, std, 1.0))
        self.linear = nn.Linear(real.shape[1], class_count)

    @classmethod
    def from_weights(cls, weight: Tensor, bias: Tensor) -> SoftmaxHead:
        """Make the head with this weight [classes, dim] and bias [classes]; it does not change its inputs."""
        head = cls(weight.new_zeros(2, weight.shape[1]), len(weight)).to(weight.device)
        head.linear.weight.data.copy_(weight)
        head.linear.bias.data.copy_(bias)
        return head

    def standardise(self, inputs: Tensor) -> Tensor:
        """Return inputs [B, dim] minus the real inputs' mean, in units of their spread."""
        return (inputs - self.mean) / self.std

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [B, dim] to log-probabilities [B, classes]."""
        return self.linear(self.standardise(inputs)).log_softmax(dim=1)


@torch.no_grad()
def discriminant(
    means: Tensor, within: Tensor, shrinkage: float, errors: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute weight [n, dim] and bias [n] of the optimal classifier for Gaussian classes with one covariance.

    The covariance comes from the real inputs alone, because the spread of synthetic inputs is the generator's choice.
    It is shrunk towards a multiple of the identity, as linear discriminant analysis does for many dimensions (Friedman
    1989).  All classes count as equally frequent.

    The means of unseen classes are not known exactly.  With `errors`, the covariance also has that of these means'
    errors, as the predictive distribution of an image has.  So directions in which attributes place classes badly count
    less.

    means: means of all classes [n, dim]; those of unseen classes come from synthetic inputs.  within: real inputs of
    seen classes minus the mean of their class [N, dim].  shrinkage: from 0 (none) to 1 (a multiple of the identity).
    errors: of placed means [S, dim]; None: they are not counted.

    Raises:
        LinAlgError: `within` is zero, so there is no covariance: no class has two inputs that differ.
    """
    if not bool(within.any()):
        raise LinAlgError(
            f"discriminant heads need a seen class with two training images that differ, to know how far the images of "
            f"a class spread; none of the {len(within)} images differs from its class's mean.  Give more images a "
            "class, or take the method without + in its name, whose heads are softmax classifiers"
        )
    covariance = (1 - shrinkage) * within.T @ within / len(within)
    if errors is not None:
        covariance += (1 - shrinkage) * errors.T @ errors / len(errors)
    covariance.diagonal().add_(shrinkage * within.square().sum() / len(within) / within.shape[1] + 1e-8)
    weight = torch.linalg.solve(covariance, means.T, left=True).T
    return weight, -0.5 * (means * weight).sum(dim=1)


@torch.no_grad()
def softmax_gradients(linear: nn.Linear, inputs: Tensor, targets: Tensor) -> Tensor:
    """Write the gradients of the mean cross entropy to `linear`'s `.grad`, and return the logits [B, classes].

    The closed form of the logits' gradient is (softmax - one-hot) / B.  There are many small steps, and autograd's
    bookkeeping would take a tenth of the time.  Earlier values in `.grad` are overwritten.

    inputs: [B, dim].  targets: [B].
    """
    logits = linear(inputs)
    error = logits.softmax(dim=1)
    error[torch.arange(len(targets), device=targets.device), targets] -= 1
    error /= len(targets)
    linear.weight.grad, linear.bias.grad = error.T @ inputs, error.sum(0)
    return logits
