"""All pairs of 64-bit hashes that differ in few bits: none is missed, and few others are compared.

Comparing each hash with each takes N² / 2 steps: 10¹⁴ for the 14 million photos of ImageNet-21k.  Here hashes are
sorted by some of their bits, once for each mask of a list, and only those that agree in all bits of a mask are
compared.  The masks cover: two hashes that differ in at most `radius` bits agree in one of them (Pagh 2018,
CoveringLSH: Locality-sensitive hashing without false negatives, section 3).  So the result is that of comparing all.

The list for a radius r has 2^(r + 1) - 1 masks of about half of the bits.  The bits may first be dealt into parts, the
radii of which add up to r + 1 less the number of parts: then two hashes are close in one part at least.  More parts
need fewer masks, of fewer bits, in which more hashes agree by chance.  `choose_masks` takes the number of parts that
costs least at N hashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

BITS = 64
MOST_PARTS = 3
TRIES = 30  # random lists of masks, of which the best one is taken
CHUNK = 2**17  # pairs in an array; more only where one photo has so many that are close
SORTED, COMPARED = 100.0, 20.0  # nanoseconds to sort one hash by one mask, and to compare two hashes

PairArrays = tuple[np.ndarray, np.ndarray]  # positions [n] of the first and of the second of two


def close_pairs(hashes: np.ndarray, radius: int) -> Iterator[PairArrays]:
    """Yield the positions of all pairs of `hashes` [N] uint64 that differ in at most `radius` bits.

    The first position of a pair is the lower one.  A pair occurs once for each mask in which it agrees, so the very
    close ones occur often.  The arrays are of some 100,000 pairs, so that memory does not grow with their number.
    """
    values, group = np.unique(hashes, return_inverse=True)
    members = np.argsort(group, kind="stable")  # the positions of each value side by side
    ends = np.cumsum(np.bincount(group, minlength=len(values)))
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    place = np.arange(len(members))
    # Equal hashes: each member with those that follow it in its group.
    yield from _members(members, members, place + 1, ends[group[members]] - place - 1)
    size = ends - starts
    for one, other in _close_values(values, radius):
        left, of_pair = _spread(starts[one], size[one])
        for first, second in _members(members, members[left], starts[other][of_pair], size[other][of_pair]):
            yield np.minimum(first, second), np.maximum(first, second)


def _spread(starts: np.ndarray, counts: np.ndarray) -> PairArrays:
    """All numbers from each of `starts` [n] on, `counts` [n] of them, and the position in `starts` of each."""
    of = np.repeat(np.arange(len(starts)), counts)
    within = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    return starts[of] + within, of


def _members(members: np.ndarray, left: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> Iterator[PairArrays]:
    """Yield each of `left` [n] with `members[start]`, `members[start + 1]`, …, `counts` [n] of them."""
    ends = np.cumsum(counts)
    cuts = np.searchsorted(ends, np.arange(CHUNK, ends[-1] if len(ends) else 0, CHUNK), side="right")
    for some in np.split(np.arange(len(left)), cuts):
        right, of = _spread(starts[some], counts[some])
        if len(right):
            yield left[some][of], members[right]


def _close_values(values: np.ndarray, radius: int) -> Iterator[PairArrays]:
    """Yield the positions of pairs of different `values` [n] within `radius` bits, once for each mask they agree in."""
    for mask in choose_masks(len(values), radius):
        keys = values & mask
        order = np.argsort(keys)
        keys, ordered = keys[order], values[order]
        for at, distance in _equal_neighbours(keys):
            near = at[np.bitwise_count(ordered[at] ^ ordered[at + distance]) <= radius]
            if len(near):
                yield order[near], order[near + distance]


def _equal_neighbours(keys: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yield places [n] in the sorted `keys` [N] whose key equals the one `distance` further on, for each distance."""
    distance, alive = 1, np.arange(len(keys))
    while True:
        alive = alive[: np.searchsorted(alive, len(keys) - distance)]
        alive = alive[keys[alive] == keys[alive + distance]]
        if not len(alive):
            return
        for start in range(0, len(alive), CHUNK):
            yield alive[start : start + CHUNK], distance
        distance += 1


def choose_masks(count: int, radius: int) -> np.ndarray:
    """The masks [m] uint64 of the number of parts that costs least time for `count` hashes."""

    def cost(masks: np.ndarray) -> float:
        by_chance = np.exp2(-np.bitwise_count(masks).astype(float)).sum()
        return SORTED * count * len(masks) + COMPARED * count**2 / 2 * float(by_chance)

    # One part has most masks by far; they are not even made where that many sorts cost more than comparing all.
    fewest = 1 if SORTED * 2 ** (radius + 1) < COMPARED * count / 2**8 else 2
    parts = range(min(fewest, radius + 1), min(MOST_PARTS, radius + 1) + 1)
    return min((covering_masks(radius, number) for number in parts), key=cost)


@cache
def covering_masks(radius: int, parts: int = 1) -> np.ndarray:
    """Masks [m] uint64, one of which at least holds none of any `radius` bits.

    parts: into how many the bits are dealt in turn; at most radius + 1.
    """
    radii = [(radius + 1) // parts + (number < (radius + 1) % parts) - 1 for number in range(parts)]
    return np.concatenate(
        [_covering(tuple(range(number, BITS, parts)), radii[number]) for number in range(parts)]
    )  # fmt: skip


def _covering(bits: tuple[int, ...], radius: int) -> np.ndarray:
    """Masks [2^(radius + 1) - 1] of some of these `bits`, one of which at least holds none of any `radius` of them.

    Each bit gets a random vector of radius + 1 binary digits.  A mask belongs to a vector v other than 0, and holds the
    bits whose vector has an odd number of ones in common with v.  For any `radius` vectors there is a v that has an
    even number in common with each of them, for it has one digit more.
    """
    rng = np.random.default_rng(0)
    rows = np.arange(1, 2 ** (radius + 1), dtype=np.uint64)[:, None]
    places = np.left_shift(np.uint64(1), np.array(bits, dtype=np.uint64))
    best, least = None, np.inf
    for _ in range(TRIES):
        vectors = rng.integers(1, 2 ** (radius + 1), size=len(bits), dtype=np.uint64)
        held = np.bitwise_count(rows & vectors) % 2 == 1  # [masks, bits]
        by_chance = float(np.exp2(-held.sum(1, dtype=float)).sum())
        if by_chance < least:
            best, least = np.where(held, places, np.uint64(0)).sum(1, dtype=np.uint64), by_chance
    assert best is not None
    return best
