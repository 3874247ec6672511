"""Facts about fine-tuned weights, from the manifest beside them; feature tables and later weights keep these facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open

FINETUNED = "fine-tuned weights"  # `kind` of the manifest that scripts/finetune.py writes beside weights
PHOTOS = "tuned_photos"  # key in a weights file's metadata: hashes of the photos that the weights were tuned on

Value = TypeVar("Value")
NONE = type(None)
WORDS: dict[type, str] = {
    str: "a text", int: "a whole number", float: "a number", dict: "an object", list: "a list", type(None): "null",
}  # fmt: skip


def read_field(content: Mapping[str, Any], name: str, kind: type[Value], where: str, *others: type) -> Any:
    """Return the value of field `name`, which is of type `kind` or one of `others`; a whole number is also a number.

    where: name of the file for the message.

    Raises:
        ValueError: the field is absent or of another type.
    """
    kinds = (kind, *others)
    words = " or ".join(WORDS[each] for each in kinds)
    if name not in content:
        raise ValueError(f"{where}: field {name!r} is absent, it is {words}; fine-tune anew, or put the file back")
    value = content[name]
    accepted = (*kinds, int) if float in kinds else kinds
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise ValueError(f"{where}: field {name!r} is {value!r}, it is {words}; fine-tune anew, or put the file back")
    return value


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The number of some rows of a benchmark, and their hash."""

    count: int
    hash: str  # six hex digits

    @classmethod
    def read(cls, content: Mapping[str, Any], where: str) -> Rows:
        """Read them from JSON; `where` names the file and the field for messages."""
        return cls(count=read_field(content, "count", int, where), hash=read_field(content, "hash", str, where))


@dataclass(frozen=True, kw_only=True)
class TunedGamma:
    """The γ of calibrated stacking that class folds chose, for features of weights that know all classes."""

    method: str
    config_sha256: str  # of the method's configuration
    unit: str  # in which γ travels, such as raw
    value: float  # γ in this unit
    folds: int  # how many chose it
    harmonic: float  # H on them where the other folds chose γ
    size: tuple[int, int] | None = None  # height and width of the photos in pixels; None: of an earlier version
    attributes_hash: str | None = None  # of the attributes [C, A]; None: of an earlier version

    @classmethod
    def read(cls, content: Mapping[str, Any], where: str) -> TunedGamma:
        """Read it from JSON; `where` names the file and the field for messages.

        Raises:
            ValueError: a field is absent or of another type.
        """
        return cls(
            **{name: read_field(content, name, str, where) for name in ("method", "config_sha256", "unit")},
            **{name: read_field(content, name, float, where) for name in ("value", "harmonic")},
            folds=read_field(content, "folds", int, where),
            size=_size(content, where),
            attributes_hash=read_field({"attributes_hash": None} | dict(content), "attributes_hash", str, where, NONE),
        )

    @property
    def content(self) -> dict[str, Any]:
        """The fields as JSON, without unknown ones."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class TunedFacts:
    """The data that weights were fine-tuned on.

    Feature tables, and later fine-tunings of the weights, keep these facts.  A field is None if an earlier version did
    not write it.
    """

    benchmark: str
    fold: int | None  # fold (validation or class) for whose training classes the weights are; None: all seen classes
    trainval: Rows
    split_hashes: tuple[str, ...] | None
    classes: tuple[str, ...] | None  # names of classes
    started_from: TunedFacts | None  # earlier fine-tuning; these weights also know its rows and classes
    gamma: TunedGamma | None = None  # None: no class folds chose one

    @classmethod
    def read(cls, content: Mapping[str, Any], where: str) -> TunedFacts:
        """Read the facts from JSON; `where` names the file for messages.

        Raises:
            ValueError: a field is absent or of another type.
        """
        absent: dict[str, Any] = {"started_from": {}, "gamma": {}}
        started_from, gamma = (
            read_field(absent | dict(content), name, dict, where, type(None)) for name in ("started_from", "gamma")
        )
        return cls(
            benchmark=read_field(content, "benchmark", str, where),
            fold=read_field(content, "fold", int, where, type(None)),
            trainval=Rows.read(read_field(content, "trainval", dict, where), f"{where}: trainval"),
            split_hashes=_texts(content, "split_hashes", where),
            classes=_texts(content, "classes", where),
            started_from=cls.read(started_from, f"{where}: started_from") if started_from else None,
            gamma=TunedGamma.read(gamma, f"{where}: gamma") if gamma else None,
        )

    def content(self) -> dict[str, Any]:
        """The facts as JSON, without unknown ones."""
        facts: dict[str, Any] = {"benchmark": self.benchmark, "fold": self.fold, "trainval": vars(self.trainval)}
        if self.split_hashes is not None:
            facts["split_hashes"] = list(self.split_hashes)
        if self.classes is not None:
            facts["classes"] = list(self.classes)
        if self.gamma is not None:
            facts["gamma"] = self.gamma.content
        return facts | {"started_from": self.started_from.content() if self.started_from else {}}


@dataclass(frozen=True, kw_only=True)
class TunedWeights:
    """The facts that a backbone needs about fine-tuned weights; they are a part of the manifest."""

    weights_file: str  # name of the file
    architecture: str  # timm's name
    pretraining: str  # training data in words, with the fine-tuning
    image_size: int  # side in pixels of images in training and extraction
    facts: TunedFacts

    @classmethod
    def read(cls, content: Mapping[str, Any], where: str) -> TunedWeights:
        """Read the facts from the manifest's JSON; `where` names the file for messages.

        Raises:
            ValueError: a field is absent or of another type.
        """
        return cls(
            weights_file=read_field(content, "weights_file", str, where),
            architecture=read_field(content, "architecture", str, where),
            pretraining=read_field(content, "pretraining", str, where),
            image_size=read_field(content, "image_size", int, where),
            facts=TunedFacts.read(content, where),
        )


def photos_metadata(hashes: Iterable[str]) -> dict[str, str]:
    """Make the metadata of a safetensors file whose weights were tuned on these photos; empty without photos.

    The weights file itself holds the hashes, so that a copy of the file also has them.
    """
    text = " ".join(sorted(hashes))
    return {PHOTOS: text} if text else {}


def read_tuned_photos(weights: Path | None) -> frozenset[str]:
    """Read the hashes of the photos that the weights in a file were tuned on, also in earlier fine-tunings.

    The result is empty for published weights, and for files that scripts/finetune.py did not write.
    """
    if weights is None:
        return frozenset()
    try:
        with safe_open(weights, framework="numpy") as file:
            return frozenset((file.metadata() or {}).get(PHOTOS, "").split())
    except (SafetensorError, OSError):  # not a safetensors file; the reader of the tensors reports what is wrong
        return frozenset()


def _size(content: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    size = read_field({"size": None} | dict(content), "size", list, where, NONE)
    if size is not None and not (len(size) == 2 and all(isinstance(side, int) for side in size)):
        raise ValueError(f"{where}: field 'size' is {size!r}, it is height and width; fine-tune anew, or put it back")
    return None if size is None else (size[0], size[1])


def _texts(content: Mapping[str, Any], name: str, where: str) -> tuple[str, ...] | None:
    return tuple(map(str, read_field(content, name, list, where))) if name in content else None
