"""What is looked up for thousands of classes at once is what a loop over them finds."""

from __future__ import annotations

import numpy as np
import pytest

from zsl.datasets.distinct import SAME, check_distinct
from zsl.datasets.held_out import hold_out


@pytest.mark.parametrize("seed", range(4))
def test_equal_classes_are_those_of_comparing_each_with_each(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.random((40, 5))
    rows[20:30] = rows[rng.integers(0, 20, 10)] + rng.choice([0, SAME / 100, SAME * 100], (10, 1))
    close = [
        (i, j) for j in range(40) for i in range(j) if np.linalg.norm((rows[i] - rows[j]) / max(rows.max(), 1)) <= SAME
    ]
    firsts = {j: i for i, j in reversed(close)}  # each with the first one that is like it
    assert firsts
    second = min(firsts)
    message = rf"classes '{firsts[second]}' and '{second}' have equal attributes \({len(firsts)} such pairs\)"
    with pytest.raises(ValueError, match=message):
        check_distinct(rows, [str(number) for number in range(40)], "a file", by_direction=False)


def test_held_out_rows_are_drawn_class_by_class_in_order_of_the_ids() -> None:
    labels = np.random.default_rng(0).integers(0, 9, 200) ** 2
    ours, theirs = np.random.default_rng(1), np.random.default_rng(1)
    expected = [
        theirs.permutation(rows)[: min(max(1, round(0.3 * len(rows))), len(rows) - 1)]
        for rows in (np.flatnonzero(labels == label) for label in np.unique(labels))
    ]
    assert np.array_equal(hold_out(labels, 0.3, lambda label: ours), np.sort(np.concatenate(expected)))
    assert not len(hold_out(labels[:0], 0.3, lambda label: ours))
