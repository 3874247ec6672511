"""What is told about long work: counts, times of all starts, the expected end."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from zsl.common.locks import is_held, sole_process
from zsl.common.long_work import LongWork, duration, end_text, read_times

NOON = datetime(2030, 1, 1, 12, 0)


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def work(path: Path, time: Time, sizes: dict[str, float]) -> LongWork:
    return LongWork(path, sizes, what="folds", patience=60, clock=time, now=lambda: NOON)


def do(works: LongWork, name: str, time: Time, seconds: float, error: BaseException | None = None) -> None:
    with works.piece(name):
        time.seconds += seconds
        if error:
            raise error


def test_the_rest_is_expected_to_take_the_time_of_its_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    time = Time()
    folds = work(tmp_path / "p.jsonl", time, {"a": 10, "b": 20, "c": 30})
    do(folds, "a", time, 600)
    assert capsys.readouterr().err == "folds: 1 of 3 done, 2 left, about 50 min (ends 12:50)\n"
    do(folds, "b", time, 1200)
    assert folds.seconds_left == pytest.approx(1800)
    do(folds, "c", time, 1800)
    assert folds.left == []
    assert capsys.readouterr().err.count("\n") == 1  # nothing more to tell after the last piece


def test_a_restart_knows_the_times_of_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    time, sizes = Time(), dict.fromkeys("abcd", 1.0)
    first = work(tmp_path / "p.jsonl", time, sizes)
    do(first, "a", time, 100)
    with pytest.raises(KeyboardInterrupt):
        do(first, "b", time, 70, KeyboardInterrupt())
    with (tmp_path / "p.jsonl").open("a") as stream:
        stream.write('{"piece": "c", "sec')  # a kill cut the line short
    capsys.readouterr()
    second = work(tmp_path / "p.jsonl", time, sizes)
    assert capsys.readouterr().err == "folds: 1 of 4 done (1 before), 3 left, about 5 min (ends 12:05)\n"
    do(second, "a", time, 0)
    assert read_times(tmp_path / "p.jsonl") == {"a": 100, "b": 70}  # a piece that was done is not noted again


def test_short_work_tells_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    time = Time()
    folds = work(tmp_path / "p.jsonl", time, {"a": 1, "b": 1})
    do(folds, "a", time, 5)
    do(folds, "b", time, 5)
    assert capsys.readouterr().err == ""


def test_a_piece_that_failed_is_neither_left_nor_measured(tmp_path: Path) -> None:
    time = Time()
    folds = work(tmp_path / "p.jsonl", time, {"a": 1, "b": 1, "c": 1})
    with pytest.raises(ValueError, match="x"):
        do(folds, "a", time, 5, ValueError("x"))
    assert folds.text() == "folds: 0 of 3 done, 1 failed, 2 left, of unknown time"
    assert (folds.left, folds.seconds_left) == (["b", "c"], None)
    do(folds, "b", time, 100)
    assert folds.seconds_left == 100
    assert work(tmp_path / "p.jsonl", time, dict(folds.sizes)).left == ["a", "c"]


def test_the_piece_after_a_line_that_a_kill_cut_short_is_noted(tmp_path: Path) -> None:
    time, sizes = Time(), dict.fromkeys("ab", 1.0)
    (tmp_path / "p.jsonl").write_text('{"piece": "a", "sec')
    do(work(tmp_path / "p.jsonl", time, sizes), "b", time, 7)
    assert work(tmp_path / "p.jsonl", time, sizes).left == ["a"]
    assert read_times(tmp_path / "p.jsonl") == {"b": 7}


@pytest.mark.parametrize("seconds", ["NaN", "1e999", "1e15", "-50", '"7"', "null"])
def test_a_time_that_cannot_be_is_passed_over(tmp_path: Path, seconds: str) -> None:
    path, time = tmp_path / "p.jsonl", Time()
    path.write_text(f'{{"piece": "a", "seconds": {seconds}, "done": true}}\n')
    folds = work(path, time, {"a": 1, "b": 1, "c": 1})
    assert (folds.left, folds.seconds_left) == (["b", "c"], None)
    do(folds, "b", time, 60)
    assert folds.seconds_left == 60


def test_pieces_without_a_size_give_no_estimate(tmp_path: Path) -> None:
    folds = work(tmp_path / "p.jsonl", Time(), {"a": 0, "b": 1})
    do(folds, "a", Time(), 5)
    assert folds.text().endswith("1 left, of unknown time")


def test_several_processes_share_what_is_left(tmp_path: Path) -> None:
    time = Time()
    folds = LongWork(tmp_path / "p.jsonl", dict.fromkeys("abcde", 1), what="x", workers=2, clock=time)
    do(folds, "a", time, 100)
    assert folds.seconds_left == 200
    do(folds, "b", time, 100)
    do(folds, "c", time, 100)
    do(folds, "d", time, 100)
    assert folds.seconds_left == 100  # one process alone can do the last piece


def test_the_last_pieces_are_told_of_at_once_where_something_was_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time = Time()
    folds = LongWork(tmp_path / "p.jsonl", dict.fromkeys("abc", 1), what="x", workers=2, clock=time)
    do(folds, "a", time, 100)
    assert "1 of 3 done" in capsys.readouterr().err
    do(folds, "b", time, 2)  # which ended a moment later
    assert "2 of 3 done, 1 left" in capsys.readouterr().err
    again = LongWork(tmp_path / "p.jsonl", dict.fromkeys("abc", 1), what="x", workers=2, clock=time)
    assert "2 of 3 done (2 before)" in capsys.readouterr().err
    for name in "ab":
        do(again, name, time, 0)
    assert not capsys.readouterr().err  # they were done before
    short = LongWork(tmp_path / "q.jsonl", dict.fromkeys("abc", 1), what="x", workers=2, clock=time)
    for name in "ab":
        do(short, name, time, 2)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (119, "119 s"), (119.6, "2 min"), (120, "2 min"), (3569, "59 min"), (3599, "1 h 0 min"),
        (4800, "1 h 20 min"), (172_799, "2 d 0 h"), (180_000, "2 d 2 h"), (259_140, "3 d 0 h"),
    ],
)  # fmt: skip
def test_durations_in_the_units_that_matter(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_end_has_a_date_where_it_is_another_day() -> None:
    assert end_text(NOON, 6 * 3600 + 40 * 60) == "ends 18:40"
    assert end_text(NOON, 13 * 3600) == "ends 2030-01-02 01:00"


def test_a_lock_is_seen_from_outside(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with sole_process(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
