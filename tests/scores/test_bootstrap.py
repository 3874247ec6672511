"""The interval of a difference in AUSUC, against plain loops and against what is known of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from zsl.scores.bootstrap import Resamples, ausuc_difference
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


def area(details: Details, of_seen: np.ndarray, of_unseen: np.ndarray) -> float:
    """S over U in loops: at each γ between two margins the sum of the weights of the images that are right."""
    is_seen = [c not in details.zsl_classes for c in details.gzsl_classes]

    def parts(row: list[float]) -> tuple[list[float], list[float]]:
        return [s for s, seen in zip(row, is_seen, strict=True) if seen], [
            s for s, seen in zip(row, is_seen, strict=True) if not seen
        ]

    images = []  # part, margin, weight if it is right among the classes of its part
    for part, weights in (("seen", of_seen), ("unseen", of_unseen)):
        labels, classes = getattr(details, f"{part}_labels").tolist(), details.gzsl_classes.tolist()
        for row, label, weight in zip(getattr(details, f"{part}_scores").tolist(), labels, weights, strict=True):
            seen, unseen = parts(row)
            own = seen if part == "seen" else unseen
            right = row[classes.index(label)] == max(own) > -math.inf
            margin = max(seen) - max(unseen) if max(max(seen), max(unseen)) > -math.inf else 0.0
            images.append((part, margin, weight if right else 0.0))
    edges = sorted({margin for _, margin, _ in images if math.isfinite(margin)})
    gammas = [edges[0] - 1, *((a + b) / 2 for a, b in itertools.pairwise(edges)), edges[-1] + 1]
    points = [
        (
            sum(w for part, margin, w in images if part == "unseen" and margin < gamma),
            sum(w for part, margin, w in images if part == "seen" and margin >= gamma),
        )
        for gamma in gammas
    ]
    return sum((u2 - u1) * (s1 + s2) / 2 for (u1, s1), (u2, s2) in itertools.pairwise(points))


@pytest.mark.parametrize("impossible", [(), (1, 7), (6, 7, 8, 9, 10, 11), (0, 1, 2, 3, 4, 5)])
def test_a_resample_s_ausuc_is_the_area_of_its_weights_in_loops(impossible: tuple[int, ...]) -> None:
    """impossible: classes whose scores are -inf, as those of unseen classes are in `supervised`."""
    details = answers(3, 1.0, photos=6)
    for part in ("seen", "unseen"):
        scores = (4 * getattr(details, f"{part}_scores")).round() / 4 + torch.arange(
            12
        ) / 1024  # some margins are equal
        scores[::2, list(impossible)] = -torch.inf
        details = replace(details, **{f"{part}_scores": scores})
    drawn = Resamples.draw(details, 4, np.random.default_rng(0), ("images", "classes"))
    for number, found in enumerate(drawn.ausuc(details)):
        assert found == pytest.approx(area(details, drawn.seen[number], drawn.unseen[number]), abs=1e-9)
    assert drawn.ausuc(details).std() > 0


def test_models_of_other_rows_are_no_pair() -> None:
    one = answers(0, 1.0)
    with pytest.raises(ValueError, match="different rows"):
        ausuc_difference([one], [replace(one, seen_rows=one.seen_rows + 1)])
