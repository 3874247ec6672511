"""The one writer of tensors: safetensors files that are whole or absent."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from zsl.common.files import atomic_path

OS_ERROR = re.compile(r"\(os error (\d+)\)")  # how the safetensors library reports one of the operating system


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write `tensors`, on any device, to the safetensors file `path`: whole, and on the disk, or not at all.

    Raises:
        OSError: the disk is full, the folder read-only, or the like; in words.
    """
    with atomic_path(path) as temporary:
        try:
            save_file(_separate(tensors), temporary, dict(metadata) if metadata is not None else None)
        except SafetensorError as error:
            if number := OS_ERROR.search(str(error)):
                code = int(number[1])
                raise OSError(code, os.strerror(code)) from error
            raise


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU; those that share memory are copied, for the library refuses them."""
    separate: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        storage = whole.untyped_storage()
        if storage.data_ptr() in taken or storage.nbytes() > whole.nbytes:
            whole = whole.clone()
        taken.add(whole.untyped_storage().data_ptr())
        separate[name] = whole
    return separate
