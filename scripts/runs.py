"""List all runs, choices and fine-tunings below --runs: scores, time, and how far each one is.

    python scripts/runs.py
    python scripts/runs.py --json

Scores are in per cent, mean ± sd over the seeds that are done; in JSON they are fractions.  A folder that cannot be
read has a line that says why.  Nothing is written.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

import json
from dataclasses import dataclass
from pathlib import Path

from zsl.cli import run_script


@dataclass(frozen=True, kw_only=True)
class Args:
    """List runs."""

    runs: Path = Path("runs")  # where the folders of runs lie
    json: bool = False  # print JSON


def main(args: Args) -> None:
    """Print the list."""
    from zsl.report.run_list import list_runs, runs_table

    lines = list_runs(args.runs)
    print(json.dumps([line.content for line in lines], indent=2) + "\n" if args.json else runs_table(lines), end="")


if __name__ == "__main__":
    run_script(main, Args)
