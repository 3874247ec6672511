"""Load a weights file into timm's model: read it, unwrap it from entries of training programs, and check it.

Feature extraction does not use the classifier, so a file may have no classifier, or one for other classes.
"""

from __future__ import annotations

import argparse
import copy
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from backbones.tensor_hash import is_changed

# Entries in which training programs keep weights.  A moving average of weights takes precedence over the weights.
EMA_ENTRIES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "params_ema", "ema", "teacher")
ENTRIES: tuple[str, ...] = ("state_dict", "model_state_dict", "model", "module", "net", "network", "backbone")
ENTRIES += ("encoder", "params", "weights", "student", "shadow")
LFS_POINTER = b"version https://git-lfs"
PART_OF_SEVERAL = re.compile(r"-(\d{5})-of-(?!\1)(\d{5})\.")  # in the name of a file of a sharded checkpoint
PLAIN_CLASSES = (argparse.Namespace,)  # options of a training beside its weights; a file with these runs no code
COUNTER = "num_batches_tracked"  # old files lack it for their batch norms, and features do not depend on it
SHOWN = 3  # number of names in a message

log = logging.getLogger(__name__)

State = dict[str, Tensor]


def load_weights(model: Any, path: Path, rename_keys: Callable[[State, Any], State] | None = None) -> None:
    """Load the weights in the file `path` into timm's `model`; a classifier that does not fit becomes zero.

    rename_keys: renames the tensors of another code base to timm's names, and leaves all other names as they are.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file holds no weights of this architecture, or numbers that are not finite.
    """
    state = unwrap_entries(read_state(path), path)
    if rename_keys is not None:
        state = rename_keys(state, model)
    names = ModelNames.of(model)
    state = strip_prefix(state, names, path)
    names.check(state, path)
    check_finite({name: state[name] for name in names.encoder if name in state}, path)
    model.load_state_dict(names.complete(state), strict=False)


def read_state(path: Path) -> Any:
    """Read the content of a weights file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is neither safetensors nor a pickle of tensors.
    """
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder; --weights is the file of weights in it")
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}")
    with path.open("rb") as stream:
        head = stream.read(len(LFS_POINTER))
    if head == LFS_POINTER:
        raise ValueError(f"{path} is a Git LFS pointer, not the weights themselves; fetch them: git lfs pull")
    try:
        if head[8:9] == b"{":  # after the length of a header in JSON; its name may end in .bin
            return _read_safetensors(path)
        # weights_only is a must: a .pth is a pickle, and a pickle from elsewhere could otherwise run code.
        with torch.serialization.safe_globals(list(PLAIN_CLASSES)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except ChangedError:
        raise
    except Exception as error:  # readers of pickles raise many types of exceptions for broken files
        raise ValueError(
            f"{path} cannot be read as weights; needed is a .safetensors file, or a .pth that holds tensors alone"
            f"{_other_content(error)}"
        ) from error


def _other_content(error: Exception) -> str:
    """What a pickle holds beside tensors, and what to do, in words; empty if `error` does not say."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    if found is None:
        return ""
    return (
        f".  It also holds {found[1]}, which could run code: where you trust the file, read it by torch.load(FILE, "
        "weights_only=False), and save its state dict alone"
    )


def _read_safetensors(path: Path) -> State:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        changed = is_changed(tensors, file.metadata() or {})
    if changed:
        raise ChangedError(f"{path} is damaged: its tensors are not those that were written; fetch the file anew")
    return tensors


class ChangedError(ValueError):
    """The tensors of a weights file do not match the hash in it."""


def unwrap_entries(content: Any, path: Path) -> State:
    """Return the tensors by name in a file's content, also from entries such as `state_dict`; leave out other things.

    Raises:
        ValueError: the content has no tensors; the message says what it has.
    """
    within: tuple[str, ...] = ()
    while isinstance(content, Mapping):
        entries = [name for name in (*EMA_ENTRIES, *ENTRIES) if isinstance(content.get(name), Mapping)]
        entries = [name for name in entries if content[name]]
        # An entry such as `ema` may also hold its settings alone.
        entries.sort(key=lambda name: not _holds_tensors(content[name]))
        if not entries:
            break
        if len(entries) > 1:
            log.warning("%s: the weights are taken from %s; there is also %s", path, entries[0], ", ".join(entries[1:]))
        content, within = content[entries[0]], (*within, entries[0])
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}; a state dict (name -> tensor) is needed")
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        where = f", in {' > '.join(within)}," if within else ""
        raise ValueError(
            f"{path}{where} holds no tensors but {_some(map(str, content)) or 'nothing'}; needed is a state dict "
            f"(name -> tensor), by itself or in an entry such as {ENTRIES[0]}"
        )
    return tensors


def _holds_tensors(content: Mapping[Any, Any]) -> bool:
    """Whether a tensor is in `content`, or in an entry of it."""
    return any(
        isinstance(value, Tensor) or (isinstance(value, Mapping) and _holds_tensors(value))
        for value in content.values()
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelNames:
    """The names of a timm model's tensors: which belong to the encoder, and which to the classifier."""

    shapes: Mapping[str, torch.Size]  # shapes of all tensors by name
    encoder: frozenset[str]  # names of the tensors of the encoder
    head_modules: tuple[str, ...]  # timm's names of the one or several classifiers

    @classmethod
    def of(cls, model: Any) -> ModelNames:
        """Find the names of the tensors of a model with classifier."""
        state = model.state_dict()
        bare = copy.deepcopy(model)
        drop_classifier(bare)
        classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
        modules = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        encoder = frozenset(name for name in bare.state_dict() if name in state)
        dropped = {name.rpartition(".")[0] for name in state.keys() - encoder}
        return cls(
            shapes={name: tensor.shape for name, tensor in state.items()},
            encoder=encoder,
            head_modules=tuple(dict.fromkeys((*modules, *sorted(dropped - {""})))),
        )

    def is_of_head(self, name: str) -> bool:
        """Whether a tensor of a file belongs to the classifier."""
        if name in self.shapes:
            return name not in self.encoder
        return any(name.startswith(f"{module}.") for module in self.head_modules)

    def needed(self) -> set[str]:
        """Names of the tensors that a file must have."""
        return {name for name in self.encoder if not name.endswith(COUNTER)}

    def check(self, state: State, path: Path) -> None:
        """Refuse a file whose tensors do not fit the encoder.

        Raises:
            ValueError: tensors are absent, unknown, or of another shape; the message counts them and names some.
        """
        missing = sorted(self.needed() - state.keys())
        unknown = sorted(name for name in state.keys() - self.shapes.keys() if missing or not self.is_of_head(name))
        other = sorted(n for n in self.encoder & state.keys() if state[n].shape != self.shapes[n])
        if not (missing or unknown or other):
            return
        absent = [name for name in self.shapes if name not in state and not name.endswith(COUNTER)]
        details = [f"absent: {_some(missing)}"] * bool(missing) + [f"unknown: {_some(unknown)}"] * bool(unknown)
        details += [
            f"size mismatch for {name}: {_shape(state[name].shape)} in the file, {_shape(self.shapes[name])} here"
            for name in other[:1]
        ]
        if missing and (part := PART_OF_SEVERAL.search(path.name)):
            raise ValueError(
                f"{path} is one of the {int(part[2])} files of a sharded checkpoint; save all of them as one file"
            )
        raise ValueError(
            f"{path} does not fit the architecture: {len(absent) if missing else 0} of {len(self.shapes)} tensors "
            f"absent, {len(unknown)} unknown; {'; '.join(details)}.  Is --backbone the model that the weights are of?"
        )

    def complete(self, state: State) -> State:
        """Return `state` with a classifier of the model's shape: the classifier of the file if it fits, else zeros."""
        whole = {name: state[name] for name in self.shapes if name in state}
        for name, shape in self.shapes.items():
            if name not in self.encoder and (name not in state or state[name].shape != shape):
                whole[name] = torch.zeros(shape)
        return whole


def drop_classifier(model: Any) -> None:
    """Remove the classifier of timm's `model`, so that the model gives features.

    Raises:
        ValueError: timm cannot remove it.
    """
    try:
        model.reset_classifier(0)
    except Exception as error:  # each of timm's models has its own way to fail
        raise ValueError(
            f"timm cannot take the classifier off {type(model).__name__}; take another --backbone"
        ) from error


def strip_prefix(state: State, names: ModelNames, path: Path) -> State:
    """Remove the prefix of a wrapper from each name, such as `module.`, and tensors outside the wrapped model.

    Raises:
        ValueError: `state` holds the model more than once.
    """
    needed = names.needed()
    if needed <= state.keys():
        return state
    probe = min(needed, key=lambda name: (-len(name), name))  # the longest name cannot be the end of another
    prefixes = [name.removesuffix(probe) for name in state if name.endswith(f".{probe}")]
    whole = [prefix for prefix in prefixes if all(prefix + name in state for name in needed)]
    ema = [prefix for prefix in whole if prefix.partition(".")[0] in EMA_ENTRIES]
    chosen = ema or whole or prefixes
    if len(chosen) > 1:
        raise ValueError(
            f"{path} holds the architecture {len(chosen)} times, as {_some(sorted(chosen))}; save one of them alone"
        )
    if not chosen:
        return state
    (prefix,) = chosen
    left_out = [name for name in state if not name.startswith(prefix)]
    if left_out:
        log.warning("%s: the weights are those below %s; left out: %s", path, prefix, _some(left_out))
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def check_finite(state: State, path: Path) -> None:
    """Refuse weights with NaN or infinite numbers, also where they are infinite in fp32 alone.

    Raises:
        ValueError: a tensor has such numbers, or holds no plain numbers; the message names the first such tensor in
            alphabetical order.
    """
    for name, tensor in sorted(state.items()):
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_complex():
            raise ValueError(
                f"{path}: the tensor {name} is {_storage(tensor)}; needed are plain numbers: save the weights dense, "
                "as real floating-point numbers"
            )
        if not tensor.is_floating_point() and not name.endswith(COUNTER):
            raise ValueError(
                f"{path}: the tensor {name} holds whole numbers ({tensor.dtype}); needed are floating-point weights, "
                "as they were before they were quantized"
            )
        if bad := int((~tensor.float().isfinite()).sum()):
            raise ValueError(
                f"{path}: {bad:,} of {tensor.numel():,} numbers of the tensor {name} are NaN or infinite; the training "
                "that wrote it failed, or the file is damaged: take an earlier checkpoint"
            )


def _storage(tensor: Tensor) -> str:
    """In words, what keeps a tensor from being plain numbers."""
    if tensor.is_meta:
        return "without content (on the device meta)"
    if tensor.is_quantized:
        return "quantized"
    return "complex" if tensor.is_complex() else f"sparse ({tensor.layout})"


def _some(names: Any) -> str:
    """The first names, and the number of the others, as text."""
    listed = list(names)
    rest = len(listed) - SHOWN
    return ", ".join(listed[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _shape(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "a single number"
