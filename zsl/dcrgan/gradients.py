"""Gradients of the GAN without the memory of autograd.

Autograd makes each gradient anew.  For a layer with millions of weights that is tens of MiB that the system hands over
page by page, every step, which on a CPU costs as much as computing them.
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


def critic_gradients(
    critic: Critic, real: Tensor, fake: Tensor, condition: Tensor, mix: Tensor, weight: float
) -> Tensor:
    """Put the gradients of LWGAN-SR into the `.grad` of the critic's parameters, over what was there (eq. 6).

    real, fake: [B, D]; condition [B, K]; mix [B, 1] places each x of the penalty between its real and its fake feature.
    The loss is E[D(fake)] - E[D(real)] + weight * E[(‖v‖ - 1)²], v the slope of D at x.  Its constant falls out of the
    difference of means; it gets no gradient.  In closed form for one hidden layer, else by autograd.  Returns the loss.
    """
    of_critic = autograd_gradients if len(critic.deeper) else closed_form_gradients
    return of_critic(critic, real, fake, condition, mix, weight)


def autograd_gradients(
    critic: Critic, real: Tensor, fake: Tensor, condition: Tensor, mix: Tensor, weight: float
) -> Tensor:
    """`critic_gradients` of a critic of any depth, frozen or not."""
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
    """`critic_gradients` of a critic with one hidden layer: h = Wx x + Wc c + b, D = w φ(h) + constant.

    φ is a leaky ReLU: φ'(h) is 1 where h > 0, else its slope.  So the slope of D at x is v = (φ'(h) * w) Wx, and h(x)
    is the same mixture of h(real) and h(fake) as x is of real and fake.
    """
    (batch, dim), w = real.shape, critic.out.weight  # w [1, H]
    w_x, w_c = critic.hidden.weight[:, :dim], critic.hidden.weight[:, dim:]  # Wx [H, D], Wc [H, K]

    def phi_prime_times(hidden: Tensor, factor: Tensor) -> Tensor:
        """φ'(hidden) * factor."""
        return torch.where(hidden > 0, factor, critic.negative_slope * factor)

    features = torch.cat([fake, real])  # [2B, D]
    # d loss / d D(feature): 1/B of each fake one, -1/B of each real one [2B, 1]
    d_score = features.new_tensor([1 / batch, -1 / batch]).repeat_interleave(batch)[:, None]
    # h(feature) [2B, H]
    hidden = features @ w_x.T + linear(condition, w_c, critic.hidden.bias).repeat(2, 1)
    # h(x) [B, H] of the penalty's x
    hidden_mixed = torch.lerp(hidden[:batch], hidden[batch:], mix)
    # φ'(h(x)) * w [B, H], and from it v [B, D] and ‖v‖ [B, 1]
    gate_mixed = phi_prime_times(hidden_mixed, w)
    slope = gate_mixed @ w_x
    norm = slope.norm(dim=1, keepdim=True)
    # d penalty / dv [B, D] = 2 weight / B * (‖v‖ - 1) * v / ‖v‖
    d_slope = 2 * weight / batch * (norm - 1) / norm.clamp(min=torch.finfo(norm.dtype).tiny) * slope

    # d(E[D(fake)] - E[D(real)]) / dh [2B, H]; fake and real have one condition, so theirs add up to [B, H]
    d_hidden = phi_prime_times(hidden, w) * d_score
    d_hidden_of_condition = d_hidden[:batch] + d_hidden[batch:]
    # d(E[D(fake)] - E[D(real)]) / dw [1, H]
    d_w = d_score.T @ leaky_relu(hidden, critic.negative_slope)
    loss = d_w @ w.T + weight * (norm - 1).square().mean()
    # and d penalty / dw, through v
    d_w += phi_prime_times(hidden_mixed, d_slope @ w_x.T).sum(0)

    if critic.hidden.weight.grad is None:
        critic.hidden.weight.grad = torch.empty_like(critic.hidden.weight)
    d_w_x, d_w_c = critic.hidden.weight.grad[:, :dim], critic.hidden.weight.grad[:, dim:]
    # d loss / dWx: of the scores through h, and of the penalty through v, in one product
    torch.mm(torch.cat([d_hidden, gate_mixed]).T, torch.cat([features, d_slope]), out=d_w_x)
    # d loss / dWc, d loss / db: of the scores alone, for v depends on c and b by φ' only, which is piecewise constant
    torch.mm(d_hidden_of_condition.T, condition, out=d_w_c)
    critic.hidden.bias.grad, w.grad = d_hidden_of_condition.sum(0), d_w
    return loss.squeeze()


@contextmanager
def kept_gradients(*modules: nn.Module) -> Iterator[None]:
    """Inside, linear layers put their weights' gradients where those of the step before were; otherwise as always.

    What `.backward()` adds up in `.grad`, and what `zero_grad()` does, stays the same.  No second derivatives.
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
    return _KeptGradient.apply(inputs, layer.weight, layer.bias, memory)


class _KeptGradient(torch.autograd.Function):
    """A linear layer whose backward pass writes to `weight.grad` itself: into `memory`, or on top of what is there."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: nn.Parameter, bias: Tensor, memory: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.weight, ctx.memory = weight, memory
        return linear(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, back: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        (inputs,) = ctx.saved_tensors
        of_inputs, of_weight, of_bias, _ = ctx.needs_input_grad
        if of_weight and ctx.weight.grad is None:
            ctx.weight.grad = torch.mm(back.T, inputs, out=ctx.memory)
        elif of_weight:
            ctx.weight.grad.addmm_(back.T, inputs)
        return back @ ctx.weight if of_inputs else None, None, back.sum(0) if of_bias else None, None
