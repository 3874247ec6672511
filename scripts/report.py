"""Write a page for each run: scores beside the paper's, curves, classes, confusion, photos and provenance.

    python scripts/report.py runs/quickstart
    python scripts/report.py runs/cub --paper-figures
    python scripts/report.py runs/cub runs/cub-published runs/cub-table      # and a page that compares them

The script writes report.html and figures/ into each run folder.  With several runs it also writes comparison.html
beside the first run folder.  It takes seconds, the audit another second for 250 photos, and --paper-figures minutes.
The next report uses the results of audit and paper figures again.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass
from pathlib import Path

import tyro
from tyro.conf import Positional

from zsl.cli import run_script
from zsl.common.compute import make_accelerator
from zsl.common.hub import local_folder


@dataclass(frozen=True, kw_only=True)
class Args:
    """Make reports of finished runs."""

    runs: Positional[tuple[Path, ...]] = tyro.MISSING
    """Run folders, or folders of runs such as the folder that scripts/table.py makes."""
    data: Path = Path("data")
    """Folder with the features and photos of the runs."""
    features: Path | None = None
    """Folder of the feature table of all these runs, or hf://datasets/OWNER/NAME, instead of the backbone's table."""
    attribute_names: Path | None = None
    """File with the names: CUB's attributes.txt, AWA's predicates.txt, or your own attributes.csv."""
    paper_figures: bool = False
    """Draw the paper's figures 7 to 9; this trains variants A, B and C again."""
    audit: bool = True  # audit the data of each run; many photos make it slow
    audit_file: Path | None = None
    """Show this audit.json instead of a new audit."""
    out: Path | None = None
    """File of the comparison of several runs; default: comparison.html beside the first run folder."""


def main(args: Args) -> None:
    """Read all runs, and write a page for each and a page that compares them."""
    from zsl.report.page import Options, write_comparison, write_report
    from zsl.report.runs import find_runs, read_report_run

    make_accelerator("no")
    runs = [read_report_run(folder) for folder in find_runs(args.runs)]
    options = Options(
        data=args.data, features=local_folder(args.features) if args.features else None, audit=args.audit,
        attribute_names=args.attribute_names, audit_file=args.audit_file, paper_figures=args.paper_figures,
    )  # fmt: skip
    for run in runs:
        print(write_report(run, [other for other in runs if other is not run], options))
    if len(runs) > 1:
        print(write_comparison(runs, args.out or runs[0].folder.parent / "comparison.html"))


if __name__ == "__main__":
    run_script(main, Args)
