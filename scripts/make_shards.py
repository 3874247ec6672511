"""Pack raw photos and official split files into WebDataset shards.

    python scripts/make_shards.py                          # draws the embedded benchmark `shapes`, then packs it
    python scripts/make_shards.py --benchmark cub --images CUB_200_2011 --splits xlsa17/data/CUB

The shards keep the original bytes.  CUB's 11,788 photos are packed at the speed of the disk.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass
from pathlib import Path

from shards.write import SHARD_SIZE
from zsl.cli import run_script
from zsl.common.locks import sole_process
from zsl.common.ranges import Count
from zsl.datasets.pack import make_shards
from zsl.datasets.places import shards_folder


@dataclass(frozen=True, kw_only=True)
class Args:
    """Pack a benchmark's photos into shards."""

    benchmark: str = "shapes"
    """`shapes` (drawn, no download), awa1, awa2, apy, cub, sun, or the path of a folder of your own."""
    images: Path | None = None
    """Raw folder of the benchmark, e.g. CUB_200_2011."""
    splits: Path | None = None
    """Folder with att_splits.mat and the class lists."""
    data: Path = Path("data")
    """Folder for shards and features."""
    allow_missing: bool = False
    """Continue without absent photos; every manifest and result then states it."""
    shard_size: Count = SHARD_SIZE
    """Photos in a shard, the unit of work of extraction; more for millions of photos, whose files are fewer then."""


def main(args: Args) -> None:
    """Write the shards and print what they hold."""
    with sole_process(shards_folder(args.data, args.benchmark).parent):
        index, raw = make_shards(
            args.benchmark, args.data, images=args.images, splits=args.splits, allow_missing=args.allow_missing,
            shard_size=args.shard_size,
        )  # fmt: skip
    print(f"{raw.verdict}\n{raw.splits.describe()}")
    print(f"{shards_folder(args.data, args.benchmark)}: {index.count:,} photos in {len(index.shards)} shards")


if __name__ == "__main__":
    run_script(main, Args)
