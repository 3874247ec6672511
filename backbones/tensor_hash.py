"""The hash of its tensors that a safetensors file holds, so that a reader finds later changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

CONTENT = "sha256"  # key in the metadata: `tensors_sha256` of the content


def is_changed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bool:
    """Whether `tensors` differ from the hash in `metadata`; False without a hash."""
    return CONTENT in metadata and metadata[CONTENT] != tensors_sha256(tensors)


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 in hex of tensors on the CPU, with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            flat = tensor.flatten()
            # The stride of a tensor with one number may be any; `view` needs 1.
            flat = flat if flat.stride() == (1,) else flat.clone().as_strided(flat.shape, (1,))
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
