"""Compare two runs: is B better than A, or is the difference chance?  Both runs must have the same test rows.

    python scripts/compare.py runs/cub runs/cub-other
    python scripts/compare.py runs/cub runs/cub-other --json comparison.json

    python scripts/compare.py runs/cub runs/cub-other --over images classes seeds

The script prints B - A in T1, U, S, H and AUSUC with the 95 % interval of a paired bootstrap over the test images, and
over classes and seeds where asked.  It takes seconds.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import asdict, dataclass
from pathlib import Path

import tyro
from tyro.conf import Positional

from zsl.cli import run_script
from zsl.common.files import write_json
from zsl.common.ranges import Count, Whole
from zsl.experiments.compare import check_comparable, compare, read_run, table
from zsl.scores.bootstrap import Level


@dataclass(frozen=True, kw_only=True)
class Args:
    """Compare two runs."""

    run_a: Positional[Path] = tyro.MISSING
    """Run folder A, with a details file for each seed."""
    run_b: Positional[Path] = tyro.MISSING
    """Run folder B."""
    resamples: Count = 2000  # draws of the bootstrap
    over: tuple[Level, ...] = ("images",)
    """What the bootstrap draws: test images within their classes, classes, seeds, or several of these."""
    seed: Whole = 0
    """Seed of the resampling."""
    json: Path | None = None
    """Also write the numbers to this file, as fractions."""


def main(args: Args) -> None:
    """Read both runs, check that they can be compared, and print their differences."""
    a, b = read_run(args.run_a), read_run(args.run_b)
    check_comparable(a, b)
    differences = compare(a.details, b.details, over=args.over, resamples=args.resamples, seed=args.seed)
    print(table(a, b, differences))
    if args.json:
        runs = {
            name: {
                "run": str(run.folder),
                "seeds": list(run.details),
                "side_information": run.side_information,
                "protocol": run.protocol,
            }
            for name, run in (("a", a), ("b", b))
        }
        facts = {"benchmark": a.benchmark, "over": list(args.over), "resamples": args.resamples, "seed": args.seed}
        write_json(args.json, runs | facts | {"differences": [asdict(difference) for difference in differences]})


if __name__ == "__main__":
    run_script(main, Args)
