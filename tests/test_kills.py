"""The small form of benchmarks/kills.py: a table made through `kill -9` is, byte for byte, the undisturbed one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "kills.py"


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark looks for the ranks in /proc")
def test_a_table_made_by_two_ranks_through_two_kills_is_the_undisturbed_one(tmp_path: Path) -> None:
    report = tmp_path / "kills.json"
    run = subprocess.run(
        [sys.executable, BENCHMARK, "--kills", "2", "--ranks", "2", "--strangers", "0", "--json", report],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(report.read_text())
    assert result["kills_by_ranks"] == {"2": 2}  # each of them seen by torchrun as the end of a rank by signal 9
    assert result["byte_equal"] is True
    assert result["tables"] >= 1
    assert result["starts"] == result["kills"] + result["tables"]
    assert result["parts_lost_or_redone"] == 0
