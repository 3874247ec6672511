"""The progress bar of long work: it shows rate and remaining time on a terminal, and nothing elsewhere."""

from __future__ import annotations

from threading import Event, RLock
from typing import Any

from tqdm import tqdm

_hidden = Event()


def hide_bars() -> None:
    """Show no progress bar in this process from here on, because another one shows its progress."""
    _hidden.set()
    tqdm.set_lock(RLock())  # tqdm's own is a semaphore of the system, which a process that is killed leaves behind


def progress_bar(
    iterable: Any = None, *, total: int | None = None, what: str, unit: str, show: bool = True, initial: int = 0
) -> tqdm:
    """Make a progress bar over `iterable`, or one for `update(n)`; it is silent where stderr is not a terminal."""
    return tqdm(
        iterable,
        total=total,
        desc=what,
        unit=unit,
        initial=initial,
        disable=None if show and not _hidden.is_set() else True,
        dynamic_ncols=True,
        smoothing=0.1,
    )
