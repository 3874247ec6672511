"""A Markdown table has the cells that it was made from."""

import re

import pytest

from zsl.common.markdown import markdown_table


def test_each_cell_reads_back_from_its_line() -> None:
    head, rows = ["method", "a|b"], [["dcrgan", "1"], ["C-5", "x || y"]]
    text = markdown_table(head, rows)
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines()]  # cells end at a bar without backslash
    cells = [[cell.strip().replace(r"\|", "|") for cell in line] for line in lines]
    assert cells == [head, ["---", "---"], *rows]
    assert text.endswith("|\n")


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="has 1 cells, the head has 2"):
        markdown_table(["a", "b"], [["1"]])
