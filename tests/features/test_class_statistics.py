"""Means and sums of classes against plain loops, and clusters against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from zsl.features.class_statistics import class_means, class_sums_by_product, kmeans


def test_class_means_equal_a_loop() -> None:
    torch.manual_seed(3)
    x, labels = torch.randn(40, 5, dtype=torch.float64), torch.randint(0, 4, (40,))
    means = class_means(x, labels, 4)
    for label in range(4):
        torch.testing.assert_close(means[label], x[labels == label].mean(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gpus_class_sums_are_the_cpus(dtype: torch.dtype) -> None:
    source = torch.Generator().manual_seed(0)
    values, labels = torch.randn(500, 7, generator=source, dtype=dtype), torch.randint(0, 6, (500,), generator=source)
    by_product = class_sums_by_product(values, labels, 6)
    assert by_product.dtype == dtype
    exact = torch.stack([values[labels == label].double().sum(0) for label in range(6)])
    torch.testing.assert_close(by_product, exact.to(dtype))
    torch.testing.assert_close(class_means(values, labels, 6) * labels.bincount()[:, None], by_product)


def test_class_means_have_the_bits_of_adding_row_after_row() -> None:
    source = torch.Generator().manual_seed(0)
    values, labels = torch.randn(500, 7, generator=source), torch.randint(0, 6, (500,), generator=source)
    total = torch.zeros(6, 7)
    for value, label in zip(values, labels, strict=True):
        total[label] += value
    assert torch.equal(class_means(values, labels, 6), total / labels.bincount()[:, None])


def test_clusters_are_those_of_scikit_learn() -> None:
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    points = (centres[:, None] + 0.5 * torch.randn(3, 30, 2, generator=torch.Generator().manual_seed(0))).reshape(-1, 2)
    torch.manual_seed(2)
    found = min((kmeans(points, 3) for _ in range(5)), key=lambda made: float(torch.cdist(points, made).amin(1).sum()))
    expected = KMeans(3, n_init=5, random_state=0).fit(points.numpy()).cluster_centers_
    np.testing.assert_allclose(sorted(found.tolist()), sorted(expected.tolist()), atol=1e-4)
