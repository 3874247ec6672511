"""A lack of memory is told from other errors, whatever words these use."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from zsl.cli import run_script
from zsl.common.memory import is_lack_of_memory

TOO_MUCH = 2**60  # bytes that no machine has


def raised_by_pytorch() -> RuntimeError:
    with pytest.raises(RuntimeError) as error:
        torch.empty(TOO_MUCH, dtype=torch.uint8)
    return error.value


def raised_by_numpy() -> MemoryError:
    with pytest.raises(MemoryError) as error:
        np.empty(TOO_MUCH, dtype=np.uint8)
    return error.value


LACKS = {
    "Python": MemoryError(),
    "a map": RuntimeError("unable to mmap 8 bytes from file </zsl-x>: Cannot allocate memory (12)"),
    "a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "a GPU's driver": RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    "a GPU's library": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
}


@pytest.mark.parametrize("whose", LACKS)
def test_a_lack_of_memory_is_known_by_type_or_by_pytorchs_words(whose: str) -> None:
    assert is_lack_of_memory(LACKS[whose])
    assert is_lack_of_memory(raised_by_pytorch())
    assert is_lack_of_memory(raised_by_numpy())


OTHERS = (RuntimeError("cannot allocate a class to a group"), ValueError("DefaultCPUAllocator: "), KeyError("allocate"))


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_are_none_whatever_their_words(error: Exception) -> None:
    assert not is_lack_of_memory(error)


@pytest.mark.parametrize("error", [raised_by_pytorch, lambda: OTHERS[0]], ids=["memory", "other"])
def test_a_script_ends_in_words_for_a_lack_of_memory_alone(error: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def main(_: object) -> None:
        assert callable(error)
        raise error()

    monkeypatch.setattr(sys, "argv", ["script.py"])
    monkeypatch.delenv("ZSL_TRACEBACK", raising=False)
    with pytest.raises((SystemExit, RuntimeError)) as ended:
        run_script(main, _Args)
    assert (ended.type is SystemExit) == (error is raised_by_pytorch)
    assert "memory is not enough" in str(ended.value) or ended.value is OTHERS[0]


class _Args:
    """No flags."""
