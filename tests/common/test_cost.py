"""Time and memory of a piece of work."""

from __future__ import annotations

import subprocess
import sys

import pytest

from zsl.common.cost import Cost

PROGRAM = """
import numpy as np
from zsl.common.cost import stopwatch

np.ones(400 << 20, np.uint8)  # before: freed, and forgotten
cost_so_far = stopwatch()
small = cost_so_far()
block = np.ones(300 << 20, np.uint8)
large = cost_so_far()
print(large.memory - small.memory, small.seconds, large.seconds)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a part of a process's life")
def test_the_peak_is_that_of_the_measured_work_alone() -> None:
    # a process of its own: in this one the allocator may hand out memory again that it kept
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    more, first, second = map(float, done.stdout.split())
    assert 250 << 20 < more < 350 << 20
    assert 0 < first < second


def test_two_pieces_of_work_take_both_times_and_the_larger_memory() -> None:
    assert Cost(seconds=2, memory=5).plus(Cost(seconds=3, memory=4)) == Cost(seconds=5, memory=5)
    assert Cost(seconds=2, memory=None).plus(Cost(seconds=3, memory=4)).memory == 4
