"""Adding a benchmark is one file and one line: what the registry says is all that the rest of the code needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from zsl.audit.doctor import doctor
from zsl.datasets.dataset import Archive, Dataset
from zsl.datasets.instances import Instance
from zsl.datasets.pack import make_shards
from zsl.datasets.places import check_known
from zsl.datasets.registry import DATASETS, find_dataset, recognise
from zsl.datasets.split_file import read_split_file


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_benchmark_says_what_the_code_needs(name: str) -> None:
    dataset = find_dataset(name)
    assert dataset.name.lower() == name
    assert recognise(dataset.split_hashes) is dataset
    assert all(re.fullmatch(r"[0-9a-f]{6}", part) for part in dataset.split_hashes)
    if dataset.official:
        assert re.fullmatch(r"[0-9a-f]{6}", dataset.class_hash or "")
        assert dataset.archive is not None


def read_flat(images: Path, class_names: Sequence[str], split_folder: Path | None = None) -> list[Instance]:
    """The reader of a benchmark whose photos are called `<class>-<number>.jpg`, all in one folder."""
    files = sorted(path.name for path in images.glob("*.jpg"))
    names = [file.split("-")[0] for file in files]
    return [
        Instance(row, class_names.index(name), name, file)
        for row, (file, name) in enumerate(zip(files, names, strict=True))
    ]


def test_a_new_line_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ["ant", "bee", "cat"]
    for name in classes:
        for number in range(4):
            (tmp_path / f"{name}-{number}.jpg").write_bytes(f"{name} {number}".encode())
    parts = {"trainval_loc": [1, 2, 3, 5, 6, 7], "test_seen_loc": [4, 8], "test_unseen_loc": [9, 10, 11, 12]}
    content = {part: np.array(rows)[:, None] for part, rows in parts.items()}
    names = np.array(classes, dtype=object)[:, None]
    savemat(tmp_path / "att_splits.mat", content | {"allclasses_names": names, "att": np.eye(3)})
    archive = Archive(photos="flat.zip", folder="the folder of flat.zip", splits="FLAT", gigabytes=1, images=12)
    hashes = read_split_file(tmp_path).hashes
    dataset = Dataset(reader=read_flat, name="Flat", split_hashes=hashes, class_hash="0" * 6, archive=archive)
    monkeypatch.setitem(DATASETS, "flat", dataset)

    with pytest.raises(ValueError, match=r"rows are those of the official Proposed Split of Flat, but the class list"):
        read_split_file(tmp_path)
    monkeypatch.setitem(DATASETS, "flat", replace(dataset, class_hash=None))
    index, raw = make_shards("flat", tmp_path / "data", images=tmp_path, splits=tmp_path)
    assert raw.verdict == "official Proposed Split of Flat, complete"
    assert (index.benchmark, index.count) == ("flat", 12)
    check_known("flat", tmp_path / "nowhere")
    items = doctor("flat", tmp_path / "nowhere", images=None, splits=None, backbone="resnet101", weights=None)
    assert "unpack flat.zip and give --images: the folder of flat.zip" in [item.remedy for item in items]
