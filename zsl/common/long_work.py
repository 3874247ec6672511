"""Long work of several pieces: what is done, what is left and when it will end, across restarts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zsl.common.files import append_text, read_json_lines

PROGRESS_FILE = "progress.jsonl"
MINUTE, HOUR, DAY = 60, 3600, 86400
LONGEST = 366 * DAY  # seconds of a piece; a line that says more is damaged
PATIENCE = 30.0  # seconds between two messages: short work needs none


class LongWork:
    """A work of named pieces, whose times are kept in a file, so that a restart knows them.

    The file has a line for each piece that ended or was stopped.  So several processes can write it, and a piece that
    took two starts has the sum of both times.  The pieces that are left are expected to take the mean time for their
    size, and together at least as long as the largest of them.

    path: the file of the times.  sizes: the expected share of each piece in the work, in any unit, such as photos.
    what: the pieces in words, such as `seeds of runs/cub`.  is_done: tells whether a piece's result is there; without
    it the file's lines tell that.  workers: how many processes share the pieces.
    shown: whether this process tells anything; of several processes, only the first does.
    """

    def __init__(
        self,
        path: Path,
        sizes: Mapping[str, float],
        *,
        what: str,
        is_done: Callable[[str], bool] | None = None,
        workers: int = 1,
        shown: bool = True,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.path, self.sizes, self.what, self.workers = path, sizes, what, workers
        self.patience, self.shown, self.clock, self.now = patience, shown, clock, now
        self.is_done = is_done or self._is_noted
        self._ended: set[str] = set()  # here, well or with an error
        self._before = {name for name in sizes if self.is_done(name)}
        self._told, self._has_told, self._last_told = clock(), False, False
        if self._before:
            self._tell()

    @contextmanager
    def piece(self, name: str) -> Iterator[None]:
        """Do one piece in the block.  A piece that was done before takes no time, and none is noted."""
        was_done = self.is_done(name)
        try:
            with nullcontext() if was_done else noted_piece(self.path, name, clock=self.clock):
                yield
        finally:
            self._ended.add(name)
        if not was_done:
            self.tell_if_due()

    def tell_if_due(self) -> None:
        """Say how far the work is, unless that was said a moment ago.

        Where it was said before, the beginning of the last round is told of at once: nothing else comes for as long as
        its pieces take.
        """
        begins_last = self._has_told and not self._last_told and 0 < len(self.left) < max(self.workers, 2)
        if begins_last or self.clock() - self._told >= self.patience:
            self._last_told |= begins_last
            self._tell()

    @property
    def left(self) -> list[str]:
        """The pieces that are still to be done."""
        return [name for name in self.sizes if name not in self._ended and not self.is_done(name)]

    @property
    def seconds_left(self) -> float | None:
        """The expected time of the pieces that are left; None where no piece was measured."""
        times = read_times(self.path)
        measured = [name for name in self.sizes if name in times and self.is_done(name)]
        size = sum(self.sizes[name] for name in measured)
        if not size:
            return None
        rate = sum(times[name] for name in measured) / size
        left = [self.sizes[name] for name in self.left]
        return rate * max(sum(left) / self.workers, max(left, default=0))

    def text(self) -> str:
        """Say what is done, what is left, and when it will end."""
        left, before = len(self.left), len(self._before)
        failed = sum(not self.is_done(name) for name in self._ended & self.sizes.keys())
        done = f"{len(self.sizes) - left - failed} of {len(self.sizes)} done" + f" ({before} before)" * bool(before)
        done += f", {failed} failed" * bool(failed)
        seconds = self.seconds_left
        if seconds is None:
            return f"{self.what}: {done}, {left} left, of unknown time"
        return f"{self.what}: {done}, {left} left, about {duration(seconds)} ({end_text(self.now(), seconds)})"

    def _tell(self) -> None:
        """Print what `text` says on stderr, above a progress bar; nothing where all is done."""
        if self.shown and self.left:
            self._told, self._has_told = self.clock(), True
            tqdm.write(self.text(), file=sys.stderr)

    def _is_noted(self, name: str) -> bool:
        return any(entry.get("piece") == name and entry.get("done") is True for entry in _lines(self.path))


@contextmanager
def noted_piece(path: Path, name: str, *, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Do one piece of a LongWork in the block, in whatever process, and note its time in the file `path`."""
    began, done = clock(), False
    try:
        yield
        done = True
    finally:
        entry = {"piece": name, "seconds": round(clock() - began, 3), "done": done}
        append_text(path, json.dumps(entry) + "\n")


def read_times(path: Path) -> dict[str, float]:
    """Read how many seconds each piece took, over all starts; damaged lines do not count."""
    times: dict[str, float] = {}
    for entry in _lines(path):
        name, seconds = entry.get("piece"), entry.get("seconds")
        if isinstance(name, str) and isinstance(seconds, int | float) and 0 <= seconds <= LONGEST:
            times[name] = times.get(name, 0.0) + seconds
    return times


def duration(seconds: float) -> str:
    """Write a time in the units that matter: `40 s`, `12 min`, `1 h 20 min`, `2 d 3 h`."""
    if round(seconds) < 2 * MINUTE:
        return f"{round(seconds)} s"
    minutes = round(seconds / MINUTE)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / HOUR)
    return f"{hours // 24} d {hours % 24} h"


def end_text(now: datetime, seconds: float) -> str:
    """Say when a work of so many seconds will end: `ends 18:40`, with the date where that is another day."""
    end = now + timedelta(seconds=seconds)
    return f"ends {end:%H:%M}" if end.date() == now.date() else f"ends {end:%Y-%m-%d %H:%M}"


def _lines(path: Path) -> list[dict[str, Any]]:
    return read_json_lines(path) if path.is_file() else []
