"""Ctrl-C and SIGTERM: one line and no traceback, in every script."""

from __future__ import annotations

import os
import signal
from multiprocessing import parent_process
from typing import NoReturn

INTERRUPTED = 130  # exit code of a program that Ctrl-C has ended
STOPPED = "stopped; the same command goes on"


def _end(*_: object) -> NoReturn:
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(INTERRUPTED)


def end_at_once() -> None:
    """Let Ctrl-C and SIGTERM end this process at once; a shell's background job goes on ignoring Ctrl-C.

    A process that works for another one ignores Ctrl-C, which the other one gets, too.
    """
    if parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)


def raise_interrupts() -> None:
    """Let Ctrl-C and SIGTERM raise KeyboardInterrupt, which lets open files and locks be cleaned up."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
