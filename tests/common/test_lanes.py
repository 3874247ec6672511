"""Calls in several processes: the results of plain calls, one process a lane, and none that is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from lane_calls import fail, fail_oddly, kill_this, note_and_wait, place, wait_for

from zsl.common.lanes import Lanes

TESTS = Path(__file__).parents[1]
PATH = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
PATIENCE = 3000  # looks, a hundredth of a second apart


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes(2, 3)
    yield made
    made.end()


def has_ended(process: int) -> bool:
    """Whether a process ends, sooner or later."""
    for _ in range(PATIENCE):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        if sys.platform == "linux" and f"{process} " in _zombies():
            return True
        time.sleep(0.01)
    return False


def _zombies() -> str:
    """The processes that have ended and that nobody has asked for."""
    stats = (path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.is_file())
    return "\n".join(f"{text.split()[0]} " for text in stats if text.rpartition(")")[2].split()[0] == "Z")


def test_each_call_has_its_result_and_each_lane_its_process(lanes: Lanes) -> None:
    ended: list[int] = []
    before = torch.get_num_threads()
    places = lanes.each([place] * 5, ended.append)
    assert torch.get_num_threads() == before
    assert [process == os.getpid() for process, _ in places] == [True, False, True, False, True]
    assert len({process for process, _ in places}) == 2
    assert sorted(ended) == list(range(5))
    threads = [1, 1, 1, 1, 3]  # three threads: one for each of two processes, and all for the fifth call
    assert [number for _, number in places] == threads
    for left in ([1, 4], [0, 2], [4]):  # as many for what is left after a kill
        assert [number for _, number in lanes.each([place] * 5, left=left)] == [threads[position] for position in left]
    assert lanes.each([partial(sum, range(n)) for n in range(5)]) == [0, 0, 1, 3, 6]
    assert lanes.each([place] * 2)[1][0] == places[1][0]  # the process of before
    with pytest.raises(FloatingPointError, match=r"^step 3 of seed 1$"):
        lanes.each([place, partial(fail, "step 3 of seed 1"), place])
    assert has_ended(places[1][0])


def test_a_process_that_is_killed_is_an_error_in_words(lanes: Lanes) -> None:
    with pytest.raises(MemoryError, match="ended too early, as it does where memory runs out; try --workers 1"):
        lanes.each([place, kill_this])


def test_an_error_that_cannot_be_sent_arrives_in_words(lanes: Lanes) -> None:
    with pytest.raises(RuntimeError, match=r"^TooFew: 3 photos are too few$"):
        lanes.each([partial(time.sleep, 0), fail_oddly])


def test_an_interrupt_ends_the_other_processes(lanes: Lanes, tmp_path: Path) -> None:
    file = tmp_path / "process"
    with pytest.raises(KeyboardInterrupt):
        lanes.each([partial(wait_for, file), partial(note_and_wait, file)])
    assert has_ended(int(file.read_text()))


PROGRAM = """
from functools import partial
from pathlib import Path
from lane_calls import kill_this, note_and_wait, wait_for
from zsl.common.lanes import Lanes

def die(file):
    try:
        wait_for(file)
    except KeyboardInterrupt:
        kill_this()

file = Path({file!r})
Lanes(2, 1).each([partial(die, file), partial(note_and_wait, file)])
"""


def test_kill_9_leaves_no_process_behind(tmp_path: Path) -> None:
    file = tmp_path / "process"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(file=str(file))], env=os.environ | {"PYTHONPATH": PATH},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.returncode == -9
    assert has_ended(int(file.read_text()))


def test_bars_are_hidden_and_leave_no_semaphore_behind() -> None:
    program = """
from functools import partial
from lane_calls import show_bar
from zsl.common.lanes import Lanes
lanes = Lanes(2, 1)
print(lanes.each([partial(sum, [1]), show_bar]))
lanes.end()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": PATH}, capture_output=True, text=True
    )
    assert done.stdout == "[1, True]\n", done.stderr
    assert done.stderr == ""
