"""Convolution and batch normalisation of a frozen model as one convolution: the same function, less work."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

log = logging.getLogger(__name__)


def fuse_conv_bn(model: nn.Module, example: Tensor) -> tuple[nn.Module, int]:
    """A copy of `model` (in eval mode) without the batch normalisations that follow a convolution; and their number.

    The pairs are found by running `example`: names and order of modules do not tell what is computed after what.  Where
    the fused copy computes something else (a convolution's output that is also used before it is normalised, say), the
    model comes back as it was, with 0 pairs.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return model, 0  # a transformer's passes over a large example take seconds
    try:
        fused, count = _fuse(model, example)
        close = _compute_the_same(model, fused, example)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        log.debug("the model is run as it is: %s", error)  # timm has layers that only look like a convolution
        return model, 0
    return (fused, count) if close else (model, 0)


def _fuse(model: nn.Module, example: Tensor) -> tuple[nn.Module, int]:
    """A fused copy, whatever it computes, and the number of its pairs."""
    fused = deepcopy(model)
    pairs = _find_pairs(fused, example)
    names = {module: name for name, module in fused.named_modules()}
    for conv, norm in pairs:
        _replace(fused, names[conv], fuse_conv_bn_eval(conv, norm))
        # timm's BatchNormAct2d holds dropout and activation too; they stay.
        rest = nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity()
        _replace(fused, names[norm], rest)
    return fused, len(pairs)


def _compute_the_same(model: nn.Module, fused: nn.Module, example: Tensor) -> bool:
    """Whether both give equal features, but for rounding, of noise in the shape of `example`."""
    noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0)).to(example)
    with torch.inference_mode():
        expected, given = model(noise), fused(noise)
    return torch.allclose(given, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def _find_pairs(model: nn.Module, example: Tensor) -> list[tuple[Any, Any]]:
    """(convolution, normalisation) where the one's output, itself, is the other's input, and each runs once."""
    outputs: dict[int, tuple[nn.Module, Tensor]] = {}  # keeps the outputs alive, so that no id is given twice
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
