"""What a piece of work takes: time, and the most memory that the process and those that work for it had meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path

import torch

STATUS, CLEAR = "status", "clear_refs"  # files that Linux has for each process


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

    Memory is that of the process and of those that work for it, and on a GPU that of PyTorch's tensors there, whichever
    is more.  Of several processes it is the sum of their peaks.  The peak starts anew here, so two measurements must
    not overlap.
    """
    for process in _processes():
        with suppress(OSError):
            (process / CLEAR).write_text("5")  # forget the peak of before
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    return lambda: Cost(seconds=time.perf_counter() - began, memory=_peak())


def _peak() -> int | None:
    peaks = [peak for process in _processes() if (peak := _peak_of(process / STATUS)) is not None]
    of_gpu = [torch.cuda.max_memory_allocated()] if torch.cuda.is_available() else []
    return max([*[sum(peaks)] * bool(peaks), *of_gpu], default=None)


def _processes() -> list[Path]:
    """The folders that Linux has for this process and for those that work for it."""
    return [Path("/proc/self"), *(Path(f"/proc/{child.pid}") for child in active_children())]


def _peak_of(status: Path) -> int | None:
    """The most memory that a process has had, in bytes; None where the system does not tell it."""
    try:
        lines = status.read_text().splitlines()
    except OSError:  # not on Linux, or the process has just ended
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
