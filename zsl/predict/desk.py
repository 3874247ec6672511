"""The state behind the page: one reader, and the classes that were added since the start.

Nothing here knows of HTTP.  A photo comes in as bytes, a table as text, a form as values; data for JSON comes out.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zsl.datasets.attribute_table import AttributeTable, read_attributes
from zsl.predict.answers import PROBABILITIES
from zsl.predict.decoding import decode_in_time
from zsl.predict.photos import Limits, read_photo
from zsl.predict.predictor import Predictor
from zsl.predict.reader import Inputs, Reader, with_classes

MAX_TABLE_BYTES = 2_000_000  # of a class's attributes, as a form or as CSV
MAX_NEW_CLASSES, MAX_NAME = 50, 100
MAX_DECODING = 2  # photos at once, each in at most `Limits.max_memory_megabytes`


@dataclass(kw_only=True, eq=False)
class Desk:
    """The state behind the page.  Several threads may call it at once.

    At most MAX_DECODING photos are decoded at a time, each for a limited time (`decode_in_time`).  Answers and changes
    wait for each other.
    """

    reader: Reader
    run: str  # the run's name on the page
    limits: Limits
    first: Predictor = field(init=False)  # without the added classes
    lock: threading.Lock = field(default_factory=threading.Lock)
    decoding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MAX_DECODING))

    def __post_init__(self) -> None:
        self.first = self.reader.predictor

    def describe(self) -> dict[str, Any]:
        """What the page shows of the run."""
        reader = self.reader
        facts = reader.predictor.facts
        return {
            "run": self.run,
            "benchmark": facts.benchmark,
            "method": facts.method,
            "backbone": facts.backbone.name,
            "seeds": list(reader.predictor.models),
            "probabilities": PROBABILITIES,
            "adding_took": reader.adding_took,
            "limits": asdict(self.limits) | {"table_megabytes": MAX_TABLE_BYTES / 1e6},
            "classes": _classes(reader.predictor),
            "attributes": _attribute_ranges(reader.predictor),
        }

    def strengths(self, name: str) -> list[float]:
        """The attributes of a class [A].

        Raises:
            ValueError: there is no such class.
        """
        predictor = self.reader.predictor
        if name not in predictor.class_names:
            raise ValueError(f"no class {name!r}")
        label = predictor.classes[predictor.class_names.index(name)]
        values: list[float] = predictor.train.attributes[label].tolist()
        return values

    def answer(self, data: bytes) -> dict[str, Any]:
        """The answer for a photo's bytes.

        Raises:
            ValueError: as `read_photo` and `decode_in_time`.
        """
        image, notes = decode_in_time(lambda: self._inputs(data), self.decoding)
        with self.lock:
            return asdict(self.reader.answers([image], ["photo"], [notes])[0])

    def _inputs(self, data: bytes) -> tuple[Inputs, tuple[str, ...]]:
        """The backbones' inputs from a photo's bytes, and notes on what decoding changed."""
        image, notes = read_photo(data, self.limits)
        return self.reader.inputs(image), notes

    def add_table(self, text: str) -> None:
        """Add the classes of a CSV.

        Raises:
            ValueError: as `read_attributes` and `add_classes`.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            path.write_text(text, encoding="utf-8")
            try:
                table = read_attributes(path, at_least=1)
            except ValueError as error:
                raise ValueError(str(error).replace(str(path), "the table")) from error
        self._add(table)

    def add_like(self, name: str, base: str, changes: dict[str, float]) -> None:
        """Add a class that has the attributes of the class `base`, except for those in `changes`.

        Raises:
            ValueError: there is no such class or attribute, a value is no number, or as `add_classes`.
        """
        names = self.reader.predictor.attribute_names
        values = self.strengths(base)
        for attribute, value in changes.items():
            if attribute not in names:
                raise ValueError(f"no attribute {attribute!r}")
            values[names.index(attribute)] = _number(value, attribute)
        if not changes:
            raise ValueError(f"the new class has the very attributes of {base!r}; change at least one")
        self._add(AttributeTable(classes=(name,), attributes=names, strengths=np.array([values])))

    def forget(self) -> None:
        """Take out the classes that were added since the start."""
        with self.lock:
            self.reader = replace(self.reader, predictor=self.first, adding_took=None)

    def _add(self, table: AttributeTable) -> None:
        if long := [name for name in table.classes if not 0 < len(name.strip()) <= MAX_NAME]:
            raise ValueError(f"a class name has {len(long[0])} characters; 1 to {MAX_NAME} are needed")
        if not (np.asarray(table.strengths) != 0).any(axis=1).all():
            raise ValueError("a class has no attribute but 0; nothing tells what it looks like")
        with self.lock:
            count = len(self.reader.predictor.class_names) - len(self.first.class_names)
            if count + len(table.classes) > MAX_NEW_CLASSES:
                raise ValueError(f"{count} classes were added already, {MAX_NEW_CLASSES} is the limit")
            self.reader = with_classes(self.reader, table)


def _classes(predictor: Predictor) -> list[dict[str, str]]:
    columns = zip(predictor.class_names, predictor.shown_names, predictor.kinds, strict=True)
    return [{"name": name, "shown": shown, "kind": kind} for name, shown, kind in columns]


def _attribute_ranges(predictor: Predictor) -> list[dict[str, Any]]:
    """Each attribute's name, with its lowest and highest strength in any class."""
    strengths = predictor.train.attributes[predictor.classes]
    columns = zip(predictor.attribute_names, strengths.amin(0).tolist(), strengths.amax(0).tolist(), strict=True)
    return [{"name": name, "low": low, "high": high} for name, low, high in columns]


def _number(value: Any, attribute: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -sys.float_info.max <= value <= sys.float_info.max:
        shown = str(value)[:20] if isinstance(value, float | str) else type(value).__name__
        raise ValueError(f"attribute {attribute!r} is {shown!r}; it should be a number")
    return float(value)
