"""The small form of benchmarks/fuzz.py: each damaged file ends in a right result or in one line of error."""

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"
spec = importlib.util.spec_from_file_location("fuzz", FUZZ)
assert spec is not None
assert spec.loader is not None
fuzz = importlib.util.module_from_spec(spec)
sys.modules["fuzz"] = fuzz
spec.loader.exec_module(fuzz)


@pytest.mark.skipif(sys.platform == "win32", reason="the benchmark ends hanging readers by SIGALRM")
def test_two_mutations_of_each_kind_of_file_fail_nowhere(tmp_path: Path) -> None:
    report = tmp_path / "fuzz.json"
    process = subprocess.run(
        [sys.executable, FUZZ, "--mutations", "32", "--json", report],
        env=os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    result = json.loads(report.read_text())
    assert result["failures"] == []
    assert result["same"] + result["other"] + result["refused"] == result["mutations"] == 32
    assert all(sum(count.values()) == 2 for count in result["targets"].values())
    assert list(tmp_path.iterdir()) == [report]


def reader(result: object) -> object:
    def read(place: Path) -> object:
        (place / "lost").unlink(missing_ok=True)
        if isinstance(result, BaseException):
            raise result
        return result

    return read


@pytest.mark.parametrize(
    ("result", "hashed", "expected"),
    [
        ([1, 2], True, "same"),
        ([1, 3], False, "other"),
        ([1, 3], True, "FAILED"),
        (ValueError("the file x is damaged"), False, "refused"),
        (FileNotFoundError(2, "No such file", "x"), False, "refused"),
        (ValueError(""), False, "FAILED"),
        (ValueError("one\ntwo"), False, "FAILED"),
        (ValueError("<X object at 0x7f3a5b8c>"), False, "FAILED"),
        (KeyError("x"), False, "FAILED"),
        (AssertionError(), False, "FAILED"),
        (SystemExit(1), False, "FAILED"),
    ],
)
def test_an_outcome_is_told_by_what_a_script_would_print(
    tmp_path: Path, result: object, hashed: bool, expected: str
) -> None:
    target = fuzz.Target(name="t", files=(), read=reader(result), hashed=hashed, folder=Path())
    assert fuzz.outcome(target, tmp_path, [1, 2])[0] == expected


def test_a_lost_file_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "lost").write_text("x")
    target = fuzz.Target(name="t", files=(), read=reader([1]), folder=Path())
    assert fuzz.outcome(target, tmp_path, [1])[0] == "FAILED"


def test_a_hang_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "PATIENCE", 1)

    def hang(place: Path) -> None:
        while True:
            pass

    target = fuzz.Target(name="t", files=(), read=hang, folder=Path())
    assert fuzz.outcome(target, tmp_path, None)[0] == "FAILED"


@pytest.mark.parametrize("suffix", [".json", ".csv", ".txt", ".tar"])
def test_each_mutation_changes_the_file_and_equal_seeds_change_it_alike(tmp_path: Path, suffix: str) -> None:
    text = json.dumps({"a": [1, {"b": None}], "c": "d"}) if suffix == ".json" else "class,a,b\nx,1,2\ny,3,4\n"
    kinds = set()
    for seed in range(60):
        contents = set()
        for name in ("first", "second"):
            path = tmp_path / f"{name}{suffix}"
            path.write_text(text)
            kinds.add(fuzz.mutate(path, random.Random(seed)))
            contents.add(path.read_bytes())
        assert len(contents) == 1
        assert contents != {text.encode()}
    assert len(kinds) >= 6
