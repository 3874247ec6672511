"""Trainings in several processes: how many of them pay, and how a Method and a Trainer get there.

On a CPU, two trainings at once in a thread each take less time than one after the other in two threads.  Threads wait
for each other at the end of each product of matrices, and what lies between two products runs in one thread anyway.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from zsl.common.compute import available_cores, whole_memory
from zsl.common.lanes import Lanes
from zsl.experiments.methods import find_again
from zsl.experiments.trainer import CAPACITY, Trainer
from zsl.features.table import FeatureTable
from zsl.training.method import Method

if TYPE_CHECKING:
    from accelerate import Accelerator

BASE_BYTES = 1_000_000_000  # of a process: PyTorch, networks, their gradients
COPIES = 6  # of all features in a process: splits, their scaled form, inputs of heads, results that are kept


@contextmanager
def open_trainer(workers: int | None, pieces: int, table: FeatureTable, accelerator: Accelerator) -> Iterator[Trainer]:
    """Yield a Trainer that trains in several processes, or in this one alone; the others end with the block.

    workers: the flag `--workers`.  pieces: most trainings that could run at once, such as the number of seeds.

    Raises:
        ValueError: several workers on a GPU, or beside other processes of a launch.
    """
    count = count_workers(workers, pieces, 4 * math.prod(table.features.shape), accelerator)
    if count == 1:
        yield Trainer()
        return
    lanes = Lanes(count, available_cores(), dumps=dumps)
    try:
        yield Trainer(lanes=lanes)
    finally:
        lanes.end()


def count_workers(workers: int | None, pieces: int, feature_bytes: int, accelerator: Accelerator) -> int:
    """Return the number of processes that train; by default as many as there are cores, pieces and memory for.

    It does not depend on what is done already or on free memory.  So a restart has the same number of threads, on which
    the last bits of a sum can depend.  feature_bytes: the size of the feature table.

    Raises:
        ValueError: several workers on a GPU, or beside other processes of a launch.
    """
    if accelerator.num_processes > 1 or accelerator.device.type != "cpu":
        if workers not in (None, 1):
            where = "on a GPU" if accelerator.num_processes == 1 else "in each of several processes of a launch"
            raise ValueError(f"--workers {workers}: {where} one model is trained after the other; leave --workers out")
        return 1
    if workers is not None:
        return max(1, min(workers, pieces))
    return max(1, min(available_cores(), pieces, whole_memory() // (BASE_BYTES + COPIES * feature_bytes)))


def dumps(call: Any) -> bytes:
    """Pickle a call.  A Method is found again by its name, and a Trainer becomes that of the process it comes to."""
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(call)
    return pickle.dumps(_Arriving(list(pickler.sources), stream.getvalue()))


class _Pickler(pickle.Pickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.sources: set[tuple[str, str | None]] = set()  # file and version of users' own methods in the call

    def reducer_override(self, value: Any) -> Any:
        if type(value) is Method:
            if value.source:
                self.sources.add((value.source, value.version))
            return find_again, (value.source or value.name, value.config, value.version)
        if type(value) is Trainer:
            return _trainer_here, (-(-CAPACITY // (value.lanes.count if value.lanes else 1)),)
        return NotImplemented


class _Arriving:
    """A pickled call.  The files of users' own methods are loaded before it, because it may hold their classes."""

    def __init__(self, sources: Sequence[tuple[str, str | None]], content: bytes) -> None:
        self.sources, self.content = sources, content

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.sources, self.content)


def _arrive(sources: Sequence[tuple[str, str | None]], content: bytes) -> Any:
    for source, version in sources:
        find_again(source, None, version)
    return pickle.loads(content)


@cache
def _trainer_here(capacity: int) -> Trainer:
    """The Trainer of this process, which keeps what earlier calls trained; the processes together keep as much."""
    return Trainer(capacity=capacity)
