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
    """`critic_gradients` of a critic with one hidden layer h = Wx x + Wc c + b, D = w φ(h) + const.

    As φ is piecewise linear, h(x) is the same mixture of h(real) and h(fake) as x of real and fake, and v = (φ'(h) * w)
    Wx.
    """
    (count, dim), w = real.shape, critic.out.weight  # w [1, H]
    of_x, of_c = critic.hidden.weight[:, :dim], critic.hidden.weight[:, dim:]  # Wx [H, D], Wc [H, K]

    def responsive(hidden: Tensor, scale: Tensor) -> Tensor:
        """φ'(hidden) * scale."""
        return torch.where(hidden > 0, scale, critic.negative_slope * scale)

    both = torch.cat([fake, real])
    sign = both.new_tensor([1 / count, -1 / count]).repeat_interleave(count)[:, None]  # of the two means, [2B, 1]
    hidden = both @ of_x.T + linear(condition, of_c, critic.hidden.bias).repeat(2, 1)  # [2B, H]
    at_x = torch.lerp(hidden[:count], hidden[count:], mix)  # h(x) [B, H]
    through = responsive(at_x, w)
    slope = through @ of_x  # v [B, D]
    norm = slope.norm(dim=1, keepdim=True)
    pull = 2 * weight / count * (norm - 1) / norm.clamp(min=torch.finfo(norm.dtype).tiny) * slope  # d penalty / dv

    back = responsive(hidden, w) * sign  # d(E[D(fake)] - E[D(real)]) / dh [2B, H]
    at_condition = back[:count] + back[count:]
    gradient_w = sign.T @ leaky_relu(hidden, critic.negative_slope)  # [1, H]
    loss = gradient_w @ w.T + weight * (norm - 1).square().mean()
    gradient_w += responsive(at_x, pull @ of_x.T).sum(0)

    if critic.hidden.weight.grad is None:
        critic.hidden.weight.grad = torch.empty_like(critic.hidden.weight)
    torch.mm(torch.cat([back, through]).T, torch.cat([both, pull]), out=critic.hidden.weight.grad[:, :dim])
    torch.mm(at_condition.T, condition, out=critic.hidden.weight.grad[:, dim:])
    critic.hidden.bias.grad, w.grad = at_condition.sum(0), gradient_w
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
