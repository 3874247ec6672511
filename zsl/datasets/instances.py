"""What a benchmark's reader gives: one instance an official row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instance:
    """One row of a benchmark: a photo, or a box in it, and its class."""

    row: int  # 0-based position in res101.mat's order
    label: int  # class id in [0, C)
    class_name: str
    file: str  # relative to the benchmark's raw folder, with forward slashes
    box: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1 in pixels; None: the whole photo
