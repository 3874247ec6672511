"""Calls that tests send to other processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch

from zsl.common.progress import progress_bar


def place() -> tuple[int, int]:
    """The process, and its number of threads."""
    return os.getpid(), torch.get_num_threads()


def fail(message: str) -> None:
    raise FloatingPointError(message)


class TooFew(ValueError):
    """An error of a user's own, which pickle cannot make again."""

    def __init__(self, count: int, what: str) -> None:
        super().__init__(f"{count} {what} are too few")


def fail_oddly() -> None:
    raise TooFew(3, "photos")


def kill_this() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def show_bar() -> bool:
    """Make a progress bar, as on a terminal; return whether it is silent."""
    sys.stderr.isatty = lambda: True  # type: ignore[method-assign]
    with progress_bar(range(2), what="bar", unit=" steps") as bar:
        return bool(bar.disable)


def note_and_wait(file: Path) -> None:
    """Write the number of the process into a file, and go on for ever."""
    file.with_suffix(".tmp").write_text(str(os.getpid()))
    file.with_suffix(".tmp").rename(file)
    while True:
        time.sleep(60)


def wait_for(file: Path) -> None:
    """Wait for a file, then be interrupted."""
    while not file.exists():
        time.sleep(0.01)
    raise KeyboardInterrupt
