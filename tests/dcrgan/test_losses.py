"""Losses against closed forms, plain loops and other libraries."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.reducers import AvgNonZeroReducer
from torch import Tensor, nn

from zsl.dcrgan.gradients import autograd_gradients, closed_form_gradients, critic_gradients, gradient_memory
from zsl.dcrgan.losses import (
    gradient_penalty,
    pairwise_distance,
    reconstruction_loss,
    representation_loss,
    triplet_loss,
)
from zsl.dcrgan.networks import Critic


def random_batch(rows: int = 14, dim: int = 5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    return torch.randn(rows, dim, dtype=torch.float64), torch.randint(0, 4, (rows,))


@pytest.mark.parametrize("margin", [0.2, 1.0, 5.0])
def test_triplet_loss_is_the_mean_over_violating_triplets_of_a_plain_loop(margin: float) -> None:
    x, labels = random_batch()
    violations = []
    for a in range(len(x)):
        for p in range(len(x)):
            for n in range(len(x)):
                if a != p and labels[a] == labels[p] and labels[a] != labels[n]:
                    violations.append(max(0.0, margin + (x[a] - x[p]).norm().item() - (x[a] - x[n]).norm().item()))
    positive = [v for v in violations if v > 0]
    assert 0 < len(positive) < len(violations) or margin == 5.0
    assert triplet_loss(x, labels, margin).item() == pytest.approx(sum(positive) / len(positive))


def test_triplet_loss_and_its_gradient_equal_pytorch_metric_learning() -> None:
    x, labels = random_batch(rows=24)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    from pytorch_metric_learning.distances import LpDistance

    oracle = TripletMarginLoss(
        margin=1.0,
        distance=LpDistance(normalize_embeddings=False),
        reducer=AvgNonZeroReducer(),
        triplets_per_anchor="all",
    )
    ours_loss, their_loss = triplet_loss(ours, labels, 1.0), oracle(theirs, labels)
    ours_loss.backward()
    their_loss.backward()
    assert ours_loss.item() == pytest.approx(their_loss.item(), rel=1e-6)
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-8)


def test_triplet_loss_of_well_separated_classes_is_zero_with_zero_gradient() -> None:
    x = torch.tensor([[0.0], [0.1], [9.0], [9.1]], requires_grad=True)
    loss = triplet_loss(x, torch.tensor([0, 0, 1, 1]), 1.0)
    loss.backward()
    assert loss.item() == 0
    assert x.grad is not None
    assert x.grad.abs().sum() == 0


def test_coinciding_points_have_a_finite_gradient() -> None:
    x = torch.zeros(3, 2, requires_grad=True)
    pairwise_distance(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_pairwise_distance_equals_cdist() -> None:
    x, _ = random_batch()
    torch.testing.assert_close(pairwise_distance(x), torch.cdist(x, x), rtol=1e-9, atol=1e-7)


def test_representation_loss_is_a_squared_distance_averaged_over_classes() -> None:
    loss = representation_loss(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.zeros(2, 2))
    assert loss.item() == pytest.approx(25 / 2)


def test_reconstruction_loss_is_the_mean_absolute_difference() -> None:
    assert reconstruction_loss(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 2.0]])).item() == pytest.approx(2.5)


def test_gradient_penalty_of_a_linear_critic() -> None:
    weight = torch.tensor([3.0, 4.0])  # its slope is 5 everywhere
    penalty = gradient_penalty(lambda x, _: x @ weight, torch.randn(7, 2), torch.zeros(7, 1))
    assert penalty.item() == pytest.approx((5 - 1) ** 2)


def random_critic(feature_dim: int = 6, condition_dim: int = 3, layers: int = 1) -> Critic:
    torch.manual_seed(0)
    critic = Critic(feature_dim, condition_dim, hidden_dim=17, layers=layers).double()
    with torch.no_grad():
        for parameter in critic.parameters():  # far from the small start, so that every term counts
            parameter.normal_()
    return critic


@pytest.mark.parametrize("condition_dim", [3, 0])
def test_critic_gradients_in_closed_form_equal_double_backward(condition_dim: int) -> None:
    critic = random_critic(condition_dim=condition_dim)
    for _ in range(2):  # the second time over the gradients of the first
        real, fake = torch.rand(2, 9, 6, dtype=torch.float64)
        condition, mix = torch.randn(9, condition_dim, dtype=torch.float64), torch.rand(9, 1, dtype=torch.float64)
        loss = critic_gradients(critic, real, fake, condition, mix, weight=10)

        plain = critic(fake, condition).mean() - critic(real, condition).mean()
        plain = plain + 10 * gradient_penalty(critic, mix * real + (1 - mix) * fake, condition)
        assert loss.item() == pytest.approx(plain.item())
        written = [critic.hidden.weight, critic.hidden.bias, critic.out.weight]
        for parameter, gradient in zip(written, torch.autograd.grad(plain, written), strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, gradient)
        assert critic.out.bias.grad is None  # it falls out of a difference of means


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_critic_gradients_of_any_depth_are_those_of_the_written_loss(layers: int) -> None:
    critic = random_critic(layers=layers).requires_grad_(False)  # frozen, as the GAN has it
    real, fake = torch.rand(2, 9, 6, dtype=torch.float64)
    condition, mix = torch.randn(9, 3, dtype=torch.float64), torch.rand(9, 1, dtype=torch.float64)
    loss = critic_gradients(critic, real, fake, condition, mix, weight=10)
    gradients = {name: parameter.grad for name, parameter in critic.named_parameters()}
    assert not any(parameter.requires_grad for parameter in critic.parameters())

    critic.requires_grad_(True)
    mixed = (mix * real + (1 - mix) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(mixed, condition).sum(), mixed, create_graph=True)
    plain = critic(fake, condition).mean() - critic(real, condition).mean() + 10 * (slope.norm(dim=1) - 1).pow(2).mean()
    assert loss.item() == pytest.approx(plain.item())
    learners = {name: parameter for name, parameter in critic.named_parameters() if name != "out.bias"}
    for name, gradient in zip(learners, torch.autograd.grad(plain, list(learners.values())), strict=True):
        torch.testing.assert_close(gradients[name], gradient)
    assert gradients["out.bias"] is None


def test_autograd_and_closed_form_agree_where_both_are_possible() -> None:
    real, fake = torch.rand(2, 9, 6, dtype=torch.float64)
    condition, mix = torch.randn(9, 3, dtype=torch.float64), torch.rand(9, 1, dtype=torch.float64)
    made = []
    for form in (autograd_gradients, closed_form_gradients):
        critic = random_critic()
        loss = form(critic, real, fake, condition, mix, 10)
        made.append([loss, critic.hidden.weight.grad, critic.hidden.bias.grad, critic.out.weight.grad])
    torch.testing.assert_close(*made)


def test_a_critic_without_slope_has_finite_gradients() -> None:
    critic = random_critic()
    with torch.no_grad():
        critic.out.weight.zero_()
    real, fake = torch.rand(2, 9, 6).double()
    critic_gradients(critic, real, fake, torch.rand(9, 3).double(), torch.rand(9, 1).double(), weight=10)
    for parameter in (critic.hidden.weight, critic.hidden.bias, critic.out.weight):
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 7), nn.LeakyReLU(0.2), nn.Linear(7, 2))


def backward(network: nn.Module, *batches: Tensor) -> list[Tensor]:
    """Gradients of the input of the first batch, and of all parameters after one backward pass over all batches."""
    inputs = batches[0].clone().requires_grad_()
    sum((network(batch).square().sum() for batch in batches[1:]), network(inputs).square().sum()).backward()
    gradients = [tensor.grad for tensor in (inputs, *network.parameters())]
    assert all(gradient is not None for gradient in gradients)
    return [gradient.clone() for gradient in gradients if gradient is not None]


def test_gradient_memory_gives_the_gradients_of_autograd_in_one_place() -> None:
    ours, plain = two_layers(), two_layers()
    first, other = torch.rand(2, 5, 4)
    places = set()
    with gradient_memory(ours):
        for batches in ((first, other), (other,), (first,)):  # weights used twice in a pass, and once
            ours.zero_grad()
            plain.zero_grad()
            torch.testing.assert_close(backward(ours, *batches), backward(plain, *batches))
            places.add(next(ours.parameters()).grad.data_ptr())  # type: ignore[union-attr]
        torch.testing.assert_close(backward(ours, other), backward(plain, other))  # added to what is there
        assert len(places) == 1
        assert ours.state_dict().keys() == plain.state_dict().keys()
    assert "forward" not in vars(ours[0])


def test_gradient_memory_leaves_frozen_weights_alone() -> None:
    network = two_layers().requires_grad_(False)
    x = torch.rand(5, 4, requires_grad=True)
    with gradient_memory(network):
        network(x).sum().backward()
    (expected,) = torch.autograd.grad(network(x).sum(), x)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, expected)
    assert network[0].weight.grad is None
