"""Check a PNG before Pillow reads it: the checksums of its chunks, and the number of its rows.

Pillow ignores the checksums of pixels, and insists on sound texts and colour profiles, which the program does not use.
Pillow accepts a PNG whose uncompressed pixels were overwritten by zeros, and one whose data end after some rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE_BYTES = 8
TEXTS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}  # chunks of text, and the colour profile
PROFILE = b"Raw profile type "  # how a text begins in which ImageMagick wrote EXIF
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples a pixel by colour type
# First column, first row, and steps of both of each pass over an interlaced PNG.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
BLOCK = 2**20  # bytes that are inflated at a time
MAX_CHUNKS = 100_000  # enough for a photo of 800 MB, because most encoders write 8 KB a chunk


@dataclass(frozen=True)
class _Chunk:
    """A chunk of a PNG."""

    name: bytes  # four letters
    whole: bytes  # the chunk with its length, name and checksum
    is_sound: bool  # whether its checksum is right

    @property
    def data(self) -> bytes:
        return self.whole[8:-4]


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield all chunks that begin within `data`."""
    at = SIGNATURE_BYTES
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        checksum = int.from_bytes(data[end - 4 : end], "big")
        is_sound = end <= len(data) and zlib.crc32(data[at + 4 : end - 4]) == checksum
        yield _Chunk(data[at + 4 : at + 8], data[at:end], is_sound)
        at = end


def without_broken_chunks(data: bytes) -> bytes:
    """Remove texts, profiles, and chunks with a wrong checksum that pixels do not depend on, and return the PNG.

    Raises:
        ValueError: the checksum of another chunk is wrong, the end chunk is absent, or there are too many chunks.
    """
    kept = [data[:SIGNATURE_BYTES]]
    for number, chunk in enumerate(_chunks(data)):
        if number > MAX_CHUNKS:
            raise ValueError(f"it has more than {MAX_CHUNKS:,} chunks")
        if chunk.is_sound:
            if chunk.name not in TEXTS or chunk.data.startswith(PROFILE):
                kept.append(chunk.whole)
            if chunk.name == b"IEND":
                return b"".join(kept)
        elif not chunk.name[:1].islower() or chunk.name == b"tRNS":  # pixels depend on tRNS, not on other lower case
            raise ValueError(f"the checksum of its chunk {chunk.name.decode('ascii', 'replace')!r} is wrong")
    raise ValueError("it has no end chunk")


def check_rows(data: bytes) -> None:
    """Check that the compressed data of a PNG hold all of its rows.  Memory does not grow with the data.

    Raises:
        ValueError: they are fewer.
    """
    expected, inflated = 0, 0
    inflater = zlib.decompressobj()
    for chunk in _chunks(data):
        if chunk.name == b"IHDR":
            expected = _bytes_of_rows(chunk.data)
        elif chunk.name == b"IDAT":
            block = inflater.decompress(chunk.data, BLOCK)
            while block and inflated < expected:
                inflated += len(block)
                block = inflater.decompress(inflater.unconsumed_tail, BLOCK)
    if inflated < expected:
        raise ValueError(f"its data hold {inflated:,} of {expected:,} bytes of its rows")


def _bytes_of_rows(header: bytes) -> int:
    """Bytes of all rows before compression; each row has one byte more than its pixels take."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * SAMPLES.get(header[9], 1)
    sizes = [(width, height)]
    if header[12]:
        sizes = [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in PASSES]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)
