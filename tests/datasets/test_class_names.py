"""names.csv: made by rules, kept where the user edited it, refused where it is wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from zsl.datasets.class_names import default_names, read_names, readable_class, update_names
from zsl.datasets.registry import DATASETS

CLASSES = ("001.Black_footed_Albatross", "grizzly+bear", "a/apartment_building/outdoor", "=evil", "Ärger")
NAMES = ("Black footed Albatross", "grizzly bear", "apartment building outdoor", "=evil", "Ärger")


@pytest.mark.parametrize(("own", "shown"), [*zip(CLASSES, NAMES, strict=True), ("C++", "C++"), ("_", "_"), ("7", "7")])
def test_the_rules(own: str, shown: str) -> None:
    assert readable_class(own) == shown


def test_classes_that_would_have_one_name_keep_their_own() -> None:
    assert default_names(("1.red_cat", "2.red_cat", "3.blue_cat")) == ("1.red_cat", "2.red_cat", "blue cat")
    assert default_names(("1.cat", "2.cat", "x/1.cat")) == ("1.cat", "2.cat", "x/1.cat")  # whose rule gives 1.cat
    assert default_names(("cat", "1.cat")) == ("cat", "1.cat")


def test_words_that_no_rule_makes() -> None:
    assert default_names(("tvmonitor", "bus"), DATASETS["apy"].readable) == ("TV monitor", "bus")


def test_what_is_written_is_read_and_no_spreadsheet_computes_it(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    assert read_names(path, CLASSES) == NAMES  # without the file
    update_names(path, CLASSES)
    assert read_names(path, CLASSES) == NAMES
    cells = [cell for row in csv.reader(path.read_text().splitlines()) for cell in row]
    assert not any(cell.startswith("=") for cell in cells)


def test_edited_lines_stay_and_classes_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("class,name\ngrizzly+bear,Grizzly\n")
    assert read_names(path, CLASSES) == (NAMES[0], "Grizzly", *NAMES[2:])  # a class without a line has its default
    update_names(path, CLASSES[1:])
    assert read_names(path, CLASSES) == (NAMES[0], "Grizzly", *NAMES[2:])
    before = path.read_bytes()
    update_names(path, CLASSES[1:])
    assert path.read_bytes() == before
    update_names(path, CLASSES[:1])
    assert path.read_text() == "class,name\n001.Black_footed_Albatross,Black footed Albatross\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "class,name\ngrizly+bear,Bear\n",
            r"names.csv, line 2: there is no class 'grizly\+bear'; did you mean 'grizzly\+bear'",
        ),
        ("class,name\n=evil,a\n=evil,b\n", r"names.csv, line 3: class '=evil' occurs twice"),
        ("class,name\n=evil,\n", r"names.csv, line 2: class '=evil' has no name"),
        ('class,name\n=evil,"a\nb"\n', r"names.csv, line 3: class '=evil' has a line break in its name"),
        (
            "class,name\n=evil,grizzly bear\n",
            r"names.csv, line 2: the classes 'grizzly\+bear' and '=evil' are both named 'grizzly bear'",
        ),
        ("class,name\n=evil,a\nÄrger,a\n", r"names.csv, line 3: the classes '=evil' and 'Ärger' are both named 'a'"),
        ("class,title\n=evil,x\n", r"names.csv, line 1: the columns are class,title; needed are class,name"),
        ("class;name\n=evil;x\n", "semicolons"),
        ("", "0 lines"),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "names.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_names(path, CLASSES)


def test_a_spreadsheet_s_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_bytes('\ufeffclass,name\r\n\r\n"A\u0308rger"," Wut, groß "\r\n,\r\n'.encode())
    assert read_names(path, CLASSES) == (*NAMES[:4], "Wut, groß")


def test_packing_writes_the_file_and_the_splits_read_it(tiny_shapes: Path) -> None:
    table = (tiny_shapes / "shapes" / "names.csv").read_text().splitlines()
    assert table[0] == "class,name"
    assert len(table) == 1 + 9
