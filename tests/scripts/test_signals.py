"""Ctrl-C and a signal to end: one line, exit code 130, no traceback."""

import subprocess
import sys

import pytest

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
