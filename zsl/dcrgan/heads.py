"""Linear softmax heads: by gradient, or as discriminants in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SoftmaxHead(nn.Module):
    """Linear softmax classifier over standardised inputs; column k stands for the k-th class of its set."""

    mean: Tensor
    std: Tensor

    def __init__(self, real: Tensor, class_count: int) -> None:
        """`real` [N, dim]: real seen inputs, the yardstick for standardising.

        Synthetic ones will not do: a dimension that the generator's ReLU leaves at 0 has no spread, and real inputs
        divided by it would drown all others.
        """
        super().__init__()
        std = real.std(0)
        self.register_buffer("mean", real.mean(0))
        self.register_buffer("std", torch.where(std > 0, std, 1.0))
        self.linear = nn.Linear(real.shape[1], class_count)

    @classmethod
    def from_weights(cls, weight: Tensor, bias: Tensor) -> SoftmaxHead:
        """The head with this weight [classes, dim] and bias [classes] for inputs as they are."""
        head = cls(weight.new_zeros(2, weight.shape[1]), len(weight)).to(weight.device)
        head.linear.weight.data.copy_(weight)
        head.linear.bias.data.copy_(bias)
        return head

    def standardise(self, inputs: Tensor) -> Tensor:
        """[B, dim] in units of the real inputs' spread."""
        return (inputs - self.mean) / self.std

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, dim] to log-probabilities [B, classes]."""
        return self.linear(self.standardise(inputs)).log_softmax(dim=1)


@torch.no_grad()
def discriminant(means: Tensor, within: Tensor, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Weight [n, dim] and bias [n] of the softmax classifier that is right for Gaussian classes of one covariance.

    means [n, dim]: of all classes, the unseen ones' from synthetic inputs.  within [N, dim]: real seen inputs minus
    their class's mean; they alone give the covariance, for the spread of synthetic ones is the generator's.  It is
    shrunk towards a multiple of the identity by `shrinkage` in [0, 1], as linear discriminant analysis does where
    dimensions are many (Friedman 1989).  Classes count as equally frequent.

    Raises:
        ValueError: `within` is zero, so that there is no covariance: no class has two inputs that differ.
    """
    if not bool(within.any()):
        raise ValueError(
            f"discriminant heads need a seen class with two training images that differ, to know how far the images of "
            f"a class spread; none of the {len(within)} images differs from its class's mean.  Give more images a "
            "class, or take --config.classifiers.fit softmax"
        )
    covariance = (1 - shrinkage) * within.T @ within / len(within)
    covariance.diagonal().add_(shrinkage * within.square().sum() / len(within) / within.shape[1] + 1e-8)
    weight = torch.linalg.solve(covariance, means.T, left=True).T
    return weight, -0.5 * (means * weight).sum(dim=1)


@torch.no_grad()
def softmax_gradients(linear: nn.Linear, inputs: Tensor, targets: Tensor) -> Tensor:
    """Put the gradients of the mean cross entropy into `linear`'s `.grad`, over what was there; returns the logits.

    inputs [B, dim], targets [B].  In closed form: the logits' gradient is (softmax - one-hot) / B.  Steps are small and
    many, so that autograd's bookkeeping would be a tenth of the time.
    """
    logits = linear(inputs)
    error = logits.softmax(dim=1)
    error[torch.arange(len(targets), device=targets.device), targets] -= 1
    error /= len(targets)
    linear.weight.grad, linear.bias.grad = error.T @ inputs, error.sum(0)
    return logits
