"""Attribute names are found in each archive's form, kept, and read from a file that the user names."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from zsl.datasets.attribute_names import (
    find_names,
    find_names_below,
    read_names,
    read_names_file,
    readable_attribute,
    write_names,
)


def test_attribute_names_are_found_in_each_archives_form_and_kept(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "attributes.csv").write_text('class,"stripes, many",hooves\nzebra,1,1\n')
    assert find_names(tmp_path / "own", 2) == ("stripes, many", "hooves")
    (tmp_path / "awa").mkdir()
    (tmp_path / "awa" / "predicates.txt").write_text("     1\tblack\n     2\twhite spots\n")
    assert find_names(tmp_path / "awa", 2) == ("black", "white spots")
    assert find_names(tmp_path / "awa", 3) == ()  # the file is of something else
    write_names(tmp_path, ("black", "white spots"))
    assert read_names(tmp_path, 2) == ("black", "white spots")
    assert read_names(tmp_path / "awa", 2) == ()
    with pytest.raises(ValueError, match="has 2 names, the classes have 5 attributes"):
        read_names(tmp_path, 5)


def test_attribute_names_come_from_each_form_of_file(tmp_path: Path) -> None:
    (tmp_path / "attributes.txt").write_text("1 has_bill_shape::hooked_seabird\n2 has_eye_color::red\n")
    (tmp_path / "attributes.csv").write_text("class,lives in water,stripes\nzebra,0,1\n")
    names = read_names_file(tmp_path / "attributes.txt", 2)
    assert tuple(map(readable_attribute, names)) == ("bill shape: hooked seabird", "eye color: red")
    assert read_names_file(tmp_path / "attributes.csv", 2) == ("lives in water", "stripes")
    (tmp_path / "quoted.csv").write_text('class,"stripes, many",hooves\nzebra,1,1\n')
    assert read_names_file(tmp_path / "quoted.csv", 2) == ("stripes, many", "hooves")
    with pytest.raises(ValueError, match="has 2 attribute names, the split file has 3"):
        read_names_file(tmp_path / "attributes.txt", 3)
    with pytest.raises(FileNotFoundError, match="no file of attribute names"):
        read_names_file(tmp_path / "none.txt", 3)


def test_a_benchmarks_folders_are_searched_for_a_file_of_the_right_length(tmp_path: Path) -> None:
    for folder, text in (("splits", "1 round\n"), ("raw", "1 round\n2 red\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "attributes.txt").write_text(text)
    assert find_names_below(tmp_path, 2) == ("round", "red")
    assert find_names_below(tmp_path, 1) == ("round",)
    assert find_names_below(tmp_path, 3) == ()


@pytest.mark.parametrize("place", ["attributes.mat", "SUNAttributeDB/attributes.mat"])
def test_names_of_sun_are_in_its_archive(shared_data: Path, tmp_path: Path, place: str) -> None:
    archive = shared_data / "SUN" / "attributes.mat"
    if not archive.is_file():
        pytest.skip(f"no {archive}; ZSL_SHARED_DATA=DIR says where it is")
    expected = [str(cell[0]) for cell in loadmat(archive)["attributes"].ravel()]
    (tmp_path / place).parent.mkdir(exist_ok=True)
    shutil.copyfile(archive, tmp_path / place)
    assert list(find_names(tmp_path, 102)) == [name.strip() for name in expected]
    assert read_names_file(tmp_path / place, 102) == find_names(tmp_path, 102)


def test_a_file_of_names_that_cannot_be_read_is_told_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    savemat(tmp_path / "attributes.mat", {"something": np.zeros(3)})
    assert find_names(tmp_path, 3) == ()
    assert "attributes.mat has no attributes; it has something" in caplog.text


@pytest.mark.parametrize("file", ["attributes.csv", "attributes.txt", "attributes.mat", "A.CSV", "A.MAT"])
def test_names_are_composed_as_those_of_a_table_of_new_classes(tmp_path: Path, file: str) -> None:
    names = ("cafe\u0301", "size")  # as macOS and some editors write it
    if file.lower().endswith(".mat"):
        savemat(tmp_path / file, {"attributes": np.array(names, dtype=object)[:, None]})
    else:
        (tmp_path / file).write_text(
            "class,cafe\u0301,size\nx,1,2\n" if file.lower().endswith(".csv") else "\n".join(names)
        )
    assert read_names_file(tmp_path / file, 2) == ("caf\u00e9", "size")
    write_names(tmp_path, names)  # as earlier versions did
    assert read_names(tmp_path, 2) == ("caf\u00e9", "size")
