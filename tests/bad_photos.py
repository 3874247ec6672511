"""Photos that are not to be answered, and words of the message that each gets."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((90, 60), 60).convert(mode)


def without_dimensions(tiff: bytes, *, first: bool = True) -> bytes:
    """The TIFF with the tag of the first or the last page's width renamed, which Pillow answers with a TypeError."""
    width_tag = b"\x00\x01\x04\x00\x01\x00\x00\x00"  # tag 256, one 32-bit number, little endian
    at = tiff.find(width_tag) if first else tiff.rfind(width_tag)
    assert at > 0
    return tiff[:at] + b"\xfe\xff" + tiff[at + 2 :]


JPEG = encoded(noise(), "JPEG")
BAD: dict[str, tuple[bytes, str]] = {
    "empty.jpg": (b"", "the file is empty"),
    "text.jpg": (b"This is not a photo.\n", "not an image by its content"),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "the image is cut short or damaged"),
    "cut-head.jpg": (JPEG[:30], "the image is cut short or damaged"),
    "moving.gif": (encoded(noise(), "GIF", save_all=True, append_images=[noise()] * 2), "animated or of several pages"),
    "moving.webp": (encoded(noise(), "WEBP", save_all=True, append_images=[noise()]), "animated or of several pages"),
    "no-size.tif": (without_dimensions(encoded(noise(), "TIFF")), "not an image by its content"),
    "no-second-size.tif": (
        without_dimensions(encoded(noise(), "TIFF", save_all=True, append_images=[noise()]), first=False),
        "animated or of several pages",
    ),
    "scale.tif": (encoded(noise("F"), "TIFF"), "32-bit numbers without a known scale (mode F)"),
    "integers.tif": (encoded(noise("I"), "TIFF"), "32-bit numbers without a known scale (mode I)"),
    "large.png": (encoded(Image.new("1", (8000, 8000)), "PNG"), "8,000 x 8,000 pixels are 64.0 megapixels"),
    "bomb.png": (encoded(Image.new("1", (20000, 20000)), "PNG"), "megapixels"),
    "heavy.png": (encoded(noise(), "PNG") + bytes(20_000_000), "the file has 20.0 MB, the limit is 20 MB"),
    "vector.eps": (encoded(noise(), "EPS"), "not an image"),
}
