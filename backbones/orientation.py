"""The orientation of the camera in a photo's EXIF, and turning pixels upright by it.

XMP may also state an orientation, but this module ignores it, as browsers do.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

TAG = 0x0112
UPRIGHT = 1
SIZES = {1: 1, 3: 2, 4: 4}  # bytes of a number, by EXIF's code for its type


def read_orientation(exif: bytes) -> int:
    """Read the orientation, 1 to 8, from EXIF, which starts at its byte order; 1 (upright) if absent or broken."""
    orders: dict[bytes, Literal["little", "big"]] = {b"II": "little", b"MM": "big"}
    order = orders.get(exif[:2])
    if order is None:
        return UPRIGHT

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], order)

    start = number(4, 4)
    for entry in range(start + 2, min(start + 2 + 12 * number(start, 2), len(exif) - 11), 12):
        if number(entry, 2) == TAG:
            value = number(entry + 8, SIZES.get(number(entry + 2, 2), 2))
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return an upright view of stored `pixels` [h, w, 3]; with orientation 5 to 8, the view is [w, h, 3]."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def turn_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return a view of upright `pixels` in stored order, which is the inverse of `turn`."""
    return turn(pixels, {6: 8, 8: 6}.get(orientation, orientation))
