"""Tables larger than memory: features in a mapped file and read in pieces are, bit for bit, those in memory."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from toy import DIM, toy_splits, toy_table

from zsl.common import room
from zsl.common.room import free_memory, make_room, pieces
from zsl.common.tensors import write_tensors
from zsl.features.parts import read_part, read_part_features, read_rows
from zsl.features.scaling import FeatureScaler
from zsl.features.split import fit_scaler, split_features
from zsl.finetune.images import _store


@pytest.fixture
def no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No memory is free, a piece has seven rows, and the fixture is the folder for temporary files."""
    monkeypatch.setattr(room, "free_memory", lambda: 0.0)
    monkeypatch.setattr(room, "PIECE", 4 * DIM * 7)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_split_in_mapped_files_equals_the_split_in_memory(no_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = toy_splits()
    monkeypatch.undo()
    train_in_memory, test_in_memory = toy_splits()
    assert train.fingerprint == train_in_memory.fingerprint
    assert train.scaler.low.equal(train_in_memory.scaler.low)
    for part, other in ((test.seen, test_in_memory.seen), (test.unseen, test_in_memory.unseen)):
        assert part.features.equal(other.features)
        assert part.labels.equal(other.labels)
    batch = torch.randint(0, len(train.features), (32,), generator=torch.manual_seed(0))
    assert train.features[batch].equal(train_in_memory.features[batch])
    assert not list(no_memory.iterdir())  # no file has a name, so that a kill leaves none


def test_the_scaler_of_pieces_is_that_of_all_rows(no_memory: Path) -> None:
    table, splits = toy_table()
    features, _ = table.at(splits.trainval_loc)
    whole, ours = FeatureScaler.fit(features), fit_scaler(table, splits.trainval_loc)
    assert ours.low.equal(whole.low)
    assert ours.span.equal(whole.span)
    assert split_features(table, splits)[0].features.equal(whole(features))


def test_pieces_are_all_rows_once(no_memory: Path) -> None:
    for rows in (0, 1, 7, 8, 50):
        assert [row for some in pieces(rows, 4 * DIM) for row in range(rows)[some]] == list(range(rows))


@pytest.mark.parametrize("store", [lambda: make_room(1000, 1000), lambda: _store((1000, 1000), in_memory=False)])
def test_a_full_folder_for_temporary_files_is_an_error_and_does_not_kill_the_process(
    no_memory: Path, store: Callable[[], torch.Tensor]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match=rf"^{no_memory} has no room for a temporary file of .* by TMPDIR$") as error:
            store()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.errno == errno.EFBIG
    assert list(no_memory.iterdir()) == []


def test_a_file_system_that_cannot_reserve_gives_room_nevertheless(
    no_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", Mock(side_effect=OSError(errno.EOPNOTSUPP, "no")), raising=False)
    assert make_room(3, 4).fill_(2).sum() == 24


def test_room_is_a_tensor_to_write_to(no_memory: Path) -> None:
    tensor = make_room(3, 4)
    tensor[1:] = torch.arange(8.0).reshape(2, 4)
    assert tensor.tolist()[2] == [4, 5, 6, 7]
    assert make_room(0, 4).shape == (0, 4)


def test_free_memory_is_more_than_this_process_has_left_to_fear() -> None:
    assert free_memory() > 2**20


def test_the_rows_of_a_part_are_read_without_its_features(tmp_path: Path) -> None:
    path, rows = tmp_path / "part.safetensors", torch.arange(5)
    features = torch.arange(15.0).reshape(5, 3)
    tensors = {"rows": rows, "labels": rows % 2, "features": features, "tuned": rows > 3}
    write_tensors(path, tensors, {"failures": "[]"})
    whole, part = read_part(path), read_rows(path)
    for name in ("rows", "labels", "tuned"):
        assert np.array_equal(getattr(part, name), getattr(whole, name))
    assert part.features.shape == whole.features.shape
    assert np.array_equal(read_part_features(path), whole.features)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="delete it and extract again"):
        read_rows(path)
    write_tensors(path, {name: tensors[name] for name in ("rows", "labels")}, {"failures": "[]"})
    with pytest.raises(ValueError, match="delete it and extract again"):
        read_rows(path)


def test_a_table_lacks_a_row_in_any_piece(no_memory: Path) -> None:
    table, splits = toy_table()
    with pytest.raises(ValueError, match="the feature table has no row 4000"):
        split_features(table, replace(splits, trainval_loc=np.append(splits.trainval_loc, 4000)))
