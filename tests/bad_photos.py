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


JPEG = encoded(noise(), "JPEG")
BAD: dict[str, tuple[bytes, str]] = {
    "empty.jpg": (b"", "the file is empty"),
    "text.jpg": (b"This is not a photo.\n", "not an image, whatever its name says"),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "the image is cut short or damaged"),
    "cut-head.jpg": (JPEG[:30], "the image is cut short or damaged"),
    "moving.gif": (encoded(noise(), "GIF", save_all=True, append_images=[noise()] * 2), "animated or of several pages"),
    "moving.webp": (encoded(noise(), "WEBP", save_all=True, append_images=[noise()]), "2 frames"),
    "large.png": (encoded(Image.new("1", (8000, 8000)), "PNG"), "8,000 x 8,000 pixels are 64.0 megapixels"),
    "bomb.png": (encoded(Image.new("1", (20000, 20000)), "PNG"), "megapixels"),
    "heavy.png": (encoded(noise(), "PNG") + bytes(20_000_000), "the file has 20.0 MB, the limit is 20 MB"),
    "vector.eps": (encoded(noise(), "EPS"), "not an image"),
}
