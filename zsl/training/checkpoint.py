"""A checkpoint on disk: the state of a training after some steps.  A killed run continues from it.

All trainings share one form of checkpoint.  A part of a checkpoint is any object with `state_dict` and
`load_state_dict`: a module, an optimizer, a moving average, a GradScaler, torch's random state.  The file is
safetensors.  The name of each tensor is its path, such as `optimizer/metric/state/0/exp_avg`.  Other values are JSON in
the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from zsl.common.tensors import read_tensors, write_tensors

StateDict = dict[str, Any]  # a `state_dict`: tensors, numbers, texts and None, in dicts, lists and tuples
FORMAT = "2"  # format 1 held tensors alone, and fine-tuning's checkpoints were pickles


class Stateful(Protocol):
    """An object that can be a part of a checkpoint, such as a module or an optimizer."""

    def state_dict(self) -> StateDict:
        """Return all that changes in training."""

    def load_state_dict(self, state_dict: StateDict) -> Any:
        """Take over a state that `state_dict` returned; its tensors are on the CPU."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """The content of one checkpoint file."""

    path: Path
    step: int  # steps done
    states: Mapping[str, Any]  # the `state_dict` of each part

    def restore(self, parts: Mapping[str, Stateful]) -> None:
        """Put each part into its state in the checkpoint.

        Raises:
            ValueError: the checkpoint holds other parts.
        """
        if parts.keys() != self.states.keys():
            raise ValueError(
                f"{self.path} holds the state of {', '.join(self.states)}; needed is that of {', '.join(parts)}; "
                f"{_other_run(self.path)}"
            )
        for name, part in parts.items():
            part.load_state_dict(self.states[name])


def save_checkpoint(path: Path, parts: Mapping[str, Stateful], *, run: str, step: int) -> None:
    """Write the state of `parts` after `step` steps, atomically.

    run: a text that names all that the state depends on.  `load_checkpoint` refuses the checkpoint of another run.

    Raises:
        TypeError: a part's state holds something that the file cannot hold, such as a function.
    """
    tensors: dict[str, Tensor] = {}
    states = {name: _pack(part.state_dict(), name, tensors) for name, part in parts.items()}
    metadata = {"format": FORMAT, "run": run, "step": str(step), "states": json.dumps(states)}
    write_tensors(path, tensors, metadata)


def load_checkpoint(path: Path, run: str) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises:
        ValueError: the file is of another run, of an earlier version, or broken.
    """
    damaged = "delete this file; the steps that it stands for are then done again"
    tensors, metadata = read_tensors(path, damaged)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is no checkpoint of this version; {_other_run(path)}")
    try:
        if metadata["run"] != run:
            raise ValueError(
                f"{path} is of another run (another configuration, other shards, photos or features, or another seed); "
                f"{_other_run(path)}"
            )
        states = {name: _unpack(state, tensors) for name, state in json.loads(metadata["states"]).items()}
        return Checkpoint(path=path, step=int(metadata["step"]), states=states)
    except (KeyError, AttributeError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); {damaged}") from error


class RandomState:
    """Torch's random state as a part of a checkpoint: the state of the CPU, and of a GPU in use."""

    def state_dict(self) -> StateDict:
        """Return the state of each random generator."""
        gpu = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {}
        return {"cpu": torch.get_rng_state()} | gpu

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Put each random generator into its state."""
        torch.set_rng_state(state_dict["cpu"])
        if "cuda" in state_dict:
            torch.cuda.set_rng_state(state_dict["cuda"])


def _other_run(path: Path) -> str:
    """The remedy where the folder holds another run."""
    return f"delete {path.parent}, or give this run another --name"


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Turn `value` into JSON, and put its tensors into `tensors`.

    Containers are tagged, because JSON has no tuples, and its keys are no numbers.

    Raises:
        TypeError: neither JSON nor safetensors can hold the value.
        ValueError: two tensors have one path.
    """
    if isinstance(value, Tensor):
        if path in tensors:
            raise ValueError(f"two tensors of a checkpoint are named {path}")
        # A clone, because safetensors refuses tensors that share memory; contiguous, because it keeps no strides.
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"tensor": path, "channels_last": _is_channels_last(value)}
    if isinstance(value, Mapping):
        return {"dict": [[key, _pack(child, f"{path}/{key}", tensors)] for key, child in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_pack(child, f"{path}/{number}", tensors) for number, child in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path}: a checkpoint cannot hold a {type(value).__name__}")


def _unpack(content: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value that `_pack` turned into `content`."""
    if not isinstance(content, dict):
        return content
    if "tensor" in content:
        tensor = tensors[content["tensor"]]
        return tensor.contiguous(memory_format=torch.channels_last) if content["channels_last"] else tensor
    if "dict" in content:
        return {key: _unpack(child, tensors) for key, child in content["dict"]}
    if "tuple" in content:
        return tuple(_unpack(child, tensors) for child in content["tuple"])
    return [_unpack(child, tensors) for child in content["list"]]


def _is_channels_last(tensor: Tensor) -> bool:
    """Whether the channels of a pixel are neighbours in memory, as in fine-tuning; the order of a sum depends on it."""
    return tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
