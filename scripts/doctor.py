"""Find what a benchmark still lacks: what is missing, where, what the official archive calls it, and what to do.

    python scripts/doctor.py
    python scripts/doctor.py --benchmark cub --images CUB_200_2011 --splits xlsa17/data/CUB --backbone resnet101

The exit code is 0 if everything is there.  The script downloads and writes nothing, and takes seconds.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

import sys
from dataclasses import dataclass
from pathlib import Path

try:
    from zsl.audit.doctor import doctor, report
    from zsl.audit.findings import failed
    from zsl.cli import default_backbone, run_script
except ModuleNotFoundError as error:
    sys.exit(f"error: the package {error.name} is not installed: pip install -e .   (or: make environment)")


@dataclass(frozen=True, kw_only=True)
class Args:
    """Look for everything that a benchmark needs."""

    benchmark: str = "shapes"  # shapes, awa1, awa2, apy, cub, sun, or a folder of your own
    images: Path | None = None
    """Raw folder of the benchmark, as for make_shards."""
    splits: Path | None = None
    """Folder with att_splits.mat and the class lists, as for make_shards."""
    backbone: str | None = None
    """Preset or any timm model, several joined by +; default: resnet101, but the offline preset for shapes."""
    weights: Path | None = None
    """Weights file instead of the published weights."""
    data: Path = Path("data")  # where shards and features lie
    allow_missing: bool = False
    """Report absent photos as a note, not as a failure."""


def main(args: Args) -> None:
    """Print what is there and what is missing."""
    findings = doctor(
        args.benchmark, args.data, images=args.images, splits=args.splits, weights=args.weights,
        backbone=args.backbone or default_backbone(args.benchmark), allow_missing=args.allow_missing,
    )  # fmt: skip
    print(report(findings))
    sys.exit(failed(findings))


if __name__ == "__main__":
    run_script(main, Args)
