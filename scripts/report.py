"""Runs to pages: scores beside the paper's, curves, classes, confusion, photos, provenance.

    python scripts/report.py runs/quickstart
    python scripts/report.py runs/cub --paper-figures
    python scripts/report.py runs/cub runs/cub-published runs/cub-table      # and a page that compares them

Writes report.html and figures/ into each run folder; with several runs also comparison.html beside the first.  Seconds;
the audit takes a second for 250 photos, --paper-figures minutes; what they found is kept for the next report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from tyro.conf import Positional

from zsl.cli import run_script
from zsl.common.compute import make_accelerator


@dataclass(frozen=True, kw_only=True)
class Args:
    """Make reports of finished runs."""

    runs: Positional[tuple[Path, ...]] = tyro.MISSING
    """Run folders, or folders of runs such as that of scripts/table.py."""
    data: Path = Path("data")
    """Where the features and photos lie that the runs were made from."""
    features: Path | None = None
    """Feature table of all these runs, instead of the backbone's below --data."""
    attribute_names: Path | None = None
    """CUB's attributes.txt, AWA's predicates.txt, an attributes.csv of one's own."""
    paper_figures: bool = False
    """Draw the paper's figures 7 to 9; trains variants A, B and C again."""
    audit: bool = True  # slow where photos are many
    audit_file: Path | None = None
    """Take this audit.json instead."""
    out: Path | None = None
    """The comparison page of several runs; default: comparison.html beside the first run folder."""


def main(args: Args) -> None:
    """Read all runs, write a page for each and one for all."""
    from zsl.report.page import Options, write_comparison, write_report
    from zsl.report.runs import find_runs, read_report_run

    make_accelerator("no")
    runs = [read_report_run(folder) for folder in find_runs(args.runs)]
    options = Options(
        data=args.data, features=args.features, attribute_names=args.attribute_names, audit=args.audit,
        audit_file=args.audit_file, paper_figures=args.paper_figures,
    )  # fmt: skip
    for run in runs:
        print(write_report(run, [other for other in runs if other is not run], options))
    if len(runs) > 1:
        print(write_comparison(runs, args.out or runs[0].folder.parent / "comparison.html"))


if __name__ == "__main__":
    run_script(main, Args)
