"""The small forms of benchmarks/kills*.py: what was made through `kill -9` is, byte for byte, the undisturbed one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(benchmark: str, folder: Path, *words: str | Path) -> dict[str, Any]:
    """What the benchmark reports."""
    report = folder / "kills.json"
    process = subprocess.run(
        [sys.executable, BENCHMARKS / benchmark, *words, "--json", report],
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return json.loads(report.read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark looks for the ranks in /proc")
def test_a_table_made_by_two_ranks_through_two_kills_is_the_undisturbed_one(tmp_path: Path) -> None:
    result = run("kills.py", tmp_path, "--kills", "2", "--ranks", "2", "--strangers", "0")
    assert result["kills_by_ranks"] == {"2": 2}  # each of them seen by torchrun as the end of a rank by signal 9
    assert result["byte_equal"] is True
    assert result["tables"] >= 1
    assert result["starts"] == result["kills"] + result["tables"]
    assert result["parts_lost_or_redone"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark sets the processes' cores, as Linux lets one")
@pytest.mark.parametrize(("kind", "kills"), [("dcrgan", 3), ("at-once", 2)])
def test_a_run_through_kills_is_the_undisturbed_one(tmp_path: Path, kind: str, kills: int) -> None:
    result = run("kills_training.py", tmp_path, "--kills", str(kills), "--runs", kind)
    assert result["kills"] == sum(result["kills_by_moment"].values()) == kills  # each of them ended by signal 9
    assert result["byte_equal"] is True
    assert result["runs"] >= 1
