"""The plan of a study: its backbones, methods and seeds, and where its files lie."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from backbones import EncodeOptions, find_preset
from backbones.options import named_options
from shards import Location
from zsl.common.ranges import Count, Whole, check_ranges
from zsl.datasets.class_vectors import ClassVectors
from zsl.experiments.methods import PUBLISHED, check_vectors, find_method
from zsl.experiments.table import check_every, start_of
from zsl.features.class_folds import class_fold_weights, validation_fold_name
from zsl.features.join import SIGN, check_distinct, part_names


@dataclass(frozen=True, kw_only=True)
class Part:
    """A backbone, with its published weights or with the weights of a file."""

    name: str  # name of a preset or of a timm model, and its options of extraction
    weights: Path | None = None

    @property
    def class_folds(self) -> dict[int, Path]:
        """The weights of each class fold of a fine-tuning, beside the weights; none where it was not cross-fitted."""
        return {} if self.weights is None else class_fold_weights(self.weights)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `NAME` or `NAME@FILE`.

        Raises:
            ValueError: there is no backbone of that name.
        """
        name, at, file = text.partition("@")
        find_preset(named_options(name)[0])
        if at and not file:
            raise ValueError(f"--backbones {text}: a weights file is to follow the @, as in {name}@runs/ft/weights.pth")
        return cls(name=name, weights=Path(file) if file else None)

    def of_fold(self, fold: int) -> Self:
        """The part with the weights that scripts/finetune.py wrote for a validation fold, if it wrote any."""
        file = self.weights and self.weights.parent / validation_fold_name(fold) / self.weights.name
        return replace(self, weights=file) if file and file.is_file() else self

    def __str__(self) -> str:
        return self.name if self.weights is None else f"{self.name}@{self.weights}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A backbone of the study, or several whose features are joined."""

    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `NAME` or `NAME@FILE`, or several of them with a + between two.

        Raises:
            ValueError: there is no backbone of that name, or a part is empty or occurs twice.
        """
        words: list[str] = []
        for word in text.split(SIGN):
            if words and "@" in words[-1] and not _is_backbone(word):
                words[-1] += SIGN + word  # the sign is one of the file's name
            else:
                words.append(word)
        if not all(words):
            part_names(text)  # it has the message
        parts = tuple(map(Part.parse, words))
        check_distinct(words, words)
        return cls(parts=parts)

    def of_class_fold(self, number: int, tuned: Collection[Part]) -> Self:
        """The entry in which the parts `tuned` have the weights that were cross-fitted for a class fold."""
        parts = (replace(part, weights=part.class_folds[number]) if part in tuned else part for part in self.parts)
        return replace(self, parts=tuple(parts))

    def of_fold(self, fold: int) -> Self:
        """The entry with the weights that were fine-tuned for a validation fold, where there are any."""
        return replace(self, parts=tuple(part.of_fold(fold) for part in self.parts))

    def __str__(self) -> str:
        return SIGN.join(map(str, self.parts))


def _is_backbone(text: str) -> bool:
    """Whether the text before an @ is the name of a backbone."""
    try:
        find_preset(named_options(text.partition("@")[0])[0])
    except ValueError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Study:
    """The backbones, methods and seeds of a study, and its folders."""

    benchmark: str
    entries: tuple[Entry, ...]
    methods: tuple[str, ...]
    seeds: tuple[Whole, ...]
    folder: Path
    data: Path
    options: EncodeOptions = field(default_factory=EncodeOptions)
    batch_size: Count = 32
    budget: Whole | None = None  # most configurations of each method for which something is trained
    every: Count | None = None  # GAN steps between two looks of the published protocol; None: a tenth of all steps
    workers: Count | None = None  # processes that train at the same time; None: see `count_workers`
    shards: Location | None = None  # folder or URL of the shards; None: below `data`
    allow_pipe: bool = False  # whether `shards` may be a command
    vectors: ClassVectors | None = None  # class vectors in place of attributes, or beside them

    def __post_init__(self) -> None:
        check_ranges(self)

    def piece(self, entry: Entry) -> str:
        """The work on one backbone, in the notes of times; with other methods or seeds it is another piece."""
        return f"{entry}: {' '.join(self.methods)}, seeds {' '.join(map(str, self.seeds))}"

    def check(self) -> None:
        """Check the study before any work, because the same errors later would cost hours.

        Raises:
            ValueError: a method, backbone or seed is unknown or occurs twice, or there is none; or as in `check_every`
                and `check_vectors`.
        """
        for name in self.methods:
            if name != PUBLISHED:
                find_method(name, start_of(self.benchmark)(name))
        for flag, values in (("backbones", self.entries), ("methods", self.methods), ("seeds", self.seeds)):
            if not values or len(set(values)) != len(values):
                raise ValueError(f"--{flag} {' '.join(map(str, values))}: at least one is needed, and each once")
        check_every(self.every, self.methods)
        check_vectors(self.methods, self.vectors, None)


def names_of(entries: Sequence[str]) -> tuple[Entry, ...]:
    """Parse the words after `--backbones` into entries."""
    return tuple(Entry.parse(text) for text in entries)
