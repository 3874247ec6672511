"""From the raw layout of a benchmark to its instances at their official rows.

A reader knows one benchmark's folders and row order and nothing else.  `read_benchmark` is the one place where
instances, photos at hand and official splits meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsl.datasets import apy, awa, cub, folders, sun
from zsl.datasets.instances import Instance
from zsl.datasets.row_order import ORDER_FILES, first_three
from zsl.datasets.split_file import SplitFile, read_split_file
from zsl.datasets.splits import Splits, make_splits

# Raw folder, class names in the order of their ids, split folder (for the files that state the row order).
Reader = Callable[[Path, Sequence[str], Path | None], list[Instance]]

READERS: dict[str, Reader] = {
    "cub": cub.instances,
    "awa1": awa.instances,
    "awa2": awa.instances,
    "apy": apy.instances,
    "sun": sun.instances,
    "shapes": folders.instances,
}


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
            return f"{self.splits.verdict}, complete{self._shared_photos_in_words()}"
        classes = len(self.splits.seen) + len(self.splits.unseen)
        return (
            f"{self.splits.verdict}, INCOMPLETE: {self.missing:,} of {self.split_file.count:,} photos missing, "
            f"{classes} of {len(self.split_file.class_names)} classes left{self._shared_photos_in_words()}"
        )

    @property
    def shared_photos(self) -> dict[str, int]:
        """How far rows of several splits lie in one photo (`apy.shared_photos`); empty where rows are whole photos."""
        boxed = any(instance.box is not None for instance in self.instances)
        return apy.shared_photos(self.instances, self.splits) if boxed else {}

    def _shared_photos_in_words(self) -> str:
        counts = self.shared_photos
        if not counts:
            return ""
        beside = " and ".join(
            f"{counts[f'{part}_rows_beside_trainval']:,} of {counts[f'{part}_rows']:,} {part} rows"
            for part in ("test_unseen", "test_seen")
        )
        return (
            f"; rows are {len(self.instances):,} boxes in {counts['photos']:,} photos, {beside} lie in a photo that "
            f"also holds a trainval row, {counts['photos_of_several_classes']:,} photos hold two or more classes"
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
    instances = reader(Path(images), split_file.class_names, Path(split_folder))
    if len(instances) != split_file.count:
        found = {instance.label for instance in instances}
        empty = [class_name for label, class_name in enumerate(split_file.class_names) if label not in found]
        raise ValueError(
            f"{name} at {images} lists {len(instances):,} images, the split file in {split_folder} "
            f"{split_file.count:,} rows{f'; no image of {first_three(empty)}' if empty else ''}.  Where images are "
            f"missing, {' or '.join(ORDER_FILES)} beside the split file must name them"
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
