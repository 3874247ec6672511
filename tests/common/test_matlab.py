"""MATLAB files as people save them: equal content whatever the form, and one message for each form that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.io import savemat

from zsl.common.matlab import read_variables, strings, whole_numbers

NAMES = ("grizzly+bear", "ox", "Ölkäfer")


def cells(*contents: Any) -> np.ndarray:
    """A MATLAB cell array [N, 1] of `contents`."""
    column = np.empty((len(contents), 1), dtype=object)
    for row, content in enumerate(contents):
        column[row, 0] = content
    return column


FORMS: dict[str, Any] = {
    "cells in a column": cells(*NAMES),
    "cells in a row": cells(*NAMES).T,
    "list of str": list(NAMES),  # a char matrix, padded with blanks
    "array of str": np.array(NAMES),
    "padded": cells(*(f"{name:20}" for name in NAMES)),
    "nested cells": cells(*(cells(name) for name in NAMES)),
    "a cell that holds the list": cells(cells(*NAMES)),
}


@pytest.mark.parametrize("form", FORMS)
def test_strings_are_the_same_in_every_form(tmp_path: Path, form: str) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"names": FORMS[form]})
    assert strings(read_variables(path, ["names"])["names"], path, "names") == NAMES


@pytest.mark.parametrize("form", [cells("ox"), ["ox"], "ox", cells(cells("ox"))], ids=["cell", "list", "str", "nested"])
def test_a_single_string_is_a_list_of_one(tmp_path: Path, form: Any) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"names": form})
    assert strings(read_variables(path, ["names"])["names"], path, "names") == ("ox",)


def test_an_empty_cell_is_an_empty_string_and_other_things_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"names": cells("ox", ""), "mixed": cells("ox", 3.0), "lists": cells("ox", ["a", "b"])})
    content = read_variables(path, ["names", "mixed", "lists"])
    assert strings(content["names"], path, "names") == ("ox", "")
    for name in ("mixed", "lists"):
        with pytest.raises(ValueError, match=rf"x\.mat: entry 2 of {name} is not one string; save a cell array"):
            strings(content[name], path, name)
    with pytest.raises(ValueError, match=r"entry 1 of numbers is not one string"):
        strings(np.arange(3), path, "numbers")


def test_sparse_matrices_are_dense_and_cells_of_numbers_are_numbers(tmp_path: Path) -> None:
    path, dense = tmp_path / "x.mat", np.diag([1.5, 0, 2])
    savemat(path, {"att": scipy.sparse.csc_matrix(dense), "labels": cells(1.0, 3.0, 2.0), "other": 1})
    content = read_variables(path, ["att"], optional=["labels", "rows"])
    assert set(content) == {"att", "labels"}
    np.testing.assert_array_equal(content["att"], dense)
    np.testing.assert_array_equal(whole_numbers(content["labels"], path, "labels", "class number"), [1, 3, 2])


@pytest.mark.parametrize(
    ("values", "shown"),
    [([1, 2.5], "2.5"), ([1, np.nan], "nan"), ([np.inf, 1], "inf"), (["ox"], "'ox'")],
    ids=["fraction", "NaN", "infinite", "word"],
)
def test_numbers_that_are_not_whole_are_refused(values: list[Any], shown: str) -> None:
    with pytest.raises(ValueError, match=rf"x\.mat: labels holds {shown}, which is no class number"):
        whole_numbers(np.array(values), Path("x.mat"), "labels", "class number")


def test_a_variable_that_is_absent_is_named_with_those_that_are_not(tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", {"features": np.eye(2), "label": np.eye(2)})
    with pytest.raises(ValueError, match=r"x\.mat has no labels, rows; it has features, label$"):
        read_variables(tmp_path / "x.mat", ["features", "labels", "rows"])


BROKEN = {
    "empty": (b"", r"is empty; is the download complete\?"),
    "MATLAB 7.3": (
        b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n",
        r"is a MATLAB 7\.3 \(HDF5\) file; .*'-v7'",
    ),
    "HDF5": (b"\x89HDF\r\n\x1a\n".ljust(900, b"\0"), r"is a MATLAB 7\.3 \(HDF5\) file; .*'-v7'"),
    "web page": (b"<html>404</html>", r"cannot be read as a MATLAB 5 file: it begins with b'<html>404.*web page"),
    "zip": (b"PK\x03\x04" + bytes(300), r"cannot be read as a MATLAB 5 file: it begins with b'PK"),
    "Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        r"Git LFS pointer; run `git lfs pull`",
    ),
    "header alone": (b"MATLAB 5.0 MAT-file".ljust(60), r"cannot be read as a MATLAB 5 file \(.*download complete"),
    "zeros": (bytes(600), r"cannot be read as a MATLAB 5 file|has no att; it has no variables"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_of_another_form_is_refused_with_its_name_and_a_remedy(tmp_path: Path, kind: str) -> None:
    content, message = BROKEN[kind]
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_variables(tmp_path / "x.mat", ["att"])
    assert str(tmp_path / "x.mat") in str(refusal.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"att": np.random.default_rng(0).random((50, 50))})
    whole = path.read_bytes()
    path.write_bytes(whole[: round(share * len(whole))])
    with pytest.raises(
        ValueError, match=r"x\.mat cannot be read as a MATLAB 5 file \(.*\); is the download complete\?"
    ):
        read_variables(path, ["att"])


@pytest.mark.parametrize("value", [1e18, 1e30, 2.0**53])
def test_numbers_that_are_not_exact_are_no_row_numbers(value: float) -> None:
    with pytest.raises(ValueError, match=r"rows holds .*, which is no row number"):
        whole_numbers(np.array([1.0, value]), Path("x.mat"), "rows", "row number")


def test_complex_numbers_are_no_row_numbers() -> None:
    with pytest.raises(ValueError, match=r"rows holds \(1\+2j\), which is no row number"):
        whole_numbers(np.array([1 + 2j]), Path("x.mat"), "rows", "row number")
