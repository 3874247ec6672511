"""Shards below a data folder: opening writes nothing, and drawing `shapes` happens where its shards are absent only."""

import fcntl
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shards import read_index
from zsl.datasets import pack
from zsl.datasets.pack import draw_absent_shapes, open_or_draw_shards, open_shards
from zsl.datasets.places import shards_folder


@pytest.fixture
def raw(tiny_shapes: Path, tmp_path: Path) -> Path:
    """A data folder with the raw photos of the tiny benchmark, not packed yet."""
    shutil.copytree(tiny_shapes / "shapes" / "raw", tmp_path / "shapes" / "raw")
    return tmp_path


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_opening_absent_shards_is_refused_and_writes_nothing(raw: Path) -> None:
    before = files(raw)
    with pytest.raises(FileNotFoundError, match=r"no index\.json in .*make_shards\.py"):
        open_shards("shapes", raw)
    with pytest.raises(FileNotFoundError, match=r"no index\.json in .*make_shards\.py"):
        open_or_draw_shards("cub", raw)
    assert files(raw) == before


def test_shapes_are_packed_where_absent_and_left_alone_where_present(raw: Path, tiny_shapes: Path) -> None:
    index = open_or_draw_shards("shapes", raw)
    assert index == open_shards("shapes", raw) == read_index(shards_folder(tiny_shapes, "shapes"))
    before = files(raw)
    draw_absent_shapes(raw)
    assert open_or_draw_shards("shapes", raw) == index
    assert files(raw) == before


def test_nothing_is_drawn_for_shards_that_lie_elsewhere(tiny_shapes: Path, tmp_path: Path) -> None:
    index = open_or_draw_shards("shapes", tmp_path, shards_folder(tiny_shapes, "shapes"))
    assert index == open_shards("shapes", tiny_shapes)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_that_need_shapes_draw_them_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, made = tmp_path / "shapes" / "shards" / "index.json", []

    def make(benchmark: str, data: Path) -> None:
        made.append(benchmark)
        index.parent.mkdir(parents=True)
        index.touch()

    monkeypatch.setattr(pack, "make_shards", make)
    monkeypatch.setattr(pack, "WAIT_SECONDS", 0.01)
    index.parents[1].mkdir()
    other = os.open(index.parents[1], os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)  # as the other process has it
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pack.draw_absent_shapes, tmp_path)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.2)
        assert made == []
        os.close(other)  # that process was killed before its index
        waiting.result()
    pack.draw_absent_shapes(tmp_path)
    assert made == ["shapes"]
