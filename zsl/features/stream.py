"""Read shards as batches of decoded photos, ahead of the model, each sample once and in stored order."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO, Literal, TypeVar

import torch
from torch import Tensor

import backbones
from shards import Location, Sample, Shard, open_shard, read_samples
from zsl.common.profile import span

OnError = Literal["stop", "quarantine"]
Decoder = Literal["cpu", "nvjpeg"]
AHEAD = 4  # number of batches that are read ahead, and for a GPU also decoded
PART = 16  # most photos that a thread decodes at once
BUFFER = 4 << 20  # bytes of a shard that are read at once
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A photo that cannot be decoded, a damaged sample (no label, no file) or an unreadable shard (also no row)."""

    shard: str
    row: int | None
    label: int | None
    file: str
    reason: str

    def __str__(self) -> str:
        if self.row is None or not self.file:
            return self.reason
        return f"row {self.row} ({self.file}) in {self.shard} cannot be decoded: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some photos of one shard; `last` marks the last batch, which every shard has."""

    shard: Shard
    samples: tuple[Sample, ...] = ()
    images: Tensor | None = None  # uint8 [n, 3, H, W] or [n, 5, 3, H, W]; None before decoding and if n = 0
    others: tuple[Tensor, ...] = ()  # the same photos by further transforms
    failures: tuple[Failure, ...] = ()
    last: bool


def stream_batches(
    shards: Iterable[Shard],
    location: Location,
    transform: backbones.Transform,
    *,
    batch_size: int,
    device: torch.device,
    on_error: OnError = "stop",
    allow_pipe: bool = False,
    decoder: Decoder = "cpu",
    others: Sequence[backbones.Transform] = (),
) -> Iterator[Batch]:
    """Yield decoded batches of all `shards`; the iterable gives each shard when it is needed.

    Each photo is decoded once, for `transform` and for all `others`.  A photo that one of them does not take is a
    failure for all.

    A thread reads some batches ahead, from disk or network.  Decoding uses as many threads as the model may use.  For a
    model on a GPU, these threads also run ahead.  On a CPU, they run between the steps of the model: both need the same
    cores, and if one core decodes during a step, all other cores of the model wait for it.

    Raises:
        ValueError, FileNotFoundError: a shard cannot be read, or with `on_error` "stop" a photo cannot be decoded.
        RemoteError: the network or the command fails; no shard is quarantined for that.
    """
    threads, views = max(1, torch.get_num_threads()), (transform, *others)
    # Each thread gets one core; otherwise torch would give each its own pool, all on the same cores.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:

        def decode(batch: Batch) -> Batch:
            with span("decoding and transform"):
                room = [_room(len(batch.samples), view, device, decoder) for view in views]
                size = max(1, min(PART, -(-len(batch.samples) // threads)))
                parts = [(start, batch.samples[start : start + size]) for start in range(0, len(batch.samples), size)]
                decoding = pool.map(lambda part: _decode_part(part[0], part[1], batch.shard, views, room), parts)
                failures = {place: failure for found in decoding for place, failure in found.items()}
            if failures and on_error == "stop":
                raise ValueError(str(failures[min(failures)]))
            good = [place for place in range(len(batch.samples)) if place not in failures]
            filled = [images[good] if failures else images for images in room] if good else []
            return replace(
                batch, samples=tuple(batch.samples[place] for place in good), images=filled[0] if filled else None,
                others=tuple(filled[1:]), failures=(*batch.failures, *map(failures.__getitem__, sorted(failures))),
            )  # fmt: skip

        encoded = _read(shards, lambda shard: open_shard(location, shard, allow_pipe=allow_pipe), batch_size, on_error)
        if device.type == "cpu":
            yield from map(decode, _prefetch(encoded, AHEAD))
        else:
            yield from _prefetch(map(decode, _prefetch(encoded, AHEAD)), AHEAD)


def _read(
    shards: Iterable[Shard],
    opened: Callable[[Shard], AbstractContextManager[IO[bytes]]],
    batch_size: int,
    on_error: OnError,
) -> Iterator[Batch]:
    for shard in shards:
        try:
            # Each read waits for its turn in Python, which takes long beside threads that decode.
            with opened(shard) as stream, io.BufferedReader(stream, BUFFER) as buffered:  # type: ignore[type-var]
                yield from _shard_batches(buffered, shard, batch_size, on_error)
        except (ValueError, FileNotFoundError) as error:
            if on_error == "stop":
                raise
            failure = Failure(shard=shard.file, row=None, label=None, file="", reason=str(error))
            yield Batch(shard=shard, failures=(failure,), last=True)


def _shard_batches(stream: IO[bytes], shard: Shard, batch_size: int, on_error: OnError) -> Iterator[Batch]:
    """Yield the batches of one shard, not decoded.  Damaged samples become failures, or with "stop" an error."""
    lost: list[Failure] = []

    def note(row: int, reason: str) -> None:
        lost.append(Failure(shard=shard.file, row=row, label=None, file="", reason=reason))

    samples = read_samples(stream, shard.file, damaged=None if on_error == "stop" else note)
    for some, last in _batches(samples, batch_size):
        yield Batch(shard=shard, samples=some, failures=tuple(lost), last=last)
        lost.clear()


def _room(count: int, transform: backbones.Transform, device: torch.device, decoder: Decoder) -> Tensor:
    """Memory for the decoded photos of a batch: on the GPU if it decodes them; a GPU reads pinned memory fast."""
    if decoder == "nvjpeg":
        return torch.empty(count, *transform.shape, dtype=torch.uint8, device=device)
    return torch.empty(count, *transform.shape, dtype=torch.uint8, pin_memory=device.type == "cuda")


def _decode_part(
    start: int, samples: Sequence[Sample], shard: Shard, transforms: Sequence[backbones.Transform],
    room: Sequence[Tensor],
) -> dict[int, Failure]:  # fmt: skip
    """Decode some photos of a batch into `room` from place `start` on, and return the failures by place.

    Threads take turns in Python.  So a thread gets several photos at once, and each photo takes few calls.
    """
    failures: dict[int, Failure] = {}
    for place, sample in enumerate(samples, start):
        try:
            with span("decoding"):
                pixels = backbones.decode_image(
                    sample.image, sample.box, device=room[0].device if room[0].is_cuda else None
                )
            with span("transform"):
                for images, transform in zip(room, transforms, strict=True):
                    images[place].copy_(transform(pixels))
        except ValueError as error:  # a lack of memory, or a fault of torch, is no fault of the photo
            failures[place] = Failure(
                shard=shard.file, row=sample.row, label=sample.label, file=sample.file, reason=str(error)
            )
    return failures


def _batches(items: Iterable[Item], size: int) -> Iterator[tuple[tuple[Item, ...], bool]]:
    """Yield tuples of `size` items, at least one, each with whether it is the last one, which may be shorter."""
    iterator = iter(items)
    batch = tuple(islice(iterator, size))
    while True:
        following = tuple(islice(iterator, size))
        yield batch, not following
        if not following:
            return
        batch = following


def _prefetch(items: Iterator[Item], ahead: int) -> Iterator[Item]:
    """Yield the same items; a thread computes up to `ahead` of them in advance."""
    end = object()
    pool = ThreadPoolExecutor(1)

    def fetch() -> object:
        with span("reading"):
            return next(items, end)

    try:
        waiting = deque(pool.submit(fetch) for _ in range(ahead))
        while True:
            with span("reading"):  # here the wait for the thread
                item = waiting.popleft().result()
            if item is end:
                return
            waiting.append(pool.submit(fetch))
            yield item  # type: ignore[misc]  # mypy cannot tell that it is not `end`
    finally:
        pool.shutdown(cancel_futures=True)
