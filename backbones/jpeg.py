"""Read the structure of a JPEG file from its markers (ITU-T T.81, annex B), without decoding a pixel.

Decoders find the same markers, because they skip other bytes in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

# This leaves out stuffed bytes (FF 00), restart markers (FF D0 to FF D7) and fill bytes (FF FF).
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the other three are tables
END, SCAN, EXIF_SEGMENT = 0xD9, 0xDA, 0xE1
WITHOUT_LENGTH = {0x01, 0xD8, END}  # markers without a segment
PROGRESSIVE = {0xC2, 0xCA}  # frames whose scans hold some coefficients each, or some bits of them
SCAN_HEADER_BYTES = 4 + 2 * 255  # at most, after the length field
COEFFICIENTS = 64  # of each component in a block
EXIF = b"Exif\0\0"
MAX_SEGMENTS = 10_000  # a photo has tens; each segment costs time, and four bytes are enough to make one


@dataclass(frozen=True, kw_only=True)
class JpegStructure:
    """The facts that the markers of a JPEG state."""

    width: int
    height: int
    components: int  # 1 grey, 3 colours, 4 CMYK
    samples: float  # samples a pixel, all components together: 3 for 4:4:4, 1.5 for 4:2:0
    scans: int  # number of passes over the pixels
    exif: bytes  # EXIF from its byte order on; b"" without EXIF
    is_whole: bool  # whether there is an end marker
    segments: int  # number of segments; reading stops after MAX_SEGMENTS + 1
    component_ids: tuple[int, ...]
    scan_headers: tuple[bytes, ...]
    is_progressive: bool

    @property
    def is_complete(self) -> bool:
        """Whether the scans together hold all bits of all coefficients; check the number of scans first."""
        return _is_complete(self.component_ids, self.scan_headers, is_progressive=self.is_progressive)


def read_structure(data: bytes) -> JpegStructure:
    """Read the structure of the JPEG in `data`.

    Raises:
        ValueError: the JPEG has no frame header.
    """
    frame, exif, segments, is_whole, is_progressive = b"", b"", 0, False, False
    scans: list[bytes] = []
    for marker, segment in islice(_segments(data), MAX_SEGMENTS + 1):
        segments += 1
        if marker == END:
            is_whole = True
        elif marker == SCAN:
            scans.append(segment[:SCAN_HEADER_BYTES])
        elif marker in FRAMES and not frame:
            frame, is_progressive = segment, marker in PROGRESSIVE
        elif marker == EXIF_SEGMENT and not exif and segment.startswith(EXIF):
            exif = segment.removeprefix(EXIF)
    components = frame[5] if len(frame) > 5 else 0
    if not components or len(frame) < 6 + 3 * components:
        raise ValueError("it has no frame header")
    return JpegStructure(
        width=int.from_bytes(frame[3:5], "big"),
        height=int.from_bytes(frame[1:3], "big"),
        components=components,
        samples=_samples([frame[7 + 3 * component] for component in range(components)]),
        scans=len(scans),
        exif=exif,
        is_whole=is_whole,
        segments=segments,
        component_ids=tuple(frame[6 + 3 * component] for component in range(components)),
        scan_headers=tuple(scans),
        is_progressive=is_progressive,
    )


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each marker up to the first end marker, and the bytes of its segment after its length field."""
    at, marker = 2, 0
    while marker != END and (match := MARKER.search(data, at)):
        marker, at = data[match.start() + 1], match.end()
        length = 0 if marker in WITHOUT_LENGTH else int.from_bytes(data[at : at + 2], "big")
        yield marker, data[at + 2 : at + length]
        at += length


def _is_complete(components: Sequence[int], scans: Sequence[bytes], *, is_progressive: bool) -> bool:
    """Whether the scans hold all coefficients of the components, to the last bit."""
    bits_left = {component: [1] * COEFFICIENTS for component in components}  # bits of each coefficient still to come
    for scan in scans:
        count = scan[0] if scan else 0
        *_, first, last, bits = (0, COEFFICIENTS - 1, 0, *scan[1 + 2 * count : 4 + 2 * count])
        if not is_progressive:
            first, last, bits = 0, COEFFICIENTS - 1, 0
        for component in set(scan[1 : 1 + 2 * count : 2]) & set(components):
            for coefficient in range(first, min(last + 1, COEFFICIENTS)):
                bits_left[component][coefficient] = bits & 15
    return not any(any(bits) for bits in bits_left.values())


def _samples(factors: list[int]) -> float:
    """Samples a pixel, from the sampling factors of each component (the horizontal one is the upper four bits)."""
    sides = [(factor >> 4, factor & 15) for factor in factors]
    most = max(1, max(h for h, _ in sides)) * max(1, max(v for _, v in sides))
    return sum(h * v for h, v in sides) / most
