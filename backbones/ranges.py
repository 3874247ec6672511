"""Ranges of the numbers in a configuration; the type of a field states its range.

    @dataclass(frozen=True)
    class SomeConfig:
        lr: Positive = 1e-4
        steps: Whole = 450

        def __post_init__(self) -> None:
            check_ranges(self)

This module imports only Python's own modules.  It is here because `backbones` imports nothing of zsl; modules of zsl
import it as `zsl.common.ranges`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints


@dataclass(frozen=True)
class Interval:
    """The finite numbers between two ends, in mathematical notation: `[0, 1)` holds 0 but not 1."""

    text: str

    @property
    def ends(self) -> tuple[float, float]:
        """The lower and the upper end."""
        low, high = self.text[1:-1].split(",")
        return float(low), float(high)

    def __contains__(self, value: float) -> bool:
        low, high = self.ends
        above = value >= low if self.text[0] == "[" else value > low
        below = value <= high if self.text[-1] == "]" else value < high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        low, high = self.ends
        if math.isinf(low):
            return "finite"
        first = f"at least {low:.10g}" if self.text[0] == "[" else f"above {low:.10g}"
        if math.isinf(high):
            return f"{first} and finite"
        return f"{first} and {'at most' if self.text[-1] == ']' else 'below'} {high:.10g}"


Count = Annotated[int, Interval("[1, 1000000000]")]  # products of two counts are below 2**63
Whole = Annotated[int, Interval("[0, 4294967295]")]  # seeds, too
Finite = Annotated[float, Interval("(-inf, inf)")]
Positive = Annotated[float, Interval("(0, inf)")]
Power = Annotated[float, Interval("[0.01, 100]")]  # an exponent: beyond, all powers of unequal numbers are 0 or 1
Scale = Annotated[float, Interval("[0.000001, 1000000]")]  # a norm or a deviation that fp32 can square
Gigabytes = Annotated[float, Interval("[0, 1000000]")]
NotNegative = Annotated[float, Interval("[0, inf)")]
Share = Annotated[float, Interval("[0, 1]")]
Portion = Annotated[float, Interval("(0, 1]")]  # a share above 0
Part = Annotated[float, Interval("(0, 1)")]  # a share above 0 and below 1
Decay = Annotated[float, Interval("[0, 1)")]  # the decay of a moving average, such as Adam's betas


def check_ranges(config: Any) -> None:
    """Refuse a configuration with a number outside the range of its field; in tuples, each number counts.

    Raises:
        ValueError: a number is outside its range; the message names the configuration and the field.
    """
    for name, value, interval in _outside(config):
        raise ValueError(f"{type(config).__name__}: {name} is {value}; it is {interval}")


def check_flags(args: Any) -> None:
    """Refuse command-line arguments with a number outside the range of its field.

    Raises:
        ValueError: a number is outside its range; the message names the flag.
    """
    for name, value, interval in _outside(args):
        numbers = " ".join(map(str, value)) if isinstance(value, tuple) else value
        raise ValueError(f"--{name.replace('_', '-')} is {numbers}; it is {interval}")


def _outside(config: Any) -> Iterator[tuple[str, Any, Interval]]:
    """Yield name, value and interval of each field with a number outside its range."""
    for name, interval in intervals_of(type(config)).items():
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, int | float) and number not in interval for number in numbers):
            yield name, value, interval


def intervals_of(config_type: type) -> dict[str, Interval]:
    """The interval of each field that has one."""
    hints = get_type_hints(config_type, include_extras=True)
    intervals = {name: _find_interval(hint) for name, hint in hints.items()}
    return {name: interval for name, interval in intervals.items() if interval is not None}


def _find_interval(hint: Any) -> Interval | None:
    """Find the interval in a type, such as the interval of `Share` in `tuple[Share, Share] | None`."""
    if isinstance(hint, Interval):
        return hint
    return next((interval for part in get_args(hint) if (interval := _find_interval(part)) is not None), None)
