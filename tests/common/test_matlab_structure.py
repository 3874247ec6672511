"""MATLAB 5 files: sound ones are read as SciPy reads them, damaged ones refused before they can crash its reader."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.io import loadmat, savemat

from zsl.common.matlab import read_variables
from zsl.common.matlab_structure import StructureError, check_structure

SOUND: dict[str, Any] = {
    "float64": np.arange(6.0).reshape(2, 3),
    "float32": np.ones((3, 1), np.float32),
    "int8": np.arange(5, dtype=np.int8),
    "uint16": np.arange(5, dtype=np.uint16),
    "int64": np.arange(5, dtype=np.int64),
    "logical": np.array([True, False]),
    "complex": np.array([1 + 2j, 3]),
    "deep": np.zeros((2, 3, 4)),
    "empty": np.zeros((0, 3)),
    "text": "a text",
    "umlauts": "äöü 鳥",
    "no text": "",
    "cells": np.array(["a", "bc", np.arange(2)], dtype=object),
    "cells in cells": np.array([np.array(["x", "y"], dtype=object), None], dtype=object)[:1],
    "structure": {"a": np.arange(3.0), "b": "text", "c": {"d": 1}},
    "sparse": scipy.sparse.csc_matrix(np.eye(4)[:3]),
    "empty sparse": scipy.sparse.csc_matrix((3, 2)),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", SOUND)
def test_what_scipy_writes_is_sound(tmp_path: Path, kind: str, compressed: bool) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"before": np.arange(3), "x": SOUND[kind], "after": "z"}, do_compression=compressed)
    check_structure(path.read_bytes(), {"before", "x", "after"})
    expected = loadmat(path)["x"]
    expected = expected.toarray() if scipy.sparse.issparse(expected) else expected
    found = read_variables(path, ["x"])["x"]
    assert found.dtype == expected.dtype
    assert repr(found) == repr(expected)


def test_official_files_are_sound(shared_data: Path) -> None:
    files = sorted(shared_data.rglob("*.mat"))
    assert len(files) >= 10
    for path in files:
        names = [name for name in loadmat(path) if not name.startswith("__")]
        check_structure(path.read_bytes(), names)


# --- damage ----------------------------------------------------------------------------------------------------------

HEADER = 128


def at(place: int, form: str, *values: int) -> Callable[[bytearray], bytes]:
    """Write numbers at a byte behind the header."""

    def change(content: bytearray) -> bytes:
        struct.pack_into(f"<{form}", content, HEADER + place, *values)
        return bytes(content)

    return change


# The array `x` of 2 x 3 doubles: tag 0, flags 8 (class 16), dimensions 24 (values 32), name 40 (short), values 48.
NUMBERS: dict[str, tuple[Callable[[bytearray], bytes], str]] = {
    "no order of bytes": (lambda content: bytes(content[:126] + b"??" + content[128:]), "its header is damaged"),
    "cut in an array": (lambda content: bytes(content[:-9]), "it is cut short, or a length in it is wrong"),
    "cut in a tag": (lambda content: bytes(content + b"\0\0\0"), "it ends within an element"),
    "no array": (at(0, "I", 9), "an element of type 9 in the place of an array"),
    "too long": (at(4, "I", 1 << 30), "it is cut short, or a length in it is wrong"),
    "too short": (at(4, "I", 48), "it ends within an element|cut short"),
    "no flags": (at(8, "I", 5), "dimensions or flags of an array are damaged"),
    "a function": (at(16, "I", 16), "an array of class 16, which is no plain data"),
    "an object of no kind": (at(16, "I", 99), "an array of class 99, which is no plain data"),
    "sparse": (at(16, "I", 5), "dimensions or flags of an array are damaged|cut short|sparse"),
    "cells": (at(16, "I", 1), "a cell array of 6 cells|a cell or a field is no array|within an element|cut short"),
    "text": (at(16, "I", 4), "a text of 6 characters has 48 bytes of type 9"),
    "a structure": (at(16, "I", 2), "dimensions or flags of an array are damaged"),
    "complex": (at(16, "I", 6 | 0x800), "it ends within an element"),
    "negative": (at(32, "i", -2), "dimensions, flags or name of an array are damaged"),
    "more rows": (at(32, "i", 3), "an array of 9 numbers has 48 bytes of type 9"),
    "fewer rows": (at(32, "i", 1), "an array of 3 numbers has 48 bytes of type 9"),
    "2^60 rows": (at(32, "ii", 1 << 30, 1 << 30), "an array of 1152921504606846976 numbers has 48 bytes"),
    "values of no type": (at(48, "I", 77), "an array of 6 numbers has 48 bytes of type 77"),
    "values of another type": (at(48, "I", 3), "an array of 6 numbers has 48 bytes of type 3"),
}  # fmt: skip


@pytest.mark.parametrize("damage", NUMBERS)
def test_damage_is_refused_in_words(tmp_path: Path, damage: str) -> None:
    path, (change, message) = tmp_path / "x.mat", NUMBERS[damage]
    savemat(path, {"x": np.arange(6.0).reshape(2, 3)})
    path.write_bytes(change(bytearray(path.read_bytes())))
    with pytest.raises(ValueError, match=rf"x\.mat cannot be read .*({message}).*; is the") as error:
        read_variables(path, ["x"])
    assert isinstance(error.value.__cause__, StructureError)


def test_a_compressed_array_is_checked_by_its_own_sum(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"x": np.random.default_rng(0).random(50)}, do_compression=True)
    content = bytearray(path.read_bytes())
    content[-40] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a compressed array is damaged"):
        read_variables(path, ["x"])


def test_a_sparse_array_with_an_entry_outside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"x": scipy.sparse.csc_matrix(np.eye(4)[:3])})
    content = path.read_bytes()
    rows = struct.pack("<3i", 0, 1, 2)
    path.write_bytes(content.replace(rows, struct.pack("<3i", 0, 1, 3)))
    with pytest.raises(ValueError, match="a sparse array has an entry outside it"):
        read_variables(path, ["x"])


def test_variables_that_are_not_read_may_be_of_any_class(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"y": np.arange(6.0), "x": np.arange(3.0)})
    path.write_bytes(at(16, "I", 16)(bytearray(path.read_bytes())))  # `y` is a function
    np.testing.assert_array_equal(read_variables(path, ["x"])["x"], [[0.0, 1.0, 2.0]])


MUTATIONS = """
import random, sys
from pathlib import Path
from zsl.common.matlab import read_variables
path, sound, outcomes = Path(sys.argv[1]), Path(sys.argv[1]).read_bytes(), {"read": 0, "refused": 0}
for seed in range(600):
    rng, content = random.Random(seed), bytearray(sound)
    for _ in range(rng.randint(1, 6)):
        content[128 + rng.randrange(len(content) - 128)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    try:
        read_variables(path, ["features", "cells", "structure", "sparse"])
        outcomes["read"] += 1
    except ValueError:
        outcomes["refused"] += 1
print(outcomes)
"""


def test_flipped_bits_never_crash_the_reader(tmp_path: Path) -> None:
    cells = np.array([f"photo {number}" for number in range(40)], dtype=object)
    arrays = {"features": np.ones((3, 4)), "cells": cells, "structure": SOUND["structure"], "sparse": SOUND["sparse"]}
    savemat(tmp_path / "x.mat", arrays)
    process = subprocess.run(
        [sys.executable, "-c", MUTATIONS, tmp_path / "x.mat"], capture_output=True, text=True
    )  # a crash would end this process too
    assert process.returncode == 0, process.stderr[-2000:]
    outcomes = eval(process.stdout)
    assert outcomes["read"] + outcomes["refused"] == 600
    assert min(outcomes.values()) > 20
