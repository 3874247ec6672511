"""The limits of one photo: the memory and the passes over pixels that decoding takes, computed before it begins."""

from __future__ import annotations

from dataclasses import dataclass

MEMORY_MEGABYTES = 400.0
MAX_SCANS = 32  # photos have up to 14, also after an optimiser


@dataclass(frozen=True, kw_only=True)
class PhotoLimits:
    """The limits for decoding one photo, the same in extraction, fine-tuning and prediction."""

    memory_megabytes: float = MEMORY_MEGABYTES  # peak of all buffers together, in units of 1,000,000 bytes
    scans: int = MAX_SCANS  # scans of a JPEG; each is a pass over all pixels, and costs its sender a hundred bytes

    def check(self, width: int, height: int, kind: str, need: float, scans: int = 1) -> None:
        """Refuse a photo above the limits.

        need: bytes of memory that decoding takes.

        Raises:
            ValueError: the photo takes more memory, or has more scans.
        """
        if need > self.memory_megabytes * 1e6:
            raise ValueError(
                f"{width:,} x {height:,} pixels are {width * height / 1e6:,.1f} megapixels, which take "
                f"{need / 1e6:,.0f} MB while this {kind} is decoded; the limit is {self.memory_megabytes:g} MB, "
                "save the photo smaller"
            )
        if scans > self.scans:
            raise ValueError(
                f"this JPEG has {scans:,} scans, the limit is {self.scans}: each is a pass over all pixels; save it "
                "anew"
            )


# Peak bytes a pixel by format, measured and checked by a test: Pillow's buffers, and the 3 bytes of the result.
PILLOW_BYTES = {"PNG": 7.5, "BMP": 7.5, "GIF": 7.5, "WEBP": 20.0, "TIFF": 16.0}
LIBJPEG_BYTES, PILLOW_JPEG_BYTES = 3.0, 7.5
TURNED_BYTES = 6.0  # bytes a pixel of a stored photo and its upright copy
OVERHEAD_BYTES = 8e6  # bytes of a decoder's tables and of the strip in conversion


def photo_memory(width: int, height: int, kind: str, file_bytes: int) -> float:
    """Bytes that Pillow, which may copy the file, and the conversion to RGB take for a photo of format `kind`."""
    return width * height * PILLOW_BYTES[kind] + file_bytes + OVERHEAD_BYTES


def jpeg_memory(
    width: int, height: int, samples: float, scans: int, file_bytes: int, *, by_pillow: bool = False
) -> float:
    """Bytes that decoding a JPEG takes.  With several scans, memory also holds all coefficients, of 2 bytes each."""
    coefficients = 2 * samples if scans > 1 else 0.0
    decoding = (PILLOW_JPEG_BYTES if by_pillow else LIBJPEG_BYTES) + coefficients
    return width * height * max(decoding, TURNED_BYTES) + file_bytes + OVERHEAD_BYTES
