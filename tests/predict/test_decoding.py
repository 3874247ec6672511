"""The page's time limit: a photo that takes long neither holds its sender up, nor the others beyond the limit."""

import threading
import time
from collections.abc import Callable

import pytest

from zsl.predict.decoding import decode_in_time


def test_the_result_and_the_decoders_own_errors_are_passed_on() -> None:
    turns = threading.Semaphore(1)
    assert decode_in_time(lambda: 7, turns) == 7

    def raising(error: Exception) -> Callable[[], None]:
        def decode() -> None:
            raise error

        return decode

    for error in (ValueError("no photo"), TimeoutError("of the decoder"), RuntimeError("ours")):
        with pytest.raises(type(error), match=str(error)):
            decode_in_time(raising(error), turns)
    assert turns.acquire(blocking=False)  # each gave its turn back


def test_a_photo_that_takes_long_is_given_up_and_keeps_its_turn_until_it_ends() -> None:
    turns, goes_on = threading.Semaphore(1), threading.Event()
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"decoding takes longer than 0\.2 s, the limit; save the photo smaller"):
        decode_in_time(goes_on.wait, turns, seconds=0.2)
    with pytest.raises(ValueError, match=r"other photos are being decoded, and no turn came in 0\.2 s; try again"):
        decode_in_time(lambda: 7, turns, seconds=0.2)
    assert time.monotonic() - started < 30
    goes_on.set()
    assert decode_in_time(lambda: 7, turns, seconds=60) == 7
