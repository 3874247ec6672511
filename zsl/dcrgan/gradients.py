"""Gradients of the GAN that use the same memory in every step.

Autograd takes new memory for each gradient in each step.  A layer with millions of weights needs tens of MiB.  On a CPU
the system hands this memory over page by page, and that takes as long as the computation of the gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import leaky_relu, linear

from zsl.dcrgan.losses import gradient_penalty
from zsl.dcrgan.networks import Critic


@contextmanager
def learning(*parameters: nn.Parameter) -> Iterator[None]:
    """Let frozen parameters get gradients inside."""
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)


def critic_gradients(
    critic: Critic, real: Tensor, fake: Tensor, condition: Tensor, mix: Tensor, weight: float
) -> Tensor:
    """Write the gradients of L_WGAN-SR to the `.grad` of the critic's parameters, and return the loss (eq. 6).

    The loss is E[D(fake)] - E[D(real)] + weight * E[(‖v‖ - 1)²], where v is the slope of D at x.  D's constant cancels
    out of the difference of means, so it gets no gradient.  Earlier values in `.grad` are overwritten.  A critic with
    one hidden layer has a closed form; for others autograd computes the gradients.

    real, fake: [B, D].  condition: [B, K].  mix: the position of each x between its fake (0) and its real feature (1)
    [B, 1].
    """
    compute = autograd_gradients if len(critic.deeper) else closed_form_gradients
    return compute(critic, real, fake, condition, mix, weight)


def autograd_gradients(
    critic: Critic, real: Tensor, fake: Tensor, condition: Tensor, mix: Tensor, weight: float
) -> Tensor:
    """Compute the `critic_gradients` of a critic of any depth, frozen or not."""
    constant = critic.out.bias
    learners, frozen = [p for p in critic.parameters() if p is not constant], not constant.requires_grad
    critic.requires_grad_(True)
    loss = critic(fake, condition).mean() - critic(real, condition).mean()
    loss = loss + weight * gradient_penalty(critic, torch.lerp(fake, real, mix), condition)
    for parameter, gradient in zip(learners, torch.autograd.grad(loss, learners), strict=True):
        parameter.grad = gradient
    critic.requires_grad_(not frozen)
    return loss.detach()


@torch.no_grad()
def closed_form_gradients(
    critic: Critic, real: Tensor, fake: Tensor, condition: Tensor, mix: Tensor, weight: float
) -> Tensor:
    """Compute the `critic_gradients` of a critic with one hidden layer: h = Wx x + Wc c + b, D = w φ(h) + constant.

    φ is a leaky ReLU: φ'(h) is 1 where h > 0, else its slope.  So the slope of D at x is v = (φ'(h) * w) Wx.  h is
    affine, so h(x) mixes h(real) and h(fake) as x mixes real and fake.
    """
    (batch, dim), w = real.shape, critic.out.weight  # w [1, H]
    w_x, w_c = critic.hidden.weight[:, :dim], critic.hidden.weight[:, dim:]  # Wx [H, D], Wc [H, K]

    def phi_prime_times(hidden: Tensor, factor: Tensor) -> Tensor:
        """Return φ'(hidden) * factor."""
        return torch.where(hidden > 0, factor, critic.negative_slope * factor)

    features = torch.cat([fake, real])  # [2B, D]
    # d loss / d D(feature): 1/B for a fake feature, -1/B for a real one [2B, 1]
    d_score = features.new_tensor([1 / batch, -1 / batch]).repeat_interleave(batch)[:, None]
    # h(feature) [2B, H]
    hidden = features @ w_x.T + linear(condition, w_c, critic.hidden.bias).repeat(2, 1)
    # h(x) [B, H] at the x of the penalty
    hidden_mixed = torch.lerp(hidden[:batch], hidden[batch:], mix)
    # φ'(h(x)) * w [B, H], v [B, D] and ‖v‖ [B, 1]
    gate_mixed = phi_prime_times(hidden_mixed, w)
    slope = gate_mixed @ w_x
    norm = slope.norm(dim=1, keepdim=True)
    # d penalty / dv [B, D] = 2 weight / B * (‖v‖ - 1) * v / ‖v‖
    d_slope = 2 * weight / batch * (norm - 1) / norm.clamp(min=torch.finfo(norm.dtype).tiny) * slope

    # d(E[D(fake)] - E[D(real)]) / dh [2B, H]; a fake and its real feature share a condition: their sum is [B, H]
    d_hidden = phi_prime_times(hidden, w) * d_score
    d_hidden_of_condition = d_hidden[:batch] + d_hidden[batch:]
    # d(E[D(fake)] - E[D(real)]) / dw [1, H]
    d_w = d_score.T @ leaky_relu(hidden, critic.negative_slope)
    loss = d_w @ w.T + weight * (norm - 1).square().mean()
    # plus d penalty / dw, through v
    d_w += phi_prime_times(hidden_mixed, d_slope @ w_x.T).sum(0)

    if critic.hidden.weight.grad is None:
        critic.hidden.weight.grad = torch.empty_like(critic.hidden.weight)
    d_w_x, d_w_c = critic.hidden.weight.grad[:, :dim], critic.hidden.weight.grad[:, dim:]
    # d loss / dWx: the scores depend on Wx through h, the penalty through v; one product has both
    torch.mm(torch.cat([d_hidden, gate_mixed]).T, torch.cat([features, d_slope]), out=d_w_x)
    # d loss / dWc, d loss / db: from the scores alone; v depends on c and b through φ' only, a piecewise constant
    torch.mm(d_hidden_of_condition.T, condition, out=d_w_c)
    critic.hidden.bias.grad, w.grad = d_hidden_of_condition.sum(0), d_w
    return loss.squeeze()


@contextmanager
def gradient_memory(*modules: nn.Module) -> Iterator[None]:
    """Let the linear layers of `modules` write their weights' gradients to the same memory in every step.

    `.backward()` and `zero_grad()` have the usual effects on `.grad`.  There are no second derivatives inside.
    """
    layers = [layer for module in modules for layer in module.modules() if type(layer) is nn.Linear]
    for layer in layers:
        layer.forward = partial(_forward, layer, torch.empty_like(layer.weight))  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: nn.Linear, memory: Tensor, inputs: Tensor) -> Tensor:
    return _Linear.apply(inputs, layer.weight, layer.bias, memory)


class _Linear(torch.autograd.Function):
    """A linear layer whose backward pass writes `weight.grad` itself: to `memory`, or added to an earlier gradient."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: nn.Parameter, bias: Tensor, memory: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.weight, ctx.memory = weight, memory
        return linear(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        (inputs,) = ctx.saved_tensors
        inputs_learn, weight_learns, bias_learns, _ = ctx.needs_input_grad
        if weight_learns and ctx.weight.grad is None:
            ctx.weight.grad = torch.mm(d_output.T, inputs, out=ctx.memory)
        elif weight_learns:
            ctx.weight.grad.addmm_(d_output.T, inputs)
        return (
            d_output @ ctx.weight if inputs_learn else None,
            None,
            d_output.sum(0) if bias_learns else None,
            None,
        )
