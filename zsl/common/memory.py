"""Whether an error says that memory is not enough."""

from __future__ import annotations

import torch

# PyTorch has a type of its own for a GPU's lack of memory.  Its allocator on a CPU, its maps of files and the libraries
# of a GPU raise a RuntimeError; these are the words of theirs that no other error has.
SIGNS = (
    "DefaultCPUAllocator: ",
    "Cannot allocate memory (12)",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether Python or PyTorch raised `error` because memory is not enough.

    An error of other code is none, whatever its text: a user's own method may well be unable to allocate something.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
