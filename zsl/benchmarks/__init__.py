"""From the raw layout of a benchmark to its instances at their official rows.

A reader knows one benchmark's folders and row order and nothing else.  `read_benchmark` is the one place where
instances, photos at hand and official splits meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsl.benchmarks import cub, folders
from zsl.benchmarks.instances import Instance
from zsl.splits import SplitFile, Splits, make_splits, read_split_file

Reader = Callable[[Path, Sequence[str]], list[Instance]]

READERS: dict[str, Reader] = {"cub": cub.instances, "shapes": folders.instances}


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """The instances whose photo is at hand, in official row order, and the splits restricted to them."""

    name: str
    images: Path
    split_folder: Path
    split_file: SplitFile
    instances: list[Instance]
    splits: Splits

    @property
    def missing(self) -> int:
        """Number of official rows without a photo."""
        return self.split_file.count - len(self.instances)

    @property
    def verdict(self) -> str:
        """What this is, in words that go into every manifest and result."""
        if not self.missing:
            return f"{self.splits.verdict}, complete"
        classes = len(self.splits.seen) + len(self.splits.unseen)
        return (
            f"{self.splits.verdict}, INCOMPLETE: {self.missing:,} of {self.split_file.count:,} photos missing, "
            f"{classes} of {len(self.split_file.class_names)} classes left"
        )


def find_reader(name: str) -> Reader:
    """The reader of benchmark `name`.

    Raises:
        ValueError: there is none.
    """
    if name not in READERS:
        raise ValueError(f"no benchmark {name!r}; there are {', '.join(sorted(READERS))}")
    return READERS[name]


def read_benchmark(name: str, images: Path, split_folder: Path, *, allow_missing: bool = False) -> Benchmark:
    """Read a benchmark from `images` (its raw folder) and `split_folder` (with `att_splits.mat`).

    With `allow_missing`, rows without a photo leave every split, and classes without photos leave the benchmark.

    Raises:
        FileNotFoundError: photos are missing and `allow_missing` is not set.
        ValueError: unknown benchmark, or the raw layout and the split file do not fit.
    """
    reader = find_reader(name)
    split_file = read_split_file(split_folder)
    instances = reader(Path(images), split_file.class_names)
    if len(instances) != split_file.count:
        raise ValueError(
            f"{name} at {images} lists {len(instances):,} images, the split file in {split_folder} "
            f"{split_file.count:,} rows"
        )
    present = [instance for instance in instances if (Path(images) / instance.file).is_file()]
    if len(present) < len(instances) and not allow_missing:
        at_hand = {instance.row for instance in present}
        first = [instance.file for instance in instances if instance.row not in at_hand][:3]
        raise FileNotFoundError(
            f"{len(instances) - len(present):,} of {len(instances):,} photos are missing below {images}: "
            f"{', '.join(first)}, …; --allow-missing runs on those that are there"
        )
    rows = np.array([instance.row for instance in present], dtype=np.int64)
    labels = np.array([instance.label for instance in present], dtype=np.int64)
    return Benchmark(
        name=name,
        images=Path(images),
        split_folder=Path(split_folder),
        split_file=split_file,
        instances=present,
        splits=make_splits(split_file, rows, labels),
    )
