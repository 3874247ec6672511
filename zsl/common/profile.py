"""Where the time of long work goes: seconds by stage, and a trace for Chrome's viewer.  `--profile` switches it on.

Code of a stage runs inside `with span("decoding"):`.  A span counts only while `profiled` is open; otherwise it costs
nothing.  PyTorch's own profiler shows the spans, too (`record_function`).
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch

from zsl.common.files import write_text
from zsl.common.markdown import markdown_table

TRACE_FILE, TABLE_FILE = "profile.json", "profile.md"
MOST_EVENTS = 200_000  # spans in the trace, 100 bytes each; the table counts all
ELSEWHERE = "elsewhere"  # time of the first thread outside all spans
NOTHING: AbstractContextManager[None] = nullcontext()

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Profile:
    """The spans of one piece of work; those of its first thread divide its time, those of other threads lie beside."""

    began: float = field(default_factory=lambda: time.perf_counter())
    thread: int = field(default_factory=threading.get_ident)
    ended: float | None = None
    seconds: dict[tuple[bool, str], float] = field(default_factory=lambda: defaultdict(float))
    calls: dict[tuple[bool, str], int] = field(default_factory=lambda: defaultdict(int))
    events: list[dict[str, object]] = field(default_factory=list)  # of Chrome's trace
    _open: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))  # thread -> seconds of inner spans
    _named: set[int] = field(default_factory=set)  # threads whose names are in the trace
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Count the time of the block for the stage `name`, less that of spans inside of it."""
        thread = threading.get_ident()
        inner = self._open[thread]
        inner.append(0.0)
        _wait_for_gpu()
        began = time.perf_counter()
        try:
            with torch.profiler.record_function(name):
                yield
        finally:
            _wait_for_gpu()
            taken = time.perf_counter() - began
            own = taken - inner.pop()
            if inner:
                inner[-1] += taken
            self._note(name, thread, began, taken, own)

    def _note(self, name: str, thread: int, began: float, taken: float, own: float) -> None:
        key = (thread == self.thread, name)
        with self._lock:
            self.seconds[key] += own
            self.calls[key] += 1
            if len(self.events) < MOST_EVENTS:
                microseconds = {"ts": 1e6 * (began - self.began), "dur": 1e6 * taken}
                # Viewers take numbers of 32 bits, which Python's own names of threads exceed.
                place = {"pid": os.getpid(), "tid": threading.get_native_id()}
                if place["tid"] not in self._named:
                    self._named.add(place["tid"])
                    thread_name = {"name": "first thread" if key[0] else threading.current_thread().name}
                    self.events.append({"name": "thread_name", "ph": "M", "args": thread_name, **place})
                self.events.append({"name": name, "ph": "X", **place, **microseconds})

    def rows(self) -> list[tuple[str, float, float, int]]:
        """Stage, seconds, share of the whole time, and number of spans; the longest first, other threads last.

        The shares of the first thread and of `elsewhere` add up to 1.
        """
        whole = (self.ended or time.perf_counter()) - self.began
        rows = [
            (name if first else f"{name} (other threads)", seconds, seconds / whole, self.calls[first, name])
            for (first, name), seconds in sorted(self.seconds.items(), key=lambda item: (not item[0][0], -item[1]))
        ]
        own = sum(first for first, _ in self.seconds)
        rest = whole - sum(seconds for _, seconds, _, _ in rows[:own])
        return [*rows[:own], (ELSEWHERE, rest, rest / whole, 1), *rows[own:]]

    def table(self) -> str:
        """The rows as a table in Markdown."""
        cells = [(name, f"{taken:.2f}", f"{share:.1%}", f"{calls:,}") for name, taken, share, calls in self.rows()]
        return markdown_table(("stage", "seconds", "share", "times"), cells)

    def write(self, folder: Path) -> None:
        """Write the trace and the table into `folder`; the table is printed, too."""
        write_text(folder / TRACE_FILE, json.dumps({"traceEvents": self.events, "displayTimeUnit": "ms"}) + "\n")
        write_text(folder / TABLE_FILE, self.table())
        cut = f", its first {MOST_EVENTS:,} spans" if len(self.events) >= MOST_EVENTS else ""
        print(f"{self.table()}in {folder}: {TABLE_FILE}, and {TRACE_FILE}{cut} for chrome://tracing", flush=True)


_current: Profile | None = None  # of this process


def span(name: str) -> AbstractContextManager[None]:
    """Count the time of a `with` block for the stage `name`, if `profiled` is open."""
    return NOTHING if _current is None else _current.span(name)


@contextmanager
def profiled(folder: Path | None) -> Iterator[None]:
    """Measure the spans of the block; at its end, also after an error, print the table and write it into `folder`.

    An error of writing does not take the place of one of the block.  folder: None switches it off.

    Raises:
        ValueError: another `profiled` is open in this process.
    """
    global _current
    if folder is None:
        yield
        return
    if _current is not None:
        raise ValueError("--profile is on already in this process")
    _current = profile = Profile()
    try:
        yield
    except BaseException:
        _current, profile.ended = None, time.perf_counter()
        try:
            if profile.seconds:
                profile.write(folder)
        except OSError as error:
            log.warning("%s", error)
        raise
    _current, profile.ended = None, time.perf_counter()
    if profile.seconds:
        profile.write(folder)
    else:
        print("--profile: nothing was left to do, so nothing was measured", flush=True)


def _wait_for_gpu() -> None:
    """Wait until a GPU has done what it was told, so that its time counts for the stage that asked for it."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
