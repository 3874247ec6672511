"""Several tables in one pass: each photo is decoded once, and every table is as if it had been made alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from accelerate import Accelerator
from tiny import Rank, pack

import backbones
from backbones import Backbone, EncodeOptions, load_backbone
from zsl.features.extract import ExtractSettings, extract_features, extract_tables
from zsl.features.parts import Parts
from zsl.features.table import read_features

SETTINGS = ExtractSettings(batch_size=4)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The photos that were decoded since the start of the test, in order."""
    photos, decode = [], backbones.decode_image

    def note(data: bytes, *args: Any, **options: Any) -> Any:
        photos.append(data)
        return decode(data, *args, **options)

    monkeypatch.setattr("backbones.decode_image", note)
    return photos


@pytest.fixture(scope="module")
def views(tiny_backbone: Backbone, tiny_weights: Path, other_weights: Path) -> list[Backbone]:
    """Three backbones: two architectures, and one of them at another size with crops and mirror images."""
    options = EncodeOptions(image_size=96, crops=5, flip=True)
    return [
        tiny_backbone,
        load_backbone("test_resnet", other_weights),
        load_backbone("test_resnet", other_weights, options),
    ]


def test_each_photo_is_decoded_once_for_all_tables_and_each_table_is_as_if_made_alone(
    tiny_shapes: Path, views: list[Backbone], accelerator: Accelerator, tmp_path: Path, decoded: list[bytes]
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=23)
    tables = [(backbone, tmp_path / backbone.name) for backbone in views]
    manifests = extract_tables(tables, tmp_path / "shards", index, accelerator, SETTINGS)
    assert len(decoded) == len(set(decoded)) == 23
    for (backbone, out), manifest in zip(tables, manifests, strict=True):
        extract_features(backbone, tmp_path / "shards", index, tmp_path / "alone" / out.name, accelerator, SETTINGS)
        alone, together = read_features(tmp_path / "alone" / out.name), read_features(out)
        assert manifest == together.manifest
        assert manifest.images_per_second
        assert manifest.arrays_sha256 == alone.manifest.arrays_sha256
        np.testing.assert_array_equal(together.features, alone.features)
        assert not (out / "parts").exists()
    assert len(decoded) == 23 * 4
    extract_tables(tables, tmp_path / "shards", index, accelerator, SETTINGS)  # they are whole: nothing is decoded
    assert len(decoded) == 23 * 4


def test_a_pass_after_a_kill_computes_what_each_table_lacks(
    tiny_shapes: Path, views: list[Backbone], accelerator: Accelerator, tmp_path: Path,
    decoded: list[bytes], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    index = pack(tiny_shapes, tmp_path / "shards", count=30)
    tables = [(backbone, tmp_path / backbone.name) for backbone in views[:2]]
    write, written = Parts.write, list[str]()

    def killed(parts: Parts, *args: Any) -> None:
        if len(written) == 3:  # the first table has two parts then, the second one
            raise KeyboardInterrupt
        written.append(parts.folder.parent.name)
        write(parts, *args)

    monkeypatch.setattr(Parts, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        extract_tables(tables, tmp_path / "shards", index, accelerator, SETTINGS)
    assert sorted(map(written.count, set(written))) == [1, 2]
    monkeypatch.setattr(Parts, "write", write)
    decoded.clear()
    extract_tables(tables, tmp_path / "shards", index, accelerator, SETTINGS)
    assert len(decoded) == 10 + 10  # the last shard for both, the middle one for the second table alone
    for _, out in tables:
        assert read_features(out).rows.tolist() == list(range(30))


def test_ranks_share_one_pass_and_every_table_has_each_row_once(
    tiny_shapes: Path, views: list[Backbone], tmp_path: Path
) -> None:
    index = pack(tiny_shapes, tmp_path / "shards", count=48)
    tables = [(backbone, tmp_path / backbone.name) for backbone in views[:2]]
    barrier = threading.Barrier(2, timeout=60)

    def start(rank: int) -> None:
        extract_tables(tables, tmp_path / "shards", index, cast(Accelerator, Rank(rank, barrier)), SETTINGS)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(start, range(2)))
    for _, out in tables:
        assert read_features(out).rows.tolist() == list(range(48))
