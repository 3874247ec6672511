"""Fuse convolution and batch normalisation of a frozen model into one convolution: the same function, less work."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

log = logging.getLogger(__name__)


def fuse_conv_bn(model: nn.Module, example: Tensor) -> tuple[nn.Module, int]:
    """Fuse each batch normalisation that follows a convolution, in a copy of `model`; return the copy and their number.

    The model is in eval mode.  It runs once on `example` to find the pairs, because names and order of modules do not
    tell what is computed after what.  If the fused copy computes something else (for example, because the output of a
    convolution is also used before it is normalised), the function returns the model itself and 0.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return model, 0  # passes of a transformer over a large example would take seconds
    try:
        fused, count = _fuse(model, example)
        close = _compute_the_same(model, fused, example)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        log.debug("the model is run as it is: %s", error)  # some layers of timm only look like a convolution
        return model, 0
    return (fused, count) if close else (model, 0)


def _fuse(model: nn.Module, example: Tensor) -> tuple[nn.Module, int]:
    """Return a fused copy, which may compute something else, and the number of its pairs."""
    fused = deepcopy(model)
    pairs = _find_pairs(fused, example)
    names = {module: name for name, module in fused.named_modules()}
    for conv, norm in pairs:
        _replace(fused, names[conv], fuse_conv_bn_eval(conv, norm))
        # timm's BatchNormAct2d also holds dropout and activation; they stay.
        rest = nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity()
        _replace(fused, names[norm], rest)
    return fused, len(pairs)


def _compute_the_same(model: nn.Module, fused: nn.Module, example: Tensor) -> bool:
    """Whether both models give equal features, up to rounding, for noise in the shape of `example`."""
    noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0)).to(example)
    with torch.inference_mode():
        expected, features = model(noise), fused(noise)
    return torch.allclose(features, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def _find_pairs(model: nn.Module, example: Tensor) -> list[tuple[Any, Any]]:
    """Pairs (convolution, normalisation): the output of the first is the input of the second, and each runs once."""
    outputs: dict[int, tuple[nn.Module, Tensor]] = {}  # keeps the outputs alive, so that no two have the same id
    pairs: list[tuple[Any, Any]] = []
    calls: dict[nn.Module, int] = {}

    def after(module: nn.Module, _: Any, output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        if isinstance(module, nn.Conv2d) and module.weight.ndim == 4:
            outputs[id(output)] = (module, output)

    def before(module: nn.Module, inputs: Any) -> None:
        if id(inputs[0]) in outputs:
            pairs.append((outputs[id(inputs[0])][0], module))

    handles = [m.register_forward_hook(after) for m in model.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    handles += [m.register_forward_pre_hook(before) for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.inference_mode():
        model(example)
    for handle in handles:
        handle.remove()
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1 and norm.track_running_stats]


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
