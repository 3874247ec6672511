"""SSE: its mixtures against SciPy's minimiser, its score and loss against plain loops, its two published forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from zsl.baselines.sse import SimilarityEmbedding, mixtures, sse_loss


@pytest.mark.parametrize("smoothing", [0.001, 0.1])
def test_mixtures_are_the_best_shares_of_seen_classes(smoothing: float) -> None:
    torch.manual_seed(0)
    known, attributes = torch.randn(5, 4), torch.randn(3, 4)
    found = mixtures(attributes, known, smoothing)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(1).numpy(), 1, rtol=1e-6)
    for row, shares in zip(attributes.double().numpy(), found.double().numpy(), strict=True):

        def error(z: np.ndarray, row: np.ndarray = row) -> float:
            return float(((row - z @ known.double().numpy()) ** 2).sum() + smoothing * (z**2).sum())

        best = minimize(
            error, np.full(5, 0.2), bounds=[(0, 1)] * 5, constraints={"type": "eq", "fun": lambda z: z.sum() - 1}
        )
        assert error(shares) <= best.fun + 1e-4
        np.testing.assert_allclose(shares, best.x, atol=2e-2)


def test_a_seen_class_is_itself_and_smoothing_spreads_it() -> None:
    torch.manual_seed(0)
    known = torch.randn(6, 9)
    sharp, smooth = (mixtures(known, known, smoothing) for smoothing in (1e-6, 10.0))
    torch.testing.assert_close(sharp, torch.eye(6), atol=1e-3, rtol=0)
    assert smooth.amax(1).max() < 0.8


def test_scores_are_sums_over_seen_classes() -> None:
    torch.manual_seed(0)
    network = SimilarityEmbedding(torch.rand(3, 4))
    network.weight.data.normal_()
    x, z = torch.rand(2, 4), torch.rand(5, 3)
    scores = network(x, z)
    for n in range(2):
        for c in range(5):
            expected = 0.0
            for share, bound in zip(z[c].tolist(), network.bounds.tolist(), strict=True):
                pairs = zip(x[n].tolist(), bound, network.weight[0].tolist(), strict=True)
                expected += share * sum(w * max(0.0, value - v) for value, v, w in pairs)
            assert scores[n, c].item() == pytest.approx(expected, abs=1e-5)


def test_the_form_with_the_minimum_ranks_classes_alike() -> None:
    torch.manual_seed(0)
    network = SimilarityEmbedding(torch.rand(3, 4))
    network.weight.data.normal_()
    x, z = torch.rand(7, 4), torch.rand(5, 3)
    z = z / z.sum(1, keepdim=True)
    of_minimum = torch.minimum(x[:, None], network.bounds) @ -network.weight[0] @ z.T
    apart = network(x, z) - of_minimum
    torch.testing.assert_close(apart, apart[:, :1].expand(-1, 5))


def test_the_loss_is_its_definition_in_loops() -> None:
    torch.manual_seed(0)
    scores, targets, different = torch.randn(8, 4), torch.tensor([0, 0, 2, 2, 2, 3, 3, 0]), torch.rand(4, 4)

    def hinges(row: list[float], target: int) -> float:
        margins = different[target].tolist()
        return sum(max(0.0, margins[c] + row[c] - row[target]) for c in range(4) if c != target)

    of_images = [hinges(row, y) for row, y in zip(scores.tolist(), targets.tolist(), strict=True)]
    of_classes = [hinges(scores[targets == y].mean(0).tolist(), y) for y in (0, 2, 3)]
    expected = sum(of_images) / 8 + 0.5 * sum(of_classes) / 3
    assert sse_loss(scores, targets, different, 0.5).item() == pytest.approx(expected, rel=1e-5)
