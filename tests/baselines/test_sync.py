"""SYNC against scikit-learn's support vector machines and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from toy import toy_splits

from zsl.baselines.sync import SYNCConfig, fit_one_versus_other, one_versus_other_loss, similarities, train_sync
from zsl.training.log import silent


def test_the_loss_is_its_definition_in_loops() -> None:
    torch.manual_seed(0)
    scores, targets = torch.randn(9, 5), torch.randint(5, (9,))
    total = 0.0
    for row, target in zip(scores.tolist(), targets.tolist(), strict=True):
        for c, score in enumerate(row):
            total += max(0.0, 1 - score if c == target else 1 + score) ** 2
    assert one_versus_other_loss(scores, targets).item() == pytest.approx(total / 45, rel=1e-6)


@pytest.mark.parametrize("lam", [1e-2, 1e-3])
def test_the_classifiers_are_support_vector_machines_without_bias(lam: float) -> None:
    train, _ = toy_splits()
    x, targets, classes = train.features - train.features.mean(0), train.seen_labels, len(train.seen)
    weight = fit_one_versus_other(x, targets, classes, lam, silent)
    svm = LinearSVC(C=1 / (lam * len(x) * classes), fit_intercept=False, dual=False, tol=1e-9, max_iter=10_000)
    expected = svm.fit(x.double().numpy(), targets.numpy()).coef_
    np.testing.assert_allclose(weight.numpy(), expected, rtol=2e-2, atol=2e-3 * np.abs(expected).max())


def test_similarities_are_shares_that_fall_with_the_squared_distance() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(3, 4), torch.randn(5, 4)
    shares = similarities(a, b, 0.7)
    for c in range(3):
        plain = [
            math.exp(-0.7 * sum((float(x) - float(y)) ** 2 for x, y in zip(a[c], b[r], strict=True))) for r in range(5)
        ]
        np.testing.assert_allclose(shares[c].numpy(), np.array(plain) / sum(plain), rtol=1e-5)


def test_seen_classes_keep_their_classifiers_and_unseen_ones_mix_the_bases() -> None:
    train, test = toy_splits()
    config = SYNCConfig(sigma=4.0, features="centred")
    model = train_sync(train, config, seed=0)
    x = test.unseen.features - train.features.mean(0)
    weight = fit_one_versus_other(
        train.features - train.features.mean(0), train.seen_labels, len(train.seen), config.lam, silent
    )
    scores = model.gzsl_scores(test.unseen.features)
    np.testing.assert_allclose(scores[:, : len(train.seen)].numpy(), (x @ weight.T).numpy(), rtol=1e-3, atol=1e-3)
    phantoms = train.attributes[train.seen].double().numpy()

    def kernel(of: np.ndarray) -> np.ndarray:
        similarity = np.exp(-4.0 * ((of[:, None] - phantoms[None]) ** 2).sum(2))
        return similarity / similarity.sum(1, keepdims=True)

    unseen = kernel(train.attributes[train.unseen].double().numpy())
    classifiers = unseen @ np.linalg.inv(kernel(phantoms)) @ weight.double().numpy()
    np.testing.assert_allclose(
        scores[:, len(train.seen) :].numpy(), x.double().numpy() @ classifiers.T, rtol=1e-3, atol=1e-3
    )
