"""Time and memory of a piece of work."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from zsl.common.cost import Cost, stopwatch


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a part of a process's life")
def test_the_peak_is_that_of_the_measured_work_alone() -> None:
    np.ones(400 << 20, np.uint8)  # before: freed, and forgotten
    cost_so_far = stopwatch()
    small = cost_so_far()
    block = np.ones(300 << 20, np.uint8)
    large = cost_so_far()
    del block
    assert small.memory is not None
    assert large.memory is not None
    assert 250 << 20 < large.memory - small.memory < 350 << 20
    assert 0 < small.seconds < large.seconds


def test_two_pieces_of_work_take_both_times_and_the_larger_memory() -> None:
    assert Cost(seconds=2, memory=5).plus(Cost(seconds=3, memory=4)) == Cost(seconds=5, memory=5)
    assert Cost(seconds=2, memory=None).plus(Cost(seconds=3, memory=4)).memory == 4
