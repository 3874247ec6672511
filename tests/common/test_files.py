"""Files that are whole or absent, and what a kill leaves of them."""

import errno
import json
import os
from pathlib import Path

import pytest

from zsl.common.files import atomic_path, read_json_lines, remove_leftovers, write_json


def test_leftovers_of_a_kill_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / ".tmpAb12Cd").touch()  # of the safetensors library
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".tmpAb12Cd").touch()
    with atomic_path(tmp_path / "results.json") as temporary:
        temporary.touch()
        (tmp_path / "copy").write_text(temporary.name)
    (tmp_path / (tmp_path / "copy").read_text()).touch()  # as if the block had been killed
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "model.safetensors", "results.json", "sub"]
    assert len(list((tmp_path / "sub").iterdir())) == 1


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    for text, entries in (("", []), ('{"a": 1}\n{"b', [{"a": 1}]), ('{"a": 1}\n{"b": 2}\n', [{"a": 1}, {"b": 2}])):
        path.write_text(text)
        assert read_json_lines(path) == entries


def test_of_processes_that_write_at_the_same_time_the_first_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    writing = atomic_path(path, replace=False)
    writing.__enter__().write_text("second")
    path.write_text("first")
    with pytest.raises(FileExistsError):
        writing.__exit__(None, None, None)
    assert path.read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_there_is_not_replaced_where_it_must_not(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "config.json"
    write_json(path, 1, replace=False)
    assert json.loads(path.read_text()) == 1
    if links:  # a file system without links cannot tell
        with pytest.raises(FileExistsError):
            write_json(path, 2, replace=False)
        assert json.loads(path.read_text()) == 1
    write_json(path, 3)
    assert json.loads(path.read_text()) == 3
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
