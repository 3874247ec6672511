"""Tables of cells, which the page shows and sorts."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """The text of a cell, and the value by which it is sorted; columns of numbers are right-aligned."""

    text: str
    value: float | str

    @property
    def is_number(self) -> bool:
        """Whether the column of this cell is sorted as numbers."""
        return not isinstance(self.value, str)


@dataclass(frozen=True, kw_only=True)
class Table:
    """The head of each column, and rows of cells; the first cell of a row is the row's head."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    emphasis: frozenset[int] = frozenset()  # numbers of the rows that stand out
    notes: tuple[str, ...] = ()  # footnotes; the first is [1]


def word(text: str) -> Cell:
    """A cell of text."""
    return Cell(text, text.lower())


def percent(value: float | None, std: float | None = None) -> Cell:
    """A fraction in per cent, with its standard deviation; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return Cell("–", -1.0)
    return Cell(f"{100 * value:.1f}" + ("" if std is None else f" ± {100 * std:.1f}"), value)


def signed_percent(value: float) -> Cell:
    """A difference of fractions in per cent, with its sign."""
    return Cell(f"{100 * value:+.1f}".replace("-", "−"), value)


def count(value: int) -> Cell:
    """A whole number."""
    return Cell(f"{value:,}", value)
