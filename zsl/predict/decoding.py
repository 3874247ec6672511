"""Decoding for the page: a few photos at once, each for a limited time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

SECONDS = 20.0  # from the arrival of a photo to its pixels, waiting for its turn included
Result = TypeVar("Result")


def decode_in_time(decode: Callable[[], Result], turns: threading.Semaphore, seconds: float = SECONDS) -> Result:
    """The result of `decode`, which runs while it holds one of `turns`.

    After `seconds` the caller gets its answer.  A decoder cannot be stopped in the middle: it goes on in its thread and
    holds its turn until then, which the limits on memory and scans keep short.

    Raises:
        ValueError: it takes longer, or no turn comes in that time.
    """
    end = time.monotonic() + seconds
    if not turns.acquire(timeout=seconds):
        raise ValueError(f"other photos are being decoded, and no turn came in {seconds:g} s; try again later")
    result: Future[Result] = Future()

    def work() -> None:
        try:
            value = decode()
        except BaseException as error:  # the caller raises it
            turns.release()
            result.set_exception(error)
        else:
            turns.release()
            result.set_result(value)

    threading.Thread(target=work, name="decoding", daemon=True).start()
    try:
        return result.result(max(0.0, end - time.monotonic()))
    except TimeoutError as error:
        if result.done():  # it is the decoder's own
            raise
        raise ValueError(f"decoding takes longer than {seconds:g} s, the limit; save the photo smaller") from error
