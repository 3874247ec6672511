"""`--compile auto`: whether a compiled encoder saves time, from the size of the table and from measured speeds.

A compiled encoder differs from the plain one in the last bits.  So there is one decision for a table, before its first
part.  A file beside the parts keeps it for all processes, and for the next start after a kill.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from zsl.common.files import write_json
from zsl.common.records import read_record

Compile = Literal["auto", "on", "off"]

LEAST_BATCHES = 50  # with fewer, the measurement itself would cost more than it can save
COMPILE_SECONDS = 60.0  # expected: 20 to 60 s for ResNet-101, the longer the slower the processor
EXPECTED_SHARE = 0.05  # of the plain time that compiling is expected to save; ResNets on CPUs: 3 to 14 %
LEAST_SHARE = 0.02  # of the plain time that a compiled encoder must save; less is noise
REMEDY = "delete it, and start the command again"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was decided, and the numbers behind it; None for what was not measured."""

    compiled: bool
    batches: int  # of the table, for each process
    plain_seconds: float | None = None  # a batch
    compiled_seconds: float | None = None  # a batch
    compile_seconds: float | None = None  # to compile, once

    @property
    def text(self) -> str:
        """The decision and its reason, in one line."""
        left = f"{self.batches:,} batches a process"
        if self.plain_seconds is None:
            return f"--compile auto: off, {left} are too few"
        plain = f"{self.plain_seconds:.3g} s each"
        if self.compile_seconds is None:
            return f"--compile auto: off, compiling would take longer than it saves of {left} at {plain}"
        if self.compiled_seconds is None:
            return "--compile auto: off, compiling does not work here"
        decision = "on" if self.compiled else "off"
        return f"--compile auto: {decision}, {left} at {plain}, compiled {self.compiled_seconds:.3g} s"


def may_pay(batches: int, plain_seconds: float) -> bool:
    """Whether compiling is expected to save more than it costs, for `batches` of `plain_seconds` each."""
    return batches * plain_seconds * EXPECTED_SHARE > COMPILE_SECONDS


def is_faster(plain_seconds: float, compiled_seconds: float) -> bool:
    """Whether the compiled encoder is faster by more than noise; the time to compile is spent by then."""
    return compiled_seconds < plain_seconds * (1 - LEAST_SHARE)


def choose(
    batches: int, time_plain: Callable[[], float], time_compiled: Callable[[], tuple[float, float, float] | None]
) -> Choice:
    """Decide whether to compile, and compile only if it may pay.

    batches: number of batches of the table, for each process.
    time_plain: gives the seconds of a batch.
    time_compiled: compiles, and gives the seconds that this took, then those of a plain and of a compiled batch,
        measured in turn; None if the compiler does not work.
    """
    plain = time_plain()
    if not may_pay(batches, plain):
        return Choice(compiled=False, batches=batches, plain_seconds=plain)
    times = time_compiled()
    if times is None:
        return Choice(compiled=False, batches=batches, plain_seconds=plain, compile_seconds=0.0)
    spent, plain, fast = times
    return Choice(
        compiled=is_faster(plain, fast), batches=batches, plain_seconds=plain, compiled_seconds=fast,
        compile_seconds=spent,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The one decision about a table, which all its processes share."""

    path: Path  # of the file that keeps it
    batches: int  # of the table, for each process
    plain_parts: bool = False  # whether the table has parts of a plain encoder, which a compiled one would make anew
    alone: Callable[[], AbstractContextManager[None]]  # lets in one process at a time, where the file system has locks
    wait: Callable[[], None]  # returns when all ranks have called it

    def made(self, measure: Callable[[], Choice]) -> Choice:
        """Return the choice in the file; the first process to come makes it, by `measure` if it is open, and writes it.

        It is written where the table is too small, too: a later start may have fewer processes, and so more batches
        for each.  Without locks each rank measures.  Then all take the choice that was written last.

        Raises:
            ValueError: the file is damaged.
        """
        with self.alone():
            choice = read_choice(self.path)
            if choice is None:
                is_open = self.batches >= LEAST_BATCHES and not self.plain_parts
                choice = measure() if is_open else Choice(compiled=False, batches=self.batches)
                write_json(self.path, asdict(choice))
                if is_open:
                    log.warning(choice.text)
        self.wait()
        return read_choice(self.path) or choice  # an unrelated start may have finished the table and removed the file


def read_choice(path: Path) -> Choice | None:
    """Read the choice in the file `path`; None without such a file."""
    try:
        return read_record(path, Choice, REMEDY)
    except FileNotFoundError:
        return None
