"""Text files: UTF-8 comes back, all else is refused with file, line and remedy; CSV faults name line and column."""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import Path

import pytest

from zsl.common.text import did_you_mean, nfc, read_lines, read_names, read_table, read_text

TEXT = "grizzly+bear\r\nÖlkäfer\n\n学校\n"


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["no mark", "mark"])
def test_utf8_comes_back_with_or_without_a_mark(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "names.txt").write_bytes(mark + TEXT.encode())
    assert read_text(tmp_path / "names.txt") == TEXT
    assert read_lines(tmp_path / "names.txt") == ["grizzly+bear", "Ölkäfer", "", "学校"]
    assert read_names(tmp_path / "names.txt") == ("grizzly+bear", "Ölkäfer", "学校")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("ox\nÖlkäfer\n".encode("latin-1"), r"line 2: byte 0xd6 is not UTF-8; save", id="Latin-1"),
        pytest.param("ox\r\nbee\r\nÖl\r\n".encode("cp1252"), r"line 3: byte 0xd6 is not UTF-8; save", id="Windows"),
        pytest.param("ox\r\rÖl".encode("mac-roman"), r"line 3: byte 0x85 is not UTF-8; save", id="Macintosh"),
        pytest.param(codecs.BOM_UTF8 + b"a\nb\nc\xe9d\n", r"line 3: byte 0xe9 is not UTF-8; save", id="mark, Latin-1"),
        pytest.param("ox\n".encode("utf-16"), r"line 1: the file is UTF-16; save", id="UTF-16 with mark"),
        pytest.param("ox\n".encode("utf-32"), r"line 1: the file is UTF-32; save", id="UTF-32 with mark"),
        pytest.param("ox\n".encode("utf-16-le"), r"line 1: a NUL byte, which text has not; save", id="UTF-16"),
        pytest.param(b"ox\nbee\nzeb\0ra\n", r"line 3: a NUL byte, which text has not; save", id="NUL"),
        pytest.param("ox\nÖ".encode()[:-1], r"line 2: the file ends within a character; was it cut\?", id="cut"),
        pytest.param(
            "Öl".encode("shift-jis", "replace") + b"\x83", r"line 1: .*UTF-8|line 1: the file ends", id="SJIS"
        ),
    ],
)
def test_another_encoding_is_refused_with_file_line_and_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_text(path)
    assert str(refusal.value).startswith(f"{path}, ")
    assert "save the file as UTF-8" in str(refusal.value)


def test_names_are_equal_where_they_look_alike(tmp_path: Path) -> None:
    name = "Ölkäfer"
    decomposed = unicodedata.normalize("NFD", name)
    assert decomposed != name
    assert nfc(decomposed) == name
    (tmp_path / "names.txt").write_text(f"{decomposed}\n", encoding="utf-8")
    (tmp_path / "table.csv").write_text(f"class,{decomposed}\n{decomposed},1\n", encoding="utf-8")
    assert read_names(tmp_path / "names.txt") == (name,)
    table = read_table(tmp_path / "table.csv")
    assert table.columns == ("class", name)
    assert table.rows[0].cells == (name, "1")


def test_a_mistyped_name_is_answered_by_the_nearest_one() -> None:
    names = ("CADA-VAE", "eszsl", "斑马")
    assert did_you_mean("cadavae", names) == "; did you mean 'CADA-VAE'?"
    assert did_you_mean("ESZL", names) == "; did you mean 'eszsl'?"
    assert did_you_mean("okapi", names) == ""
    assert did_you_mean("okapi", ()) == ""


def test_a_table_keeps_line_numbers_across_empty_lines_and_quoted_cells(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('class,"lives in, or near, water"\r\n\r\n zebra , 0.5\r\n,\r\n"a ""horse""",1\r\n')
    table = read_table(path)
    assert table.columns == ("class", "lives in, or near, water")
    assert [(row.line, row.cells) for row in table.rows] == [(3, ("zebra", "0.5")), (5, ('a "horse"', "1"))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", r"has 0 lines; needed are a header and one line a row", id="empty"),
        pytest.param("class,a\n\n", r"has 1 lines; needed are a header", id="header alone"),
        pytest.param(
            "class;a\nox;0,5\n", r"line 1, column 1: 'class;a' is separated by semicolons; save", id="; and ,"
        ),
        pytest.param("\n\nclass;a\nox;1\n", r"line 3, column 1: .* separated by semicolons", id="; in line 3"),
        pytest.param(
            "class\ta\nox\t1\n", r"line 1, column 1: .* separated by tabs; save .* comma-separated", id="tabs"
        ),
        pytest.param(
            "class,a,b\nox,0,5,1\n", r"line 2: 4 cells, the header has 3; from column 4 .*decimal points", id=","
        ),
        pytest.param(
            "class,a\nox,1,\n", r"line 2: 3 cells, the header has 2; .*remove trailing commas", id="trailing cell"
        ),
        pytest.param("class,a,b\nox,1\n", r"line 2: 2 cells, the header has 3; from column 3 .*fill in", id="short"),
        pytest.param(
            "class,a,\nox,1,\n", r"line 1, column 3: the column has no name; name it, or remove", id="trailing"
        ),
        pytest.param(",class,a\n0,ox,1\n", r"line 1, column 1: the column has no name", id="row numbers"),
        pytest.param("class,,a\nox,2,1\n", r"line 1, column 2: the column has no name", id="no name"),
        pytest.param('class,a\n"ox,1\nbee,2\n', r"line 3: no table .*quotation mark left open", id="open quotation"),
    ],
)
def test_a_broken_table_is_refused_with_line_column_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as refusal:
        read_table(path)
    assert str(path) in str(refusal.value)
