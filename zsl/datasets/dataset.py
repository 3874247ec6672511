"""What the code knows of a benchmark before any of its files is read; each reader's file ends with one `Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zsl.datasets.instances import Instance

# Raw folder, class names in the order of their ids, split folder (for the files that state the row order).
Reader = Callable[[Path, Sequence[str], Path | None], list[Instance]]


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What the authors' archives are called, and what lies in them."""

    photos: str  # the file to unpack
    folder: str  # in words: the folder that --images should be
    splits: str  # folder of the benchmark in xlsa17.zip
    gigabytes: float  # of the unpacked photos, about
    images: int  # official rows


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A benchmark: the reader of its raw folder, and how its official files are recognised.

    `split_hashes` are the first six hex digits of the md5 of each part of the split as a sorted, 1-based int64 array,
    in the order trainval, test_seen, test_unseen; every public copy of the files (2019-2024) agrees on these.
    `class_hash` is the same of `allclasses_names` in the file's order, joined by newlines: labels are positions in
    that list.
    """

    reader: Reader
    name: str  # as verdicts spell it
    official: bool = True  # False: the photos are drawn here, and so is the split
    split_hashes: tuple[str, str, str]
    class_hash: str | None = None
    missing_strength: float | None = None  # what `original_att` holds where people gave no strength
    box_files: str = ""  # in words: what states the boxes; "" where rows are whole photos
    attribute_files: tuple[str, ...] = ()  # below the raw folder; a line each attribute
    readable: Mapping[str, str] = field(default_factory=dict)  # names of classes for readers that no rule makes
    archive: Archive | None = None  # of the photos; None where they are drawn

    @property
    def verdict(self) -> str:
        """What a split with these hashes is called."""
        return f"{'official Proposed Split' if self.official else 'embedded split'} of {self.name}"
