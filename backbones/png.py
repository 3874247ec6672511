"""Check the checksums of a PNG's chunks, because Pillow ignores those of pixels and insists on those of texts.

Pillow accepts a PNG whose uncompressed pixels were overwritten by zeros, and refuses a PNG whose text is broken.
"""

from __future__ import annotations

import zlib

SIGNATURE_BYTES = 8
MAX_CHUNKS = 100_000  # enough for a photo of 800 MB, because most encoders write 8 KB a chunk


def without_broken_chunks(data: bytes) -> bytes:
    """Remove the chunks with a wrong checksum that pixels do not depend on, and return the PNG.

    Raises:
        ValueError: the checksum of another chunk is wrong, the end chunk is absent, or there are too many chunks.
    """
    at, kept, is_whole = SIGNATURE_BYTES, [data[:SIGNATURE_BYTES]], True
    while at + 12 <= len(data):
        if len(kept) > MAX_CHUNKS:
            raise ValueError(f"it has more than {MAX_CHUNKS:,} chunks")
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        if end <= len(data) and zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big"):
            kept.append(data[at:end])
            if name == b"IEND":
                return data if is_whole else b"".join(kept)
        elif not name[:1].islower() or name == b"tRNS":  # pixels do not depend on lower-case chunks, except tRNS
            raise ValueError(f"the checksum of its chunk {name.decode('ascii', 'replace')!r} is wrong")
        else:
            is_whole = False
        at = end
    raise ValueError("it has no end chunk")
