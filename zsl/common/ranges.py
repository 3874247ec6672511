"""Ranges of the numbers in a configuration; their home is `backbones.ranges`, for backbones imports nothing of zsl."""

from backbones.ranges import (
    Count,
    Decay,
    Finite,
    Gigabytes,
    Interval,
    NotNegative,
    Part,
    Portion,
    Positive,
    Power,
    Scale,
    Share,
    Whole,
    check_flags,
    check_ranges,
    intervals_of,
)

__all__ = [
    "Count",
    "Decay",
    "Finite",
    "Gigabytes",
    "Interval",
    "NotNegative",
    "Part",
    "Portion",
    "Positive",
    "Power",
    "Scale",
    "Share",
    "Whole",
    "check_flags",
    "check_ranges",
    "intervals_of",
]
