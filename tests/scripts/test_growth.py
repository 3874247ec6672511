"""The benchmark of growth: its exponents, its table, and its photos."""

from __future__ import annotations

import io
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zsl.datasets.own import prepare
from zsl.datasets.split_file import read_split_file

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "growth.py"


@pytest.fixture(scope="module")
def growth() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_its_power(growth: dict[str, Any], power: float) -> None:
    sizes = [1000, 4000, 9000, 30000]
    assert growth["exponent"](sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=1e-9)
    if power:
        over = [50 + 2 * (size - 200) ** power for size in [200, *sizes]]
        assert growth["exponent_beyond"]([200, *sizes], over) == pytest.approx(power)


def test_a_stage_that_takes_linear_time_and_memory_is_continued_so(growth: dict[str, Any]) -> None:
    points = [
        growth["Point"](
            stage="pack", photos=photos, shards=None, ranks=1, seconds=9 + photos / 100, cpu=5 + photos / 50,
            memory=10**8 + 1000 * photos,
        )
        for photos in (8000, 200, 2000)
    ]  # fmt: skip
    (found,) = growth["growths"]([*points], 1_000_000)
    assert found.sizes == [200, 2000, 8000]
    assert found.time_exponent == pytest.approx(1)
    assert found.cpu_exponent == pytest.approx(1)
    assert found.memory_exponent < 0.1
    assert found.bytes_per_photo == pytest.approx(1000)
    assert found.paper_gigabytes == pytest.approx(1.1)
    assert found.paper_hours == pytest.approx(1_000_000 / 50 / 3600, rel=0.03)
    text = growth["table"]([found], 1_000_000)
    assert "| pack | 200 / 2,000 / 8,000 | 11.0 / 29.0 / 89.0 | 1.00 (1.00) |" in text


def test_a_stage_brings_those_whose_files_it_reads(growth: dict[str, Any]) -> None:
    assert growth["with_needed"](["index"]) == ["pack", "index"]
    assert growth["with_needed"](["report"]) == ["pack", "extract", "audit", "train", "report"]
    assert growth["with_needed"](growth["get_args"](growth["Stage"])) == list(growth["get_args"](growth["Stage"]))


def test_the_peak_memory_of_a_small_process_is_not_that_of_its_starter(growth: dict[str, Any], tmp_path: Path) -> None:
    held = np.ones(2**25)  # 256 MiB here
    combination = growth["Combination"](photos=1, shards=None, ranks=1, image_size=32, work=tmp_path)
    _, _, little = combination.run(["-c", "pass"])
    _, cpu, much = combination.run(["-c", "x = b'1' * 2**27; sum(range(10**7))"])
    assert little < 2**26 < 2**27 < much < held.nbytes
    assert cpu > 0
    with pytest.raises(RuntimeError, match=r"failed: (?s:.*)no such thing"):
        combination.run(["-c", "raise SystemExit('no such thing')"])


def test_a_stage_begins_anew_after_a_kill(growth: dict[str, Any], tmp_path: Path) -> None:
    combination = growth["Combination"](photos=60, shards=None, ranks=1, image_size=32, work=tmp_path)
    growth["draw_photos"](combination.photos_folder, 60)
    first = combination.measure("pack")
    shard = next((combination.data / "drawn" / "shards").glob("*.tar"))
    before = shard.stat().st_ino, shard.stat().st_mtime_ns
    assert combination.measure("pack").key == first.key
    assert (shard.stat().st_ino, shard.stat().st_mtime_ns) != before
    with pytest.raises(ValueError, match="--shards 61: 60 photos"):
        growth["measure_all"](growth["Args"](sizes=(60, 70), shards=(61,)), tmp_path)


def test_one_size_has_no_exponent(growth: dict[str, Any]) -> None:
    assert np.isnan(growth["exponent"]([5, 5], [1, 2]))
    assert np.isnan(growth["exponent_beyond"]([5, 6], [1, 2]))


def test_the_drawn_photos_are_a_benchmark_of_ones_own(growth: dict[str, Any], tmp_path: Path) -> None:
    growth["draw_photos"](tmp_path / "drawn", 60)
    prepare(tmp_path / "drawn", tmp_path / "splits")  # refuses equal photos
    split_file = read_split_file(tmp_path / "splits")
    assert split_file.count == 60
    assert len(split_file.class_names) == 10
    files = sorted((tmp_path / "drawn" / "images").rglob("*.jpg"))
    assert Image.open(io.BytesIO(files[5].read_bytes())).size == (40, 40)
    before = files[0].stat().st_mtime_ns
    growth["draw_photos"](tmp_path / "drawn", 60)  # they stay
    assert files[0].stat().st_mtime_ns == before
