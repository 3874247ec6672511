"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table with the line `head` and one line for each row; the last line also has a line end.

    A `|` inside a cell is escaped, so that it does not end the cell, and a line break becomes a space.

    Raises:
        ValueError: a row has more or fewer cells than the head.
    """
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"the row {list(row)} has {len(row)} cells, the head has {len(head)}: {list(head)}")
        lines.append(_line(row))
    return "".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.splitlines()).replace("|", r"\|") for cell in cells) + " |\n"
