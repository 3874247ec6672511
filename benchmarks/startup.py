"""Measure how long each script's `--help` computes, as a ratio to `python -c "import torch"`.

    python benchmarks/startup.py --json startup.json

The time is the CPU time of a child process, user and system.  Each round starts every script and the import of torch
once, and the script reports the median over `--rounds` rounds.  A round takes a minute on two slow cores.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from zsl.cli import run_script
from zsl.common.files import write_json
from zsl.common.ranges import Count

SCRIPTS = sorted((Path(__file__).resolve().parents[1] / "scripts").glob("*.py"))
GOAL = 1.35


@dataclass(frozen=True, kw_only=True)
class Args:
    """Time the start of all scripts."""

    rounds: Count = 5
    json: Path | None = None  # also write the ratios to this file: one a script, and worst_ratio

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"--rounds is {self.rounds}; it is at least 1")


def main(args: Args) -> None:
    """Print seconds and ratios, the slowest script last."""
    commands = {"import torch": ["-c", "import torch"]} | {path.stem: [str(path), "--help"] for path in SCRIPTS}
    rounds = [{name: cpu_seconds(words) for name, words in commands.items()} for _ in range(args.rounds)]
    seconds = {name: median(times[name] for times in rounds) for name in commands}
    ratios = {path.stem: seconds[path.stem] / seconds["import torch"] for path in SCRIPTS}
    print(f"{'import torch':<14}{seconds['import torch']:6.2f} s")
    for name, ratio in sorted(ratios.items(), key=lambda item: item[1]):
        print(f"{name:<14}{seconds[name]:6.2f} s{ratio:7.2f}")
    worst = max(ratios.values())
    print(f"worst ratio {worst:.2f}, the goal is at most {GOAL}")
    if args.json:
        write_json(args.json, ratios | {"worst_ratio": worst})


def cpu_seconds(words: list[str]) -> float:
    """User and system seconds of `python <words>` and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    run_script(main, Args)
