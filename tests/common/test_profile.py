"""The clock of stages: what it counts, and what it writes."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from zsl.common.profile import ELSEWHERE, TABLE_FILE, TRACE_FILE, Profile, profiled, span


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def break_after(self, seconds: float) -> None:
        self.now += seconds
        raise KeyError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("zsl.common.profile.time.perf_counter", clock)
    return clock


def test_the_shares_of_nested_spans_and_of_the_rest_divide_the_whole_time(clock: Clock) -> None:
    work = Profile()
    for _ in range(2):
        with work.span("outer"):
            clock.now += 1
            with work.span("inner"):
                clock.now += 5
    clock.now += 4
    rows = {name: (seconds, share, calls) for name, seconds, share, calls in work.rows()}
    assert rows == {"inner": (10, 10 / 16, 2), "outer": (2, 2 / 16, 2), ELSEWHERE: (4, 4 / 16, 1)}


def test_spans_of_other_threads_lie_beside_and_take_nothing_from_the_first_one(clock: Clock) -> None:
    work = Profile()

    def read() -> None:
        with work.span("reading"):
            clock.now += 2

    with work.span("model"):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert [(name, seconds) for name, seconds, _, _ in work.rows()] == [
        ("model", 2), (ELSEWHERE, 0), ("reading (other threads)", 2),
    ]  # fmt: skip


def test_a_profile_writes_a_table_and_a_trace_that_lies_within_it(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyError), profiled(tmp_path), span("model"):  # also after an error
        clock.break_after(3)
    thread, event = json.loads((tmp_path / TRACE_FILE).read_text())["traceEvents"]
    assert (thread["ph"], thread["args"], thread["tid"]) == ("M", {"name": "first thread"}, event["tid"])
    assert (event["name"], event["ph"], event["ts"], event["dur"]) == ("model", "X", 0, 3e6)
    table = (tmp_path / TABLE_FILE).read_text()
    assert "| model | 3.00 | 100.0% | 1 |" in table
    assert table in capsys.readouterr().out


def test_each_thread_has_a_track_of_its_own_in_viewers(tmp_path: Path) -> None:
    def read() -> None:
        with span("reading"):
            pass

    with profiled(tmp_path), span("model"):
        threads = [threading.Thread(target=read, name=f"reader {number}") for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = json.loads((tmp_path / TRACE_FILE).read_text())["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert set(names.values()) == {"first thread", "reader 0", "reader 1"}
    assert {event["tid"] for event in events} == set(names)
    assert all(0 < tid < 2**32 for tid in names)  # Perfetto reads numbers of 32 bits
    assert {event["pid"] for event in events} == {os.getpid()}


def test_an_error_of_the_work_is_not_hidden_by_one_of_writing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyError), profiled(tmp_path / "file"), span("model"):
        raise KeyError
    assert str(tmp_path / "file") in caplog.text
    with profiled(tmp_path / "none"):
        pass
    assert "nothing was left to do" in capsys.readouterr().out


def test_off_there_is_nothing_to_write_and_no_two_are_open(tmp_path: Path) -> None:
    with profiled(None), span("model"):
        pass
    with profiled(tmp_path), pytest.raises(ValueError, match="on already"), profiled(tmp_path):  # no span
        pass
    assert not list(tmp_path.iterdir())
    assert span("model") is span("another")
