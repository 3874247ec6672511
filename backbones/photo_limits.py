"""What one photo may cost: the memory and the passes that decoding takes, known before it begins."""

from __future__ import annotations

from dataclasses import dataclass

MEMORY_MEGABYTES = 400.0
MAX_SCANS = 32  # photos have up to 14, optimisers' included


@dataclass(frozen=True, kw_only=True)
class PhotoLimits:
    """The most that one photo may take while it is decoded, in extraction, fine-tuning and prediction alike."""

    memory_megabytes: float = MEMORY_MEGABYTES  # all buffers together at their peak, in units of 1,000,000 bytes
    scans: int = MAX_SCANS  # of a JPEG; each is a pass over all pixels, and costs its sender a hundred bytes

    def check(self, width: int, height: int, kind: str, need: float, scans: int = 1) -> None:
        """Refuse a photo above the limits.  need: bytes while it is decoded.

        Raises:
            ValueError: it takes more memory, or has more scans.
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


# Bytes a pixel at the peak, by format: Pillow's buffers, and the 3 that come out.  Measured; a test measures them anew.
PILLOW_BYTES = {"PNG": 7.5, "BMP": 7.5, "GIF": 7.5, "WEBP": 20.0, "TIFF": 16.0}
TORCHVISION_BYTES, PILLOW_JPEG_BYTES = 3.0, 7.5
TURNED_BYTES = 6.0  # the pixels as they are stored, and upright
OVERHEAD_BYTES = 8e6  # a decoder's tables, the strip that is being converted


def photo_memory(width: int, height: int, kind: str, file_bytes: int) -> float:
    """Bytes that Pillow and the conversion to RGB take for a photo of the format `kind`; Pillow may copy the file."""
    return width * height * PILLOW_BYTES[kind] + file_bytes + OVERHEAD_BYTES


def jpeg_memory(
    width: int, height: int, samples: float, scans: int, file_bytes: int, *, by_pillow: bool = False
) -> float:
    """Bytes that decoding a JPEG takes: with several scans all its coefficients, of 2 bytes each, wait for the last."""
    coefficients = 2 * samples if scans > 1 else 0.0
    decoding = (PILLOW_JPEG_BYTES if by_pillow else TORCHVISION_BYTES) + coefficients
    return width * height * max(decoding, TURNED_BYTES) + file_bytes + OVERHEAD_BYTES
