"""What fine-tuned weights say of themselves: the manifest beside them, and the facts that follow them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open

FINETUNED = "fine-tuned weights"  # `kind` of the manifest that scripts/finetune.py writes beside weights
PHOTOS = "tuned_photos"  # key in a weights file's metadata: hashes of the photos that the weights were tuned on

Value = TypeVar("Value")
WORDS: dict[type, str] = {
    str: "a text", int: "a whole number", float: "a number", dict: "an object", list: "a list", type(None): "null",
}  # fmt: skip


def read_field(content: Mapping[str, Any], name: str, kind: type[Value], where: str, *others: type) -> Any:
    """The value of field `name`, which is of type `kind` or one of `others`; a whole number is a number too.

    where: the file, for the message.

    Raises:
        ValueError: the field is absent or of another type.
    """
    kinds = (kind, *others)
    wanted = " or ".join(WORDS[each] for each in kinds)
    if name not in content:
        raise ValueError(f"{where}: field {name!r} is absent, it is {wanted}; fine-tune anew, or put the file back")
    value = content[name]
    accepted = (*kinds, int) if float in kinds else kinds
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise ValueError(f"{where}: field {name!r} is {value!r}, it is {wanted}; fine-tune anew, or put the file back")
    return value


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some rows of a benchmark, by number and hash."""

    count: int
    hash: str  # six hex digits

    @classmethod
    def read(cls, content: Mapping[str, Any], where: str) -> Rows:
        """From JSON; `where` names file and field for messages."""
        return cls(count=read_field(content, "count", int, where), hash=read_field(content, "hash", str, where))


@dataclass(frozen=True, kw_only=True)
class TunedFacts:
    """What a fine-tuning has shown to weights; it follows them into feature tables and into weights that start here.

    None stands for what an earlier version did not write.
    """

    benchmark: str
    fold: int | None  # the validation fold on whose training classes the weights were tuned; None: all seen classes
    trainval: Rows
    split_hashes: tuple[str, ...] | None
    classes: tuple[str, ...] | None  # names
    started_from: TunedFacts | None  # an earlier fine-tuning, whose rows and classes these weights know too

    @classmethod
    def read(cls, content: Mapping[str, Any], where: str) -> TunedFacts:
        """From JSON; `where` names the file for messages.

        Raises:
            ValueError: a field is absent or of another type.
        """
        started_from = read_field({"started_from": {}} | dict(content), "started_from", dict, where, type(None))
        return cls(
            benchmark=read_field(content, "benchmark", str, where),
            fold=read_field(content, "fold", int, where, type(None)),
            trainval=Rows.read(read_field(content, "trainval", dict, where), f"{where}: trainval"),
            split_hashes=_texts(content, "split_hashes", where),
            classes=_texts(content, "classes", where),
            started_from=cls.read(started_from, f"{where}: started_from") if started_from else None,
        )

    def content(self) -> dict[str, Any]:
        """As JSON; what is not known is left out."""
        facts: dict[str, Any] = {"benchmark": self.benchmark, "fold": self.fold, "trainval": vars(self.trainval)}
        if self.split_hashes is not None:
            facts["split_hashes"] = list(self.split_hashes)
        if self.classes is not None:
            facts["classes"] = list(self.classes)
        return facts | {"started_from": self.started_from.content() if self.started_from else {}}


@dataclass(frozen=True, kw_only=True)
class TunedWeights:
    """What a backbone needs to know of fine-tuned weights: the part of their manifest that is read with them."""

    weights_file: str  # its name
    architecture: str  # timm's name
    pretraining: str  # in words, the fine-tuning included
    image_size: int  # side in pixels of training, and of extraction
    facts: TunedFacts

    @classmethod
    def read(cls, content: Mapping[str, Any], where: str) -> TunedWeights:
        """From the manifest's JSON; `where` names the file for messages.

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
    """The metadata of a safetensors file whose weights were tuned on these photos; empty where there are none.

    It lies in the file of weights itself, so that it goes wherever they go.
    """
    text = " ".join(sorted(hashes))
    return {PHOTOS: text} if text else {}


def read_tuned_photos(weights: Path | None) -> frozenset[str]:
    """Hashes of the photos that the weights in a file were tuned on, with those of earlier fine-tunings.

    None are known of published weights, and of files that scripts/finetune.py did not write.
    """
    if weights is None:
        return frozenset()
    try:
        with safe_open(weights, framework="numpy") as file:
            return frozenset((file.metadata() or {}).get(PHOTOS, "").split())
    except (SafetensorError, OSError):  # of another kind; whoever loads the tensors says what is wrong
        return frozenset()


def _texts(content: Mapping[str, Any], name: str, where: str) -> tuple[str, ...] | None:
    return tuple(map(str, read_field(content, name, list, where))) if name in content else None
