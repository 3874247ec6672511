"""From the raw folder of a benchmark and its split files to instances, joined with the photos that are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from zsl.common.photo_files import ABSENT, file_fault
from zsl.datasets.dataset import Dataset
from zsl.datasets.instances import Instance
from zsl.datasets.registry import find_dataset
from zsl.datasets.row_order import ORDER_FILES, first_three, letters
from zsl.datasets.shared_photos import count_shared_photos, describe_shared_photos
from zsl.datasets.split_file import SplitFile, read_split_file
from zsl.datasets.splits import Splits, make_splits


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
        shared = describe_shared_photos(len(self.instances), self.shared_photos)
        if not self.missing:
            return f"{self.splits.verdict}, complete{shared}"
        classes = len(self.splits.seen) + len(self.splits.unseen)
        return (
            f"{self.splits.verdict}, INCOMPLETE: {self.missing:,} of {self.split_file.count:,} photos missing, "
            f"{classes} of {len(self.split_file.class_names)} classes left{shared}"
        )

    @property
    def shared_photos(self) -> dict[str, int]:
        """How far rows of several splits lie in one photo; empty where rows are whole photos."""
        boxed = any(instance.box is not None for instance in self.instances)
        return count_shared_photos(self.instances, self.splits) if boxed else {}


def read_benchmark(name: str, images: Path, split_folder: Path, *, allow_missing: bool = False) -> Benchmark:
    """Read a benchmark from `images` (its raw folder) and `split_folder` (with `att_splits.mat`).

    With `allow_missing`, rows without a photo or without their box leave every split, and classes without rows leave
    the benchmark.

    Raises:
        FileNotFoundError: photos or boxes are missing and `allow_missing` is not set.
        ValueError: unknown benchmark, or the raw folder and the split file do not fit, or a class folder is spelled
            otherwise.
    """
    images, split_folder = Path(images), Path(split_folder)
    dataset = find_dataset(name)
    split_file = read_split_file(split_folder)
    instances = dataset.reader(images, split_file.class_names, split_folder)
    _check_count(name, images, instances, split_folder, split_file)
    on_disk = [(images / instance.file).is_file() for instance in instances]
    pairs = list(zip(instances, on_disk, strict=True))
    present = [instance for instance, is_file in pairs if is_file and not instance.box_absent]
    absent = [instance for instance, is_file in pairs if not is_file and not (images / instance.file).exists()]
    _check_spelling(images, absent)
    if len(present) < len(instances) and not allow_missing:
        _raise_missing(images, instances, dataset)
    rows = np.array([instance.row for instance in present], dtype=np.int64)
    labels = np.array([instance.label for instance in present], dtype=np.int64)
    return Benchmark(
        name=name,
        images=images,
        split_folder=split_folder,
        split_file=split_file,
        instances=present,
        splits=make_splits(split_file, rows, labels),
    )


def _check_count(name: str, images: Path, instances: list[Instance], split_folder: Path, split_file: SplitFile) -> None:
    """The reader lists as many instances as the split file has rows."""
    if len(instances) == split_file.count:
        return
    labels = {instance.label for instance in instances}
    empty = [class_name for label, class_name in enumerate(split_file.class_names) if label not in labels]
    if len(instances) > split_file.count:
        raise ValueError(
            f"{name} at {images} lists {len(instances):,} images, the split file in {split_folder} "
            f"{split_file.count:,} rows: {len(instances) - split_file.count:,} are surplus, and rows cannot be told.  "
            f"Remove what is not of the archive, or have {' or '.join(ORDER_FILES)} beside the split file name the rows"
        )
    raise ValueError(
        f"{name} at {images} lists {len(instances):,} images, the split file in {split_folder} "
        f"{split_file.count:,} rows{f'; no image of {first_three(empty)}' if empty else ''}.  Where images are "
        f"missing, {' or '.join(ORDER_FILES)} beside the split file must name them"
    )


def _raise_missing(images: Path, instances: list[Instance], dataset: Dataset) -> NoReturn:
    """Name the first photos that are not on the disk or, where all are, that lack a box."""
    absent = [instance.file for instance in instances if not (images / instance.file).is_file()]
    if absent:
        raise FileNotFoundError(
            f"{len(absent):,} of {len(instances):,} photos are missing below {images}: "
            f"{', '.join(_with_fault(images, file) for file in absent[:3])}, …; --allow-missing runs on those that are "
            "there"
        )
    boxless = list(dict.fromkeys(instance.file for instance in instances if instance.box_absent))
    raise FileNotFoundError(
        f"no box for {len(boxless):,} photos: {first_three(boxless)}.  Boxes are in {dataset.box_files}, below "
        f"{images}; --allow-missing counts these photos as missing"
    )


def _with_fault(images: Path, file: str) -> str:
    """The name of an absent photo, and what is there in its place."""
    fault = file_fault(images / file)
    return file if fault == ABSENT else f"{file} ({fault})"


def _check_spelling(images: Path, absent: list[Instance]) -> None:
    """No folder of absent photos is there under a name that differs in case and signs only (`_` for `+`)."""
    folders = sorted({images / Path(instance.file).parent for instance in absent})
    pairs = [
        f"{there.relative_to(images)} should be {folder.name}"
        for folder in folders
        if not folder.exists() and folder.parent.is_dir()
        for there in sorted(folder.parent.iterdir())
        if there.is_dir() and letters(there.name) == letters(folder.name)
    ]
    if pairs:
        raise ValueError(
            f"{len(pairs)} class folders below {images} are not spelled as the split files spell them: "
            f"{first_three(pairs)}; rename them"
        )
