"""Photos as the world has them, on their way through shards, extraction, fine-tuning and reports."""

import base64
import csv
import gc
import io
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from bad_photos import encoded
from PIL import Image
from tiny import pack, tiny_instances
from torch import Tensor

import backbones
from backbones import Backbone
from shards import Sample, Shard, write_shards
from zsl.audit.photos import read_photos
from zsl.datasets.apy import instances
from zsl.datasets.instances import Instance
from zsl.features.encode import Target, encode_together
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.load import load_splits
from zsl.features.parts import Part, Parts
from zsl.features.stream import Batch
from zsl.features.table import read_features
from zsl.finetune.images import load_train_images, read_rows
from zsl.report.thumbnails import thumbnail

BOX = (50, 5, 70, 15)  # of the photo below, in stored pixels
QUARANTINE = ExtractSettings(on_error="quarantine")


def turned(orientation: int) -> bytes:
    """A grey JPEG of 80 x 40 stored pixels with a red patch at BOX, turned by EXIF."""
    photo = Image.new("RGB", (80, 40), (128, 128, 128))
    photo.paste((255, 0, 0), BOX)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photo, "JPEG", exif=exif, quality=100, subsampling=0)


@pytest.fixture
def apy(tmp_path: Path) -> Path:
    """A raw folder of aPY with one photo and one box, 1-based with its last pixel, in a list of aYahoo."""
    (tmp_path / "ayahoo_test_images").mkdir()
    (tmp_path / "attribute_data").mkdir()
    for name in ("apascal_train.txt", "apascal_test.txt"):
        (tmp_path / "attribute_data" / name).write_text("")
    (tmp_path / "attribute_data" / "ayahoo_test.txt").write_text("donkey_1.jpg donkey 51 6 70 15 0 1\n")
    return tmp_path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_of_apy_is_in_stored_pixels_from_its_list_to_features(
    orientation: int, apy: Path, tiny_backbone: Backbone, accelerator: Accelerator
) -> None:
    (apy / "ayahoo_test_images" / "donkey_1.jpg").write_bytes(turned(orientation))
    (row,) = instances(apy, ["donkey"])
    assert row.box == BOX
    index = write_shards([row], apy, apy / "shards", benchmark="toy", total=1, source={})
    extract_features(tiny_backbone, apy / "shards", index, apy / "out", accelerator)
    red = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 10, 20)
    with torch.inference_mode():
        expected = tiny_backbone.encode(tiny_backbone.transform(red)[None]).numpy()
    features = np.asarray(read_features(apy / "out").features)
    assert np.linalg.norm(features - expected) < 0.05 * np.linalg.norm(expected)
    shown = Image.open(io.BytesIO(base64.b64decode(thumbnail(turned(orientation), row.box).split(",", 1)[1])))
    assert shown.size == ((20, 10) if orientation <= 4 else (10, 20))
    assert np.asarray(shown.convert("RGB")).mean((0, 1)) == pytest.approx([254, 0, 0], abs=6)


def test_a_box_beyond_the_stored_pixels_is_refused_before_it_is_packed(apy: Path) -> None:
    """Turned by EXIF the photo is 80 pixels high."""
    (apy / "ayahoo_test_images" / "donkey_1.jpg").write_bytes(turned(6))
    (apy / "attribute_data" / "ayahoo_test.txt").write_text("donkey_1.jpg donkey 1 1 40 80 0 1\n")
    with pytest.raises(ValueError, match=r"row 0 box \[0, 0, 40, 80\] in .*donkey_1\.jpg of 80 x 40 pixels"):
        instances(apy, ["donkey"])


def test_fine_tuning_crops_and_turns_as_extraction_does(tiny_shapes: Path, tmp_path: Path) -> None:
    data, raw = tmp_path, tmp_path / "shapes" / "raw"
    shutil.copytree(tiny_shapes / "shapes", data / "shapes")
    rows = tiny_instances(data)
    for row in rows:
        (raw / row.file).write_bytes(turned(1 + row.row % 8))
    boxed = [Instance(row.row, row.label, row.class_name, row.file, BOX) for row in rows]
    source = pack(data, tmp_path / "plain").source
    index = write_shards(boxed, raw, tmp_path / "shards", benchmark="shapes", total=72, source=source)
    splits = load_splits("shapes", data, read_rows(tmp_path / "shards", index)[0])
    transform = backbones.Transform(size=(16, 16), mean=(0, 0, 0), std=(1, 1, 1), interpolation="bilinear")
    photos = load_train_images(tmp_path / "shards", index, splits, [transform]).sizes[0]
    expected = torch.tensor([255, 0, 0])[:, None, None]
    assert (photos.int() - expected).abs().max() <= 3


# --- what cannot be read ---------------------------------------------------------------------------------------------

BAD = {
    "heic": (b"\0\0\0\x18ftypheic" + bytes(500), "it is HEIC; read are JPEG"),
    "html": (b"<!doctype html><html>", "it is a web page; read are JPEG"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer, run `git lfs pull`"),
    "eps": (encoded(Image.new("RGB", (9, 9)), "EPS"), "it is PostScript; read are JPEG"),
    "zeros": (turned(1)[:400] + bytes(2000), "it has no end marker: its end is missing, or is zeros"),
    "moving": (
        encoded(Image.new("RGB", (9, 9)), "GIF", save_all=True, append_images=[Image.new("RGB", (9, 9), "red")]),
        "animated or of several pages",
    ),
    "tiff": (b"II*\0\xff\xff\0\0", "not an image by its content"),
}


def test_each_bad_photo_is_quarantined_in_words_and_equal_runs_write_equal_files(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path
) -> None:
    shutil.copytree(tiny_shapes / "shapes", tmp_path / "shapes")
    rows, index = tiny_instances(tmp_path), pack(tmp_path, tmp_path / "shards")
    splits = load_splits("shapes", tmp_path, read_rows(tmp_path / "shards", index)[0])
    bad = sorted(splits.trainval_loc.tolist())[: len(BAD)]
    for row, (data, _) in zip(bad, BAD.values(), strict=True):
        (tmp_path / "shapes" / "raw" / rows[row].file).write_bytes(data)
    index = pack(tmp_path, tmp_path / "shards")
    given = tiny_backbone, tmp_path / "shards", index
    for out in ("one", "two"):
        assert extract_features(*given, tmp_path / out, accelerator, QUARANTINE).quarantined == len(BAD)
    assert (tmp_path / "one" / "quarantine.csv").read_bytes() == (tmp_path / "two" / "quarantine.csv").read_bytes()
    with (tmp_path / "one" / "quarantine.csv").open(newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert [int(entry["row"]) for entry in listed] == bad
    for entry, (_, words) in zip(listed, BAD.values(), strict=True):
        assert words in entry["reason"]
    # The audit decodes by the same rules, and fine-tuning refuses the first bad photo in the same words.
    assert [photo.row for photo in read_photos(tmp_path / "shards", index) if photo.bits is None] == bad
    with pytest.raises(ValueError, match=rf"row {bad[0]} .* cannot be decoded: .* it is HEIC"):
        load_train_images(tmp_path / "shards", index, splits, [tiny_backbone.transform])


# --- memory ----------------------------------------------------------------------------------------------------------


def test_photos_of_a_shard_do_not_stay_in_memory_until_it_is_done() -> None:
    shard = Shard("shard-000000.tar", 120, 0, 119, "0" * 64)
    alive: list[weakref.ref[Any]] = []
    most = 0

    def batches() -> Iterator[Batch]:
        for start in range(0, 120, 4):
            images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
            alive.append(weakref.ref(images))
            samples = tuple(Sample(start + i, 0, "x", b"", None) for i in range(4))
            yield Batch(shard=shard, samples=samples, images=images, last=start == 116)
            del images, samples

    class Written:
        part: Part

        def write(self, shard: Shard, part: Part) -> None:
            self.part = part

    def encode(images: Tensor) -> Tensor:
        return torch.ones(len(images), 2)

    written = Written()
    target = Target(encode=encode, parts=cast(Parts, written), dim=2)
    for _ in encode_together([target], batches()):
        gc.collect()
        most = max(most, sum(reference() is not None for reference in alive))
    assert most <= 2
    assert written.part.rows.tolist() == list(range(120))
    assert written.part.features.shape == (120, 2)
