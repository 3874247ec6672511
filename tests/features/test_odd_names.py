"""Names of files whose bytes are not UTF-8: extraction, quarantine and export go through, and write them as text."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from accelerate import Accelerator
from scipy.io import loadmat
from tiny import tiny_instances

from backbones import Backbone
from shards import read_index, write_shards
from zsl.common.text import printable
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.mat import export_mat
from zsl.features.table import read_features


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"caf\xe9.jpg", r"caf\xe9.jpg"),
        ("café 鳥.jpg".encode(), "café 鳥.jpg"),
        (b"\xff\xfe/a.jpg", r"\xff\xfe/a.jpg"),
    ],
)
def test_a_byte_that_is_not_utf_8_is_written_as_its_number(name: bytes, text: str) -> None:
    assert printable(os.fsdecode(name)) == text


def test_half_a_surrogate_pair_is_text_too() -> None:
    assert printable("a\ud800b") == r"a\ud800b"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_photo_of_such_a_name_is_extracted_listed_and_exported(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    rows = tiny_instances(tiny_shapes)[:5]
    names = [os.fsdecode(name) for name in (b"caf\xe9.jpg", b"b\xff.jpg", b"c.jpg", b"=d.jpg", b"e.jpg")]
    raw.mkdir()
    for row, name in zip(rows, names, strict=True):
        shutil.copyfile(tiny_shapes / "shapes" / "raw" / row.file, raw / name)
    (raw / names[1]).write_bytes(b"no photo")
    (raw / names[3]).write_bytes(b"no photo")
    named = [replace(row, file=name) for row, name in zip(rows, names, strict=True)]
    source = read_index(tiny_shapes / "shapes" / "shards").source

    def extract(folder: str, on_error: str = "stop") -> Path:
        index = write_shards(named, raw, tmp_path / folder, benchmark="shapes", total=72, source=source)
        settings = ExtractSettings(on_error="quarantine" if on_error == "quarantine" else "stop")
        extract_features(tiny_backbone, tmp_path / folder, index, tmp_path / "out" / folder, accelerator, settings)
        return tmp_path / "out" / folder

    listed = (extract("bad", "quarantine") / "quarantine.csv").read_bytes().decode()
    assert r",b\xff.jpg," in listed
    assert ",'=d.jpg," in listed
    for name in (names[1], names[3]):
        shutil.copyfile(raw / names[2], raw / name)
    out = extract("good")
    export_mat(out, tmp_path / "res101.mat", tmp_path / "good")
    exported = [str(cell[0]) for cell in loadmat(tmp_path / "res101.mat")["image_files"].ravel()]
    assert exported == [r"caf\xe9.jpg", r"b\xff.jpg", "c.jpg", "=d.jpg", "e.jpg"]
    assert len(read_features(out).rows) == 5
