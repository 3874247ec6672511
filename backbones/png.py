"""The chunks of a PNG and their checksums, which Pillow does not look at where they matter, and does where they do not.

Pillow takes a PNG whose pixels were overwritten by zeros where they were stored without compression, and refuses one
whose text is broken.
"""

from __future__ import annotations

import zlib

SIGNATURE_BYTES = 8
MAX_CHUNKS = 100_000  # of a photo of 800 MB, where most encoders write 8 KB a chunk


def without_broken_chunks(data: bytes) -> bytes:
    """The PNG without those chunks whose checksum is wrong and that pixels do not depend on.

    Raises:
        ValueError: the checksum of another chunk is wrong, there is no end chunk, or there are too many.
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
        elif not name[:1].islower() or name == b"tRNS":  # lower case: pixels do not depend on it, but for transparency
            raise ValueError(f"the checksum of its chunk {name.decode('ascii', 'replace')!r} is wrong")
        else:
            is_whole = False
        at = end
    raise ValueError("it has no end chunk")
