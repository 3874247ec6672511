"""One progress bar for long work: rate and time left on a terminal, nothing elsewhere."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


def progress_bar(
    iterable: Any = None, *, total: int | None = None, what: str, unit: str, show: bool = True, initial: int = 0
) -> tqdm:
    """A bar over `iterable`, or one to be moved by `update(n)`; silent where stderr is not a terminal."""
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
