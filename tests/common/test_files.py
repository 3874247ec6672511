"""Files that are whole or absent, and what a kill leaves of them."""

from pathlib import Path

from zsl.common.files import atomic_path, read_json_lines, remove_leftovers


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
