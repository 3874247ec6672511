"""Check the blocks of a GIF without pixels, because Pillow's time grows with the square of a comment's length."""

from __future__ import annotations

MAX_BLOCKS = 10_000  # blocks of up to 255 bytes; a photo has a few
HEADER_BYTES = 13
EXTENSION, IMAGE = 0x21, 0x2C


def check_gif(data: bytes) -> None:
    """Refuse a GIF with endless comments, before or after its first picture.

    Raises:
        ValueError: the GIF has more blocks without pixels than a photo has.
    """
    at, extensions = HEADER_BYTES + _palette_bytes(data, 10), 0
    while at < len(data) and data[at] in (EXTENSION, IMAGE):
        is_image = data[at] == IMAGE
        at += 11 + _palette_bytes(data, at + 9) if is_image else 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
            extensions += not is_image
            if extensions > MAX_BLOCKS:
                raise ValueError(f"it has more than {MAX_BLOCKS:,} blocks without pixels")
        at += 1


def _palette_bytes(data: bytes, at: int) -> int:
    """Number of bytes of the palette that the flags at `at` announce."""
    flags = data[at] if at < len(data) else 0
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
