"""Ctrl-C and a signal to end: one line, exit code 130, no traceback."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import SCRIPTS

SCRIPT = """
import os, signal
from dataclasses import dataclass
from zsl.cli import run_script

@dataclass
class Args:
    number: int = 0

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

def main(args: Args) -> None:
    os.kill(os.getpid(), args.number)
    while True:
        signal.pause()

run_script(main, Args)
"""


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_ends_a_script_with_one_line(number: int) -> None:
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--number", str(number)], capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 130
    assert process.stderr == "stopped; the same command goes on\n"


@pytest.mark.parametrize("number", [2, 15])
@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_a_signal_during_the_imports_ends_a_script_with_one_line(script: str, number: int, tmp_path: Path) -> None:
    """A module in the place of tyro, which every script imports, sends the signal."""
    (tmp_path / "tyro.py").write_text(f"import os, time\nos.kill(os.getpid(), {number})\ntime.sleep(60)\n")
    process = subprocess.run(
        [sys.executable, str(SCRIPTS / script)], capture_output=True, text=True, timeout=120,
        env={"PYTHONPATH": f"{tmp_path}:{SCRIPTS.parent}", "PATH": ""},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # pytest's job may ignore it
    )  # fmt: skip
    assert process.returncode == 130
    assert process.stderr == "stopped; the same command goes on\n"
