"""CSV files for spreadsheets: no cell is computed, all else is read back as it was."""

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from zsl.common.spreadsheet import write_csv


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+1", "'+1"),
        ("-2.jpg", "'-2.jpg"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("a=b", "a=b"),
        ("a, b\nc", "a, b\nc"),
        ("", ""),
        (-0.5, "-0.5"),
        (None, ""),
        (os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg"),  # a name that is not UTF-8
    ],
)
def test_a_cell_is_never_computed(tmp_path: Path, cell: Any, written: str) -> None:
    write_csv(tmp_path / "t.csv", ("file", "number"), [(cell, 1)])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream)) == [["file", "number"], [written, "1"]]
