"""The split of a feature table: what it refuses before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy import toy_table

from zsl.features.split import split_features


@pytest.mark.parametrize("part", ["trainval_loc", "test_seen_loc", "test_unseen_loc"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_feature_that_is_no_number_is_named_by_its_row_in_all_parts(part: str, value: float) -> None:
    table, splits = toy_table()
    row = int(getattr(splits, part)[7])
    features = table.features.copy()
    features[table.positions(np.array([row])), 2] = value
    with pytest.raises(ValueError, match=rf"NaN or infinity in 1 rows, the first is row {row}; extract"):
        split_features(replace(table, features=features), splits)
