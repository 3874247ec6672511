"""What a piece of work takes: time, and the most memory that the process had meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of work, and the most memory in bytes; None where the system does not tell it."""

    seconds: float
    memory: int | None

    def plus(self, other: Cost) -> Cost:
        """Return the cost of both pieces of work, one after the other."""
        memories = [cost.memory for cost in (self, other) if cost.memory is not None]
        return Cost(seconds=self.seconds + other.seconds, memory=max(memories, default=None))


def stopwatch() -> Callable[[], Cost]:
    """Start to measure, and return the function that tells the cost so far.

    Memory is that of the process, and on a GPU that of PyTorch's tensors there, whichever is more.  The peak starts
    anew here, so two measurements must not overlap.
    """
    with suppress(OSError):
        CLEAR.write_text("5")  # Linux: forget the peak of before
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    return lambda: Cost(seconds=time.perf_counter() - began, memory=_peak())


def _peak() -> int | None:
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    of_process = [1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    of_gpu = [torch.cuda.max_memory_allocated()] if torch.cuda.is_available() else []
    return max([*of_process, *of_gpu], default=None)
