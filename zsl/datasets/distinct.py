"""Whether attributes tell classes apart: no method can name a class whose attributes are those of another one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST, MOST = 1e-30, 1e30  # size of a class's largest attribute; fp32 holds about 1e-38 to 3e38
SAME = 1e-6  # distance of two unit vectors that float32 cannot tell apart


def check_distinct(attributes: np.ndarray, names: Sequence[str], where: str, *, by_direction: bool = True) -> None:
    """Refuse classes that their attributes [C, A] do not tell apart.

    by_direction: attributes are divided by their L2 norm later, which makes proportional rows equal.  where: the file,
    for the message.

    Raises:
        ValueError: a class has no attribute but 0, or attributes that fp32 cannot hold; there is one attribute only; or
            two classes have the same ones, which the message names.
    """
    strengths = np.asarray(attributes, dtype=np.float64)
    largest = np.abs(strengths).max(axis=1, initial=0)
    if len(empty := np.flatnonzero(largest == 0)):
        raise ValueError(
            f"{where}: class {names[empty[0]]!r} has no attribute but 0; nothing tells what it looks like, give it "
            "strengths or leave the class out"
        )
    if len(odd := np.flatnonzero((largest < LEAST) | (largest > MOST))):
        raise ValueError(
            f"{where}: the largest attribute of class {names[odd[0]]!r} is {largest[odd[0]]:g}; it should be between "
            f"{LEAST:g} and {MOST:g}, because fp32 holds no more: scale the attributes"
        )
    if by_direction:
        if strengths.shape[1] == 1 and len(strengths) > 1:
            raise ValueError(
                f"{where}: there is 1 attribute; divided by its L2 norm it is 1 or -1 for every class and tells "
                f"{names[0]!r} and {names[1]!r} not apart, give 2 or more"
            )
        strengths = strengths / largest[:, None]  # first, because squares may overflow
        strengths = strengths / np.linalg.norm(strengths, axis=1, keepdims=True)
    pairs = _same_rows(strengths)
    if pairs:
        first, second = pairs[0]
        raise ValueError(
            f"{where}: classes {names[first]!r} and {names[second]!r} have "
            f"{'equal or proportional' if by_direction else 'equal'} attributes ({len(pairs):,} such pairs), so that "
            "no method can tell them apart; give them attributes that differ, or make them one class"
        )


def _same_rows(rows: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of `rows` [C, A] that are the same but for rounding: each row with the first one that is like it.

    Rows that are the same lie side by side on any line.  So only rows with nearby places on one line are compared, a
    few of thousands of classes; `SAME` is doubled there for rounding.
    """
    scaled = rows / np.abs(rows).max(initial=1)
    line = np.random.default_rng(0).normal(size=rows.shape[1])
    places = scaled @ (line / np.linalg.norm(line))
    order = np.argsort(places, kind="stable")
    ends = np.searchsorted(places[order], places[order] + 2 * SAME, side="right")
    first: dict[int, int] = {}
    for at in np.flatnonzero(ends > np.arange(len(rows)) + 1).tolist():
        near = order[at + 1 : ends[at]]
        for other in near[np.linalg.norm(scaled[near] - scaled[order[at]], axis=1) <= SAME].tolist():
            low, high = sorted((int(order[at]), other))
            first[high] = min(first.get(high, low), low)
    return [(first[second], second) for second in sorted(first)]
