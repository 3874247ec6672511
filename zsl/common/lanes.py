"""Lanes: this process and others beside it, each of which does its calls one after the other.

A lane is a process for as long as its `Lanes` live, so that what it keeps in memory serves its later calls.  It ends
with this process, even after `kill -9`: a lane that went on would write into the folder of the next start.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from zsl.common.compute import cores_in_use, keep_freed_memory
from zsl.common.progress import hide_bars

Dumps = Callable[[Any], bytes]
LOST = "a process that worked for this one ended too early, as it does where memory runs out; try --workers 1"


class Lanes:
    """`count` processes that share `cores` threads.  This one is the first; the others start at their first calls.

    dumps: pickles a call.  Tensors are copied: PyTorch's own way through shared memory fails where that is small, as in
    a container.
    """

    def __init__(self, count: int, cores: int, *, dumps: Dumps = pickle.dumps) -> None:
        self.count, self.cores, self.dumps = count, cores, dumps
        self._executors: dict[int, ProcessPoolExecutor] = {}
        self._pipe: tuple[Connection, Connection] | None = None  # the other processes end when it is closed here

    def each(
        self,
        calls: Sequence[Callable[[], Any]],
        done: Callable[[int], None] = lambda _: None,
        *,
        left: Sequence[int] | None = None,
    ) -> list[Any]:
        """Do all calls, and return their results.

        As many as fill all lanes share the threads evenly.  Then the rest shares all threads.  So the threads of a call
        depend on the list of calls, and not on what is left of it.

        done: gets the position of each call that has ended.  left: the positions of the calls that are left to do;
        None: all.

        Raises:
            MemoryError: a process was killed.
            Exception: the first error of a call that is known after a call here; all other calls end as after a kill.
        """
        left = range(len(calls)) if left is None else left
        rest = len(calls) % self.count
        results: dict[int, Any] = {}
        try:
            for size, positions in (
                (self.count, [position for position in left if position < len(calls) - rest]),
                (rest, [position for position in left if position >= len(calls) - rest]),
            ):
                if positions:
                    self._share(positions, calls, max(1, self.cores // size), results, done)
        except BrokenProcessPool as error:
            self.end()
            raise MemoryError(LOST) from error
        except BaseException:
            self.end()
            raise
        return [results[position] for position in left]

    def _share(
        self, positions: Sequence[int], calls: Sequence[Callable[[], Any]], cores: int, results: dict[int, Any],
        done: Callable[[int], None],
    ) -> None:  # fmt: skip
        """Do the calls at these positions in `cores` threads each, and put their results into `results`."""
        others = {
            self._executor(number % self.count).submit(_answer, _Sent(calls[position], self.dumps), cores): position
            for number, position in enumerate(positions)
            if number % self.count
        }
        with cores_in_use(cores):
            for position in positions[:: self.count]:
                results[position] = calls[position]()
                done(position)
                _take(others, results, done)
        while others:
            wait(others, return_when=FIRST_COMPLETED)
            _take(others, results, done)

    def end(self) -> None:
        """End all other processes at once; a later call starts new ones."""
        for end in self._pipe or ():
            end.close()
        for executor in self._executors.values():
            executor.shutdown(cancel_futures=True)
        self._executors, self._pipe = {}, None

    def _executor(self, lane: int) -> ProcessPoolExecutor:
        if self._pipe is None:
            self._pipe = get_context("spawn").Pipe(duplex=False)
        if lane not in self._executors:
            self._executors[lane] = ProcessPoolExecutor(
                1, mp_context=get_context("spawn"), initializer=_enter, initargs=(self._pipe[0],)
            )
        return self._executors[lane]


def _take(others: dict[Future[bytes], int], results: dict[int, Any], done: Callable[[int], None]) -> None:
    """Move what other lanes have done meanwhile to `results`, or raise its error."""
    for future in [future for future in others if future.done()]:
        position = others.pop(future)
        results[position] = pickle.loads(future.result())
        done(position)


class _Sent:
    """A call on its way to another process, where it arrives as bytes, and an error in loading it is the call's.

    It is pickled when its turn comes, because it can hold all features.
    """

    def __init__(self, call: Callable[[], Any], dumps: Dumps) -> None:
        self.call, self.dumps = call, dumps

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (self.dumps(self.call),)


def _enter(end: Connection) -> None:
    """Begin another process.  It hears no Ctrl-C, which the first process gets, too, and shows no progress bars."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if end.poll():  # the first process ended while this one started
        os._exit(1)
    Thread(target=_end_with, args=(end,), daemon=True).start()
    hide_bars()
    keep_freed_memory()


def _end_with(end: Connection) -> None:
    """Wait until the other end of the pipe is closed, by `Lanes.end` or by the system, and end this process."""
    with suppress(EOFError, OSError):
        end.recv_bytes()  # nobody sends anything
    os._exit(1)


def _answer(call: Any, cores: int) -> bytes:
    with cores_in_use(cores):
        try:
            return pickle.dumps(pickle.loads(call)())  # `call` is bytes; see `_Sent`
        except Exception as error:
            if _arrives(error):
                raise
            raise RuntimeError(f"{type(error).__name__}: {error}") from None


def _arrives(error: Exception) -> bool:
    """Whether an error can be sent to another process; one whose `__init__` takes other arguments cannot."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True
