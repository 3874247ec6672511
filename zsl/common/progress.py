"""The progress bar of long work: it shows rate and remaining time on a terminal, and nothing elsewhere."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


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
        disable=None if show else True,
        dynamic_ncols=True,
        smoothing=0.1,
    )
