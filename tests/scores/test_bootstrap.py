"""The interval of a difference in AUSUC, against plain loops and against what is known of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from zsl.scores.bootstrap import ausuc_difference
from zsl.scores.details import Details
from zsl.scores.summary import curve_of


def answers(seed: int, strength: float, classes: int = 6, photos: int = 30) -> Details:
    """A drawn model of `classes` seen and as many unseen classes; more `strength`, higher true scores."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.arange(2 * classes)
    parts: dict[str, Any] = {}
    for part, labels in (("seen", ids[:classes].repeat(photos)), ("unseen", ids[classes:].repeat(photos))):
        scores = torch.randn(len(labels), len(ids), generator=draw) + strength * (labels[:, None] == ids)
        parts |= {
            f"{part}_rows": torch.arange(len(labels)), f"{part}_labels": labels, f"{part}_scores": scores,
            f"{part}_predicted": scores.argmax(1),
        }  # fmt: skip
    return Details(zsl_classes=ids[classes:], gzsl_classes=ids, unseen_zsl_predicted=parts["unseen_labels"], **parts)


def test_a_real_gain_is_sure_and_none_is_not() -> None:
    weak, strong = ([answers(seed, strength) for seed in (0, 1)] for strength in (1.0, 2.0))
    gain = ausuc_difference(weak, strong, resamples=300)
    expected = np.mean([curve_of(b).ausuc - curve_of(a).ausuc for a, b in zip(weak, strong, strict=True)])
    assert gain.difference == pytest.approx(expected, abs=1e-12)
    assert gain.is_sure
    assert 0 < gain.low < gain.difference < gain.high
    loss = ausuc_difference(strong, weak, resamples=300)
    assert loss.is_sure
    assert loss.high < 0
    nothing = ausuc_difference(weak, [answers(seed, 1.0) for seed in (2, 3)], resamples=300)
    assert not nothing.is_sure
    same = ausuc_difference(weak, weak, resamples=50)
    assert (same.low, same.difference, same.high) == (0, 0, 0)  # paired: equal models get equal draws


def test_models_of_other_rows_are_no_pair() -> None:
    one = answers(0, 1.0)
    with pytest.raises(ValueError, match="different rows"):
        ausuc_difference([one], [replace(one, seen_rows=one.seen_rows + 1)])
