"""The search for look-alikes finds what comparing each with each finds, and compares few."""

from __future__ import annotations

import numpy as np
import pytest

from zsl.audit import hamming
from zsl.audit.hamming import choose_masks, close_pairs, covering_masks
from zsl.audit.near import MAX_DISTANCE, MIN_CORRELATION, PIXELS, find_pairs
from zsl.audit.photos import Photo


def near_hashes(count: int, rng: np.random.Generator, flips: int = 9) -> np.ndarray:
    """Hashes of which many differ from another one in few bits, and some in none."""
    base = rng.integers(0, 2**64, size=count // 4, dtype=np.uint64)[rng.integers(0, count // 4, count)]
    bits = np.left_shift(np.uint64(1), rng.integers(0, 64, size=(count, flips), dtype=np.uint64))
    return base ^ np.bitwise_xor.reduce(np.where(rng.random((count, flips)) < 0.6, bits, np.uint64(0)), axis=1)


def pairs_within(hashes: np.ndarray, radius: int) -> set[tuple[int, int]]:
    """By comparing each with each, bit by bit."""
    texts = np.array([list(f"{value:064b}") for value in hashes.tolist()])
    return {
        (i, j)
        for i in range(len(hashes))
        for j in (i + 1 + np.flatnonzero((texts[i] != texts[i + 1 :]).sum(axis=1) <= radius)).tolist()
    }


@pytest.mark.parametrize(("radius", "parts"), [(0, 1), (5, 1), (6, 2), (12, 2), (12, 3)])
def test_no_close_pair_is_missed(radius: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = near_hashes(160, np.random.default_rng(radius + parts))
    hashes[:5] = hashes[5]
    monkeypatch.setattr(hamming, "choose_masks", lambda count, radius: covering_masks(radius, parts))
    monkeypatch.setattr(hamming, "CHUNK", 7)
    found = [
        pair for arrays in close_pairs(hashes, radius) for pair in zip(*map(np.ndarray.tolist, arrays), strict=True)
    ]
    expected = pairs_within(hashes, radius)
    assert expected
    assert set(found) == expected


def test_masks_leave_out_any_few_bits() -> None:
    rng = np.random.default_rng(0)
    for parts in (1, 2, 3):
        masks = covering_masks(12, parts)
        for _ in range(50):
            bits = np.bitwise_or.reduce(np.left_shift(np.uint64(1), rng.permutation(64)[:12].astype(np.uint64)))
            assert (masks & bits == 0).any()
        assert (masks != 0).all()


def test_more_hashes_are_compared_with_a_smaller_share_of_them() -> None:
    def share(count: int) -> float:
        return float(np.exp2(-np.bitwise_count(choose_masks(count, MAX_DISTANCE)).astype(float)).sum())

    assert share(200_000) < 0.02
    assert share(14_000_000) < 0.0001


def test_pairs_are_those_of_comparing_each_photo_with_each() -> None:
    rng, count = np.random.default_rng(1), 200
    hashes = near_hashes(count, rng, flips=4)
    looks = rng.integers(0, 256, (count // 8, PIXELS))[rng.integers(0, count // 8, count)]
    looks = np.clip(looks + rng.normal(size=looks.shape) * rng.choice([0, 5, 40], (count, 1)), 0, 255).astype(np.uint8)
    looks[7] = 9  # of one tone
    digests = [rng.bytes(32) for _ in range(count)]
    hashes[5], looks[5], digests[5] = hashes[50], looks[50], digests[50]
    hashes[6], looks[6] = hashes[60], looks[60]
    photos = [
        Photo(
            row=i, label=0, file=str(i), box=None, sha256=digests[i], bits=None if i == 3 else int(hashes[i]),
            thumbnail=None if i == 3 else looks[i].tobytes(),
        )
        for i in range(count)
    ]  # fmt: skip
    with np.errstate(invalid="ignore"):
        correlation = np.corrcoef(looks.astype(float))
    expected = {
        (i, j)
        for i, j in pairs_within(hashes, MAX_DISTANCE)
        if correlation[i, j] >= MIN_CORRELATION and 3 not in (i, j) and digests[i] != digests[j]
    }
    found = find_pairs(photos)
    assert (6, 60) in expected
    assert (5, 50) not in expected
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    assert len(found.first) == len(expected)
    assert found.correlation == pytest.approx(correlation[found.first, found.second])
    assert (np.diff(found.correlation) <= 0).all()
    assert len(find_pairs([]).first) == len(find_pairs(photos[3:4]).first) == 0
