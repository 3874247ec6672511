"""Holding a share out: by its definition, and with the random numbers that folds and fine-tuning drew before."""

from __future__ import annotations

import numpy as np
import pytest

from zsl.datasets.held_out import hold_out


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("images", [1, 2, 3, 10, 37])
def test_each_class_loses_its_share_and_keeps_one_image(share: float, images: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([3, 5, 8], images))
    held = hold_out(labels, share, lambda label: np.random.default_rng(label))
    assert held.tolist() == sorted(set(held.tolist()))
    expected = min(max(1, round(share * images)), images - 1)
    assert [int((labels[held] == label).sum()) for label in (3, 5, 8)] == [expected] * 3


def test_a_generator_of_its_own_makes_a_class_independent_of_the_others() -> None:
    labels = np.repeat([0, 1, 2], 20)

    def of_class_2(some: np.ndarray) -> list[int]:
        return [
            int(position)
            for position in hold_out(some, 0.2, lambda k: np.random.default_rng((9, k)))
            if some[position] == 2
        ]

    alone = np.where(labels == 2, 2, 7)
    assert (
        of_class_2(labels)
        == of_class_2(alone)
        == sorted((40 + np.random.default_rng((9, 2)).permutation(20)[:4]).tolist())
    )


def test_a_common_generator_is_used_from_class_to_class() -> None:
    rng, again = np.random.default_rng(4), np.random.default_rng(4)
    held = hold_out(np.repeat([1, 6], 10), 0.3, lambda label: rng)
    expected = [*again.permutation(np.arange(10))[:3].tolist(), *again.permutation(np.arange(10, 20))[:3].tolist()]
    assert held.tolist() == sorted(expected)


def test_nothing_of_nothing() -> None:
    assert hold_out(np.zeros(0, dtype=np.int64), 0.2, lambda label: np.random.default_rng(0)).tolist() == []
