"""Check the end of a WebP, because its pixels have neither a checksum nor an end marker."""

from __future__ import annotations

ZEROS = 1024  # no encoder ends with more zero bytes than this and than a quarter of the data


def check_webp(data: bytes) -> None:
    """Refuse a WebP with zeros at its end after a crash or a broken download; decoders accept it.

    Raises:
        ValueError: the data of the pixels end in zeros.
    """
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] in (b"VP8 ", b"VP8L"):
            pixels = data[at + 8 : at + 8 + length]
            zeros = len(pixels) - len(pixels.rstrip(b"\0"))
            if zeros > max(ZEROS, length / 4):
                raise ValueError(f"its last {zeros:,} bytes are zeros")
        at += 8 + length + length % 2
