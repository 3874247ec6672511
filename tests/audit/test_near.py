"""The search for look-alikes finds what comparing each with each finds, and compares few; photos look as decoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from bad_photos import encoded
from PIL import Image

from shards import write_shards
from zsl.audit import hamming
from zsl.audit.hamming import choose_masks, close_pairs, covering_masks
from zsl.audit.near import MAX_DISTANCE, MIN_CORRELATION, PIXELS, find_pairs
from zsl.audit.photos import Photo, check_rows, read_photos
from zsl.datasets.instances import Instance


def near_hashes(count: int, rng: np.random.Generator, flips: int = 9) -> np.ndarray:
    """Hashes of which many differ from another one in few bits, and some in none."""
    base = rng.integers(0, 2**64, size=count // 4, dtype=np.uint64)[rng.integers(0, count // 4, count)]
    bits = np.left_shift(np.uint64(1), rng.integers(0, 64, size=(count, flips), dtype=np.uint64))
    return base ^ np.bitwise_xor.reduce(np.where(rng.random((count, flips)) < 0.6, bits, np.uint64(0)), axis=1)


def pairs_within(hashes: np.ndarray, radius: int) -> set[tuple[int, int]]:
    """By comparing each with each, bit by bit."""
    texts = np.array([list(f"{value:064b}") for value in hashes.tolist()])
    return {
        (i, j)
        for i in range(len(hashes))
        for j in (i + 1 + np.flatnonzero((texts[i] != texts[i + 1 :]).sum(axis=1) <= radius)).tolist()
    }


@pytest.mark.parametrize(("radius", "parts"), [(0, 1), (5, 1), (6, 2), (12, 2), (12, 3)])
def test_no_close_pair_is_missed(radius: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = near_hashes(160, np.random.default_rng(radius + parts))
    hashes[:5] = hashes[5]
    monkeypatch.setattr(hamming, "choose_masks", lambda count, radius: covering_masks(radius, parts))
    monkeypatch.setattr(hamming, "CHUNK", 7)
    found = [
        pair for arrays in close_pairs(hashes, radius) for pair in zip(*map(np.ndarray.tolist, arrays), strict=True)
    ]
    expected = pairs_within(hashes, radius)
    assert expected
    assert set(found) == expected


def test_masks_leave_out_any_few_bits() -> None:
    rng = np.random.default_rng(0)
    for parts in (1, 2, 3):
        masks = covering_masks(12, parts)
        for _ in range(50):
            bits = np.bitwise_or.reduce(np.left_shift(np.uint64(1), rng.permutation(64)[:12].astype(np.uint64)))
            assert (masks & bits == 0).any()
        assert (masks != 0).all()


def test_more_hashes_are_compared_with_a_smaller_share_of_them() -> None:
    def share(count: int) -> float:
        return float(np.exp2(-np.bitwise_count(choose_masks(count, MAX_DISTANCE)).astype(float)).sum())

    assert share(200_000) < 0.02
    assert share(14_000_000) < 0.0001


def test_pairs_are_those_of_comparing_each_photo_with_each() -> None:
    rng, count = np.random.default_rng(1), 200
    hashes = near_hashes(count, rng, flips=4)
    looks = rng.integers(0, 256, (count // 8, PIXELS))[rng.integers(0, count // 8, count)]
    looks = np.clip(looks + rng.normal(size=looks.shape) * rng.choice([0, 5, 40], (count, 1)), 0, 255).astype(np.uint8)
    looks[7] = 9  # of one tone
    digests = [rng.bytes(32) for _ in range(count)]
    hashes[5], looks[5], digests[5] = hashes[50], looks[50], digests[50]
    hashes[6], looks[6] = hashes[60], looks[60]
    photos = [
        Photo(
            row=i, label=0, file=str(i), box=None, sha256=digests[i], bits=None if i == 3 else int(hashes[i]),
            thumbnail=None if i == 3 else looks[i].tobytes(),
        )
        for i in range(count)
    ]  # fmt: skip
    with np.errstate(invalid="ignore"):
        correlation = np.corrcoef(looks.astype(float))
    expected = {
        (i, j)
        for i, j in pairs_within(hashes, MAX_DISTANCE)
        if correlation[i, j] >= MIN_CORRELATION and 3 not in (i, j) and digests[i] != digests[j]
    }
    found = find_pairs(photos)
    assert (6, 60) in expected
    assert (5, 50) not in expected
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    assert len(found.first) == len(expected)
    assert found.correlation == pytest.approx(correlation[found.first, found.second])
    assert (np.diff(found.correlation) <= 0).all()
    assert len(find_pairs([]).first) == len(find_pairs(photos[3:4]).first) == 0


# --- photos as the decoder gives them --------------------------------------------------------------------------------


def landscape() -> Image.Image:
    """A picture of soft spots, 160 x 120, which looks like none of its turns."""
    spots = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize((160, 120), Image.Resampling.BICUBIC)


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The picture upright, by the words of EXIF's standard: where the stored first row and first column are."""
    ways = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    return image.transpose(ways[orientation])


def sixteen_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def with_hole(image: Image.Image) -> Image.Image:
    """Transparent outside of the middle; the colours of transparent pixels stay."""
    alpha = np.zeros((image.height, image.width), np.uint8)
    alpha[30:90, 40:120] = 255
    image = image.convert("RGBA")
    image.putalpha(Image.fromarray(alpha))
    return image


def on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def with_text(png: bytes, chunk: bytes, checksum: int) -> bytes:
    """The PNG with a chunk after its header."""
    return png[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", checksum) + png[33:]


PICTURE = landscape()
PNG = encoded(PICTURE, "PNG")
BOMB = b"zTXt" + b"key\0\0" + zlib.compress(bytes(80_000_000))
COPIES: dict[str, tuple[bytes, Image.Image]] = {
    **{
        f"{kind}, orientation {number}": (
            encoded(PICTURE, kind, exif=with_orientation(number)), turned(PICTURE, number)
        )
        for kind, number in [("JPEG", number) for number in range(2, 9)] + [("PNG", 6), ("TIFF", 8), ("WEBP", 3)]
    },
    "16-bit PNG": (encoded(sixteen_bits(PICTURE), "PNG"), PICTURE.convert("L")),
    "16-bit TIFF": (encoded(sixteen_bits(PICTURE), "TIFF"), PICTURE.convert("L")),
    "transparent PNG": (encoded(with_hole(PICTURE), "PNG"), on_white(with_hole(PICTURE))),
    "transparent WEBP": (encoded(with_hole(PICTURE), "WEBP", exact=True), on_white(with_hole(PICTURE))),
    "PNG with a broken text": (with_text(PNG, b"tEXtComment\0hello", 0), PICTURE),
    "PNG with a text of 80 MB": (with_text(PNG, BOMB, zlib.crc32(BOMB)), PICTURE),
    "CMYK JPEG": (encoded(PICTURE.convert("CMYK"), "JPEG"), PICTURE),
}  # fmt: skip


@pytest.mark.parametrize("name", COPIES)
def test_a_photo_looks_the_same_as_a_plain_copy_of_its_decoded_pixels(tmp_path: Path, name: str) -> None:
    photo, copy = COPIES[name]
    files = {"photo": photo, "copy": encoded(copy, "JPEG", quality=95), "flipped": encoded(turned(copy, 2), "JPEG")}
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    instances = [Instance(row=row, label=0, class_name="a", file=file) for row, file in enumerate(files)]
    index = write_shards(instances, tmp_path, tmp_path / "shards", benchmark="own", total=3, source={})
    photos = read_photos(tmp_path / "shards", index)
    assert check_rows(photos)[0].severity == "ok"
    pairs = find_pairs(photos)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0], [1])
    assert pairs.correlation[0] > 0.99
