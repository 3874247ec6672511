"""The one decoder: boxes and turns, formats, limits, damage; each against Pillow or against what was drawn."""

import io
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bad_photos import encoded
from PIL import Image, ImageOps

from backbones import FORMATS, PhotoLimits, decode, decode_image, decode_photo
from backbones.jpeg import read_structure
from backbones.orientation import read_orientation, turn, turn_back
from backbones.photo_format import describe_bytes, photo_format
from backbones.photo_header import read_header
from backbones.photo_limits import MAX_SCANS
from backbones.png import _bytes_of_rows

LOSSLESS = {"PNG": {}, "GIF": {}, "WEBP": {"lossless": True}, "BMP": {}, "TIFF": {}}
PATCH = (50, 5, 70, 15)  # of the photo below, in stored pixels


def with_patch(kind: str, orientation: int, size: tuple[int, int] = (80, 40)) -> bytes:
    """A grey photo with a red patch, turned by EXIF."""
    photo = Image.new("RGB", size, (128, 128, 128))
    photo.paste((255, 0, 0), PATCH)
    if kind == "TIFF":
        return encoded(photo, kind, tiffinfo={0x0112: orientation})
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"quality": 100, "subsampling": 0} if kind == "JPEG" else LOSSLESS[kind]
    return encoded(photo, kind, exif=exif, **options)


def as_array(data: bytes, *given: Any) -> np.ndarray:
    return decode_image(data, *given).permute(1, 2, 0).numpy()


def noise(width: int = 60, height: int = 40, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    return Image.fromarray(values).convert(mode)


# --- boxes and turns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_is_in_stored_pixels_and_its_crop_is_turned(kind: str, orientation: int) -> None:
    data = with_patch(kind, orientation)
    crop = as_array(data, PATCH)
    assert crop.shape == ((10, 20, 3) if orientation <= 4 else (20, 10, 3))
    assert np.abs(crop.astype(int) - (255, 0, 0)).max() <= 3
    # The whole photo is as Pillow turns it, and each pixel's channels lie side by side.
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert np.abs(as_array(data).astype(int) - expected).max() <= 2
    assert decode_image(data).stride()[0] == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("box", [(0, 0, 40, 80), (0, 0, 81, 40), (-1, 0, 4, 4), (4, 4, 4, 8)])
def test_a_box_beyond_the_stored_pixels_is_refused(kind: str, box: tuple[int, int, int, int]) -> None:
    words = "is not inside the image of 80 x 40 pixels, as they are stored, before EXIF turns them"
    with pytest.raises(ValueError, match=re.escape(f"box {list(box)} (x0, y0, x1, y1) {words}")):
        decode_image(with_patch(kind, 6), box)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_back_undoes_turning(orientation: int) -> None:
    pixels = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    np.testing.assert_array_equal(turn_back(turn(pixels, orientation), orientation), pixels)


BROKEN_EXIF = {
    "no byte order": b"Exif\0\0XX*\0" + bytes(40),
    "cut": b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03",
    "offset beyond its end": b"Exif\0\0MM\0*\x7f\xff\xff\xff" + bytes(8),
    "orientation 9": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0",
    "orientation 0": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x00\0\0\0",
    "text": b"hello",
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
def test_a_photo_with_broken_exif_is_taken_unturned(kind: str, exif: bytes) -> None:
    options: dict[str, Any] = LOSSLESS.get(kind, {})
    np.testing.assert_array_equal(
        as_array(encoded(noise(), kind, exif=exif, **options)), as_array(encoded(noise(), kind, **options))
    )


@pytest.mark.parametrize("name", [b"eXIf", b"tEXt", b"iCCP"])
def test_a_png_is_taken_whose_broken_chunk_says_nothing_of_its_pixels(name: bytes) -> None:
    whole = encoded(noise(), "PNG")
    chunk = struct.pack(">I", 9) + name + b"not sound" + struct.pack(">I", 12345)  # a wrong checksum
    np.testing.assert_array_equal(as_array(whole[:33] + chunk + whole[33:]), as_array(whole))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("code", "form"), [(1, "Bxxx"), (3, "Hxx"), (4, "I")])
def test_orientation_is_read_in_both_byte_orders_and_all_lengths(order: str, code: int, form: str) -> None:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, code, 1)
    assert read_orientation(head + struct.pack(f"{order}{form}", 6) + bytes(4)) == 6


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_told_by_its_bytes_and_decoded(kind: str) -> None:
    data = encoded(noise(), kind, **LOSSLESS.get(kind, {"quality": 95}))
    assert photo_format(data[:64]) == kind
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(as_array(data).astype(int) - expected).max() <= 2


OTHERS = {
    "PostScript": lambda: encoded(noise(), "EPS"),
    "PPM": lambda: encoded(noise(), "PPM"),
    "JPEG 2000": lambda: encoded(noise(), "JPEG2000"),
    "an icon": lambda: encoded(noise(), "ICO"),
    "HEIC": lambda: b"\0\0\0\x18ftypheic" + bytes(500),
    "AVIF": lambda: b"\0\0\0\x18ftypavif" + bytes(500),
    "a film": lambda: b"\0\0\0\x18ftypisom" + bytes(500),
    "a web page": lambda: b"\n <!DOCTYPE html><html><body>404</body></html>",
    "a Git LFS pointer, run `git lfs pull`": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "PDF": lambda: b"%PDF-1.7\n",
    "SVG": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a ZIP archive": lambda: b"PK\x03\x04" + bytes(50),
    "nothing but zeros": lambda: bytes(5000),
    "no photo": lambda: b"hello",
}


@pytest.mark.parametrize(("words", "make"), OTHERS.items(), ids=OTHERS)
def test_another_format_is_not_opened_and_the_message_says_what_it_looks_like(
    words: str, make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make()
    monkeypatch.setattr(Image, "open", None)  # so no Ghostscript
    with pytest.raises(ValueError, match=rf"^{len(data):,} bytes are not a whole image: ") as error:
        decode_image(data)
    assert f"not an image by its content: it is {words}; read are JPEG, PNG, GIF, WEBP" in str(error.value)
    assert describe_bytes(data[:64]) == words


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_a_photo_of_several_frames_is_refused(kind: str) -> None:
    data = encoded(noise(), kind, save_all=True, append_images=[noise(mode="L").convert("RGB")] * 2)
    with pytest.raises(ValueError, match="animated or of several pages; save the frame you mean as a photo"):
        decode_image(data)


def test_a_phones_photo_with_its_preview_is_taken() -> None:
    data = encoded(noise(), "MPO", save_all=True, append_images=[noise(mode="L").convert("RGB")])
    assert as_array(data).shape == (40, 60, 3)


# --- damage ----------------------------------------------------------------------------------------------------------

WHOLE = {
    "JPEG": encoded(noise(300, 200), "JPEG"),
    "progressive": encoded(noise(300, 200), "JPEG", progressive=True),
    "CMYK": encoded(noise(300, 200, "CMYK"), "JPEG"),
    "PNG": encoded(noise(300, 200), "PNG"),
    "GIF": encoded(noise(300, 200), "GIF"),
    "WEBP": encoded(noise(300, 200), "WEBP"),
    "lossless": encoded(noise(300, 200), "WEBP", lossless=True),
    "LZW": encoded(noise(300, 200), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("end", ["zeros", "missing"])
def test_a_photo_whose_end_is_zeros_or_missing_is_refused(kind: str, share: float, end: str) -> None:
    whole = WHOLE[kind]
    head = whole[: int(share * len(whole))]
    data = head + bytes(len(whole) - len(head)) if end == "zeros" else head
    if kind in ("WEBP", "lossless") and end == "zeros" and share > 0.7:
        pytest.skip("a WebP's pixels have no checksum; fewer zeros than a quarter may be its own")
    with pytest.raises(ValueError, match=r"^[\d,]+ bytes are not a whole image: "):
        decode_image(data)


def test_what_follows_the_end_of_a_jpeg_does_not_matter() -> None:
    np.testing.assert_array_equal(as_array(WHOLE["JPEG"] + bytes(5000)), as_array(WHOLE["JPEG"]))


def test_a_message_is_equal_in_equal_runs() -> None:
    """Without the address of an object."""
    for data in (WHOLE["PNG"][:30], WHOLE["LZW"][:30], b"BM" + bytes(12) + b"\x28" + bytes(20), b"GIF89a"):
        with pytest.raises(ValueError, match="not a whole image") as error:
            decode_image(data)
        assert "0x" not in str(error.value)


# --- limits ----------------------------------------------------------------------------------------------------------


SCANS = encoded(Image.new("RGB", (300, 200)), "JPEG", progressive=True)


def with_scans(jpeg: bytes, count: int) -> bytes:
    """The progressive JPEG with its last scan repeated until it has `count` scans."""
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + scan * (count - read_structure(jpeg).scans) + jpeg[-2:]


def test_scans_are_counted_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = SCANS
    assert read_structure(jpeg).scans == 10  # libjpeg's own script
    assert decode_image(with_scans(jpeg, MAX_SCANS)).shape == (3, 200, 300)
    monkeypatch.setattr(decode, "_stored", None)
    for count in (MAX_SCANS + 1, 9_000):
        words = f"this JPEG has {count:,} scans, the limit is {MAX_SCANS}: each is a pass over all pixels"
        with pytest.raises(ValueError, match=words):
            decode_image(with_scans(jpeg, count))


def test_a_file_of_nothing_but_markers_is_refused_at_once() -> None:
    before = time.process_time()
    for filler in (b"\xff\xe0\0\x02" * 2_000_000, b"\xff\x01" * 4_000_000, b"\xff" * 8_000_000):
        with pytest.raises(ValueError, match=r"more than 10,000 segments|no frame header"):
            decode_image(b"\xff\xd8" + filler)
    assert time.process_time() - before < 2


def test_a_gif_of_endless_comments_and_a_png_of_endless_chunks_are_refused_at_once() -> None:
    before = time.process_time()
    gif, png = WHOLE["GIF"], WHOLE["PNG"]
    at = gif.index(b"\x2c", 13 + 3 * 256)
    comment = b"\x21\xfe" + (b"\xff" + b"x" * 255) * 70_000 + b"\0"
    for data in (gif[:at] + comment + gif[at:], gif[:-1] + comment + gif[-1:]):
        with pytest.raises(ValueError, match="more than 10,000 blocks without pixels"):
            decode_image(data)
    chunk = struct.pack(">I", 0) + b"abCd" + struct.pack(">I", zlib.crc32(b"abCd"))
    with pytest.raises(ValueError, match="more than 100,000 chunks"):
        decode_image(png[:33] + chunk * 1_500_000 + png[33:])
    assert time.process_time() - before < 3


@pytest.mark.parametrize(
    ("kind", "options", "side"),
    [
        ("PNG", {}, 7600),
        ("WEBP", {"method": 0}, 4500),
        ("GIF", {}, 7300),
        ("JPEG", {}, 8200),
        ("JPEG", {"progressive": True}, 8200),
        ("JPEG", {"progressive": True, "subsampling": 0}, 6800),
    ],
)
def test_a_photo_above_the_memory_limit_is_refused_by_its_header(
    kind: str, options: dict[str, Any], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(Image.new("RGB", (side, side)), kind, **options)
    monkeypatch.setattr(decode, "_stored", None)
    words = rf"{side:,} x {side:,} pixels are .* megapixels, which take \d+ MB while this {kind} is decoded; the limit"
    with pytest.raises(ValueError, match=f"{words} is 400 MB, save the photo smaller"):
        decode_image(data)


def test_a_camera_of_50_megapixels_is_within_the_limits() -> None:
    for kind in ("JPEG", "PNG"):
        data = encoded(Image.new("RGB", (8688, 5792)), kind)
        assert read_header(data, PhotoLimits()).width == 8688


MEASURE = """
import io, os, resource, sys
import numpy as np
from PIL import Image
from backbones import decode_image
from backbones.preprocess import Transform

transform = Transform(size=(64, 64), mean=(0, 0, 0), std=(1, 1, 1), interpolation="bicubic")
for small, large in zip(sys.argv[1::2], sys.argv[2::2]):
    data = open(large, "rb").read()
    reader, writer = os.pipe()
    if os.fork() == 0:
        transform(decode_image(open(small, "rb").read()))  # code and tables are loaded
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        transform(decode_image(data))
        os.write(writer, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before).encode())
        os._exit(0)
    os.wait()
    print(int(os.read(reader, 20)) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux gives it")
def test_decoding_takes_no_more_memory_than_is_stated(tmp_path: Any) -> None:
    """From bytes to the model's input, in a process of its own for each photo."""
    side = 2000
    photo = noise(side // 40, side // 40, "RGBA").resize((side, side))
    kinds: dict[str, tuple[str, str, dict[str, Any]]] = {
        "jpeg": ("RGB", "JPEG", {}),
        "progressive": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
        "cmyk": ("CMYK", "JPEG", {"progressive": True}),
        "turned": ("RGB", "JPEG", {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"}),
        "png": ("RGBA", "PNG", {"compress_level": 1}),
        "webp": ("RGBA", "WEBP", {"method": 0, "quality": 1, "alpha_quality": 1}),
        "gif": ("P", "GIF", {}),
        "bmp": ("RGB", "BMP", {}),
        "lzw": ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
    }
    paths = []
    for name, (mode, kind, options) in kinds.items():
        paths += [tmp_path / f"{name}-small", tmp_path / name]
        paths[-2].write_bytes(encoded(photo.resize((64, 64)).convert(mode), kind, **options))
        paths[-1].write_bytes(encoded(photo.convert(mode), kind, **options))
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, *map(str, paths)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    for path, taken in zip(paths[1::2], map(int, process.stdout.split()), strict=True):
        with pytest.raises(ValueError, match="MB while") as error:
            decode_photo(path.read_bytes(), limits=PhotoLimits(memory_megabytes=0.1))
        stated = int(re.findall(r"take (\d+) MB", str(error.value))[0]) * 1e6
        assert taken < stated, f"{path.name} took {taken / 1e6:.1f} MB, stated are {stated / 1e6:.1f}"
        assert stated < 3 * taken + 8e6  # and what is stated is no mere upper bound


def test_transparency_is_blended_alike_in_all_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(noise(mode="RGBA"), "PNG")
    photo = Image.open(io.BytesIO(data))
    white = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")
    for pixels in (1, 60 * 7, 10**6):
        monkeypatch.setattr(decode, "STRIP", pixels)
        np.testing.assert_array_equal(as_array(data), np.asarray(white))


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


BOMB = zlib.compress(bytes(200_000_000))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"zTXt", b"name\0\0" + BOMB),
        (b"iTXt", b"name\0\1\0\0\0" + BOMB),
        (b"iCCP", b"name\0\0" + BOMB),
        (b"iCCP", b"no profile"),
        (b"iTXt", b"no text"),
        (b"tEXt", b""),
    ],
)
def test_texts_and_profiles_of_a_png_are_not_read(name: bytes, content: bytes) -> None:
    whole = encoded(noise(), "PNG")
    np.testing.assert_array_equal(as_array(whole[:33] + png_chunk(name, content) + whole[33:]), as_array(whole))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("missing", [0, 1, 20])
def test_a_png_needs_the_data_of_all_of_its_rows(mode: str, missing: int) -> None:
    """Each chunk is sound; only the number of rows in the header is larger."""
    photo = noise(61, 40, "L").convert("I").convert("I;16") if mode == "I;16" else noise(61, 40, "RGB").convert(mode)
    whole = encoded(photo, "PNG")
    header = bytearray(whole[16:29])
    header[4:8] = struct.pack(">I", 40 + missing)
    data = whole[:8] + png_chunk(b"IHDR", bytes(header)) + whole[33:]
    if missing:
        with pytest.raises(ValueError, match=r"not a whole image: .*its data hold [\d,]+ of [\d,]+ bytes of its rows"):
            decode_image(data)
    else:
        np.testing.assert_array_equal(as_array(data), as_array(whole))


def test_an_interlaced_png_has_the_bytes_of_its_seven_passes() -> None:
    """The counts are those of a list of pixels by pass, made from the standard's 8 x 8 pattern."""
    pattern = [
        "16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777",
    ]  # fmt: skip
    for width, height, depth, colour in ((1, 1, 8, 2), (7, 5, 8, 6), (9, 16, 1, 0), (33, 3, 4, 3)):
        bits = depth * {0: 1, 2: 3, 3: 1, 6: 4}[colour]
        rows: dict[tuple[int, str], int] = {}
        for y in range(height):
            for x in range(width):
                key = (y, pattern[y % 8][x % 8])
                rows[key] = rows.get(key, 0) + 1
        expected = sum(1 + (columns * bits + 7) // 8 for columns in rows.values())
        header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 1)
        assert _bytes_of_rows(header) == expected


JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "CMYK": {"mode": "CMYK"},
    "grey": {"mode": "L"},
    "restarts": {"restart_marker_blocks": 4},
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("share", [0.4, 0.6, 0.95])
@pytest.mark.parametrize("filling", ["zeros", "nothing"])
def test_a_jpeg_that_lost_data_before_its_end_marker_is_refused(kind: str, share: float, filling: str) -> None:
    options = dict(JPEGS[kind])
    whole = encoded(noise(200, 150, options.pop("mode", "RGB")), "JPEG", **options)
    head = whole[: int(share * len(whole))]
    zeros = bytes(len(whole) - len(head) - 2) if filling == "zeros" else b""
    with pytest.raises(ValueError, match=r"^[\d,]+ bytes are not a whole image: "):
        decode_image(head + zeros + b"\xff\xd9")


def test_a_progressive_jpeg_needs_all_of_its_scans() -> None:
    whole = WHOLE["progressive"]
    starts = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    assert len(starts) > 5
    for start in starts[1:]:
        with pytest.raises(ValueError, match="its last scans are missing"):
            decode_image(whole[:start] + b"\xff\xd9")


def test_scans_are_counted_before_it_is_checked_what_they_hold() -> None:
    """A frame of 255 components and 9,000 scans of all of them: checking these would take half a minute."""
    components = b"".join(bytes((number, 0x11, 0)) for number in range(255))
    frame = b"\x08" + struct.pack(">HH", 64, 64) + bytes([255]) + components
    scan = bytes([255]) + b"".join(bytes((number, 0)) for number in range(255)) + b"\x00\x3f\x00"
    data = b"\xff\xd8\xff\xc2" + struct.pack(">H", len(frame) + 2) + frame
    data += (b"\xff\xda" + struct.pack(">H", len(scan) + 2) + scan) * 9_000 + b"\xff\xd9"
    started = time.process_time()
    with pytest.raises(ValueError, match=r"this JPEG has 9,000 scans, the limit is 32"):
        decode_image(data)
    assert time.process_time() - started < 5


def test_a_jpeg_that_is_shorter_than_its_header_says_is_refused() -> None:
    data = bytearray(encoded(noise(200, 150), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 7] = (300).to_bytes(2, "big")
    with pytest.raises(ValueError, match=r"not a whole image: .*premature end"):
        decode_image(bytes(data))


def test_a_few_surplus_bytes_at_the_end_of_a_jpeg_do_not_matter() -> None:
    whole = encoded(noise(), "JPEG")
    for surplus in (b"\x12", b"\x12\x34" * 8):
        np.testing.assert_array_equal(as_array(whole[:-2] + surplus + whole[-2:]), as_array(whole))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2}])
def test_jpegs_have_the_pixels_of_pillows_decoder(mode: str, options: dict[str, Any]) -> None:
    data = encoded(noise(65, 43, mode), "JPEG", **options)
    np.testing.assert_array_equal(as_array(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize(
    ("photo", "options", "said"),
    [
        (Image.new("LAB", (9, 9)), {}, "mode LAB, which is neither grey nor RGB nor CMYK"),
        (Image.new("I;16", (9, 9), 4000), {"tiffinfo": {262: 0}}, "16 bits, and 0 is white"),
    ],
)
def test_a_tiff_of_other_pixels_is_refused(photo: Image.Image, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode_image(encoded(photo, "TIFF", **options))


def test_a_tiff_of_12_bits_is_refused() -> None:
    """Pillow reads such files and writes none: this one is made by hand, 2 x 1 pixels."""
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 3}
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags.items()
    )
    data = b"II*\0" + struct.pack("<I", 12) + b"\xff\xf0\x00\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    with pytest.raises(ValueError, match="grey pixels have 12 bits; save it with 8 or 16 bits"):
        decode_image(data)
