"""Check that nothing of the test rows or of the unseen classes leaks into training.  The exit code of a leak is 1.

    python scripts/audit.py                              # `shapes`, all its feature tables
    python scripts/audit.py --benchmark cub --backbone efficientnet_lite0 --run runs/cub

The audit compares the names, the bytes and the looks of all photos across splits; each core compares about 250 photos a
second.  It compares the hashes of splits, shards, features and run.  It checks on which rows the scaler was fitted, and
whether the backbone's training data hold unseen classes.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

import sys
from dataclasses import dataclass
from pathlib import Path

from zsl.audit.findings import failed
from zsl.cli import run_script
from zsl.datasets.places import benchmark_name
from zsl.experiments.results import CONFIG_FILE, read_facts
from zsl.features.join import find_tables, named_table


@dataclass(frozen=True, kw_only=True)
class Args:
    """Audit a benchmark's shards, splits and features, and a run if one is named."""

    benchmark: str = "shapes"  # shapes, awa1, awa2, apy, cub, sun, or a folder of your own
    backbone: str | None = None
    """Backbone of the features, or several joined by +; default: that of --run, or without --run every table."""
    features: Path | None = None
    """Folder of a feature table, or hf://datasets/OWNER/NAME, instead of the backbone's table below --data."""
    splits: Path | None = None
    """Folder with att_splits.mat, instead of the copy that make_shards left below --data."""
    run: Path | None = None
    """Run folder made from these features."""
    data: Path = Path("data")  # where shards and features lie
    out: Path | None = None
    """Folder for audit.json and the picture of near duplicates; default: data/<benchmark>/audit."""


def main(args: Args) -> None:
    """Print the findings, the gravest first."""
    from zsl.audit.audit import AUDIT_FILE, audit, report

    if args.run and not (args.run / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{args.run} is no run folder (no {CONFIG_FILE}); scripts/train_dcrgan.py makes one")
    backbone = args.backbone or (read_facts(args.run / CONFIG_FILE).backbone if args.run else None)
    found = find_tables(args.data, args.benchmark, backbone) if backbone and not args.features else ()
    tables = [named_table(args.features, args.backbone)] if args.features else list(found) or None
    out = args.out or args.data / benchmark_name(args.benchmark) / "audit"
    findings = audit(args.benchmark, args.data, out, tables=tables, splits=args.splits, run=args.run)
    print(f"{report(findings)}\n{out / AUDIT_FILE}")
    sys.exit(failed(findings))


if __name__ == "__main__":
    run_script(main, Args)
