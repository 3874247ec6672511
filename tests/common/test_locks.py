"""Two processes in one folder: one works, the other is refused in words, and nothing is left behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from zsl.common import locks
from zsl.common.locks import FolderInUse, sole_process

HOLD = """
import sys
from pathlib import Path
from zsl.common.locks import sole_process
with sole_process(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=r"another process is at work in .*run; wait until it has ended, or give"):
            sole_process(folder).__enter__()
        first.kill()  # however it ends
    with sole_process(folder), sole_process(folder):  # the same process may ask twice
        assert list(folder.iterdir()) == []


def test_a_process_that_is_refused_leaves_the_folder_of_the_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int, folder: Path) -> None:  # the other process made the folder at the same time
        raise FolderInUse

    monkeypatch.setattr(locks, "_lock", refused)
    with pytest.raises(FolderInUse):
        sole_process(tmp_path / "run").__enter__()
    assert (tmp_path / "run").is_dir()


def test_what_is_held_is_let_go_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), sole_process(tmp_path):
        raise RuntimeError
    process = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], input="", capture_output=True, text=True)
    assert process.stdout == "held\n"


def test_work_that_leaves_nothing_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "cub"
    with sole_process(folder):
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []
    with sole_process(folder):
        (folder / "file").write_text("kept")
    assert (folder / "file").is_file()
