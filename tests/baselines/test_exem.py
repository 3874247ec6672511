"""EXEM against scikit-learn's PCA, kernel machine and nearest neighbour."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.svm import NuSVR
from toy import toy_splits

from zsl.baselines.exem import Distance, EXEMConfig, train_exem


@pytest.mark.parametrize("distance", ["plain", "standardised"])
def test_scores_are_distances_to_means_that_kernel_machines_predict(distance: Distance) -> None:
    train, test = toy_splits()
    config = EXEMConfig(components=7, gamma=0.6, cost=3.0, nu=0.4, distance=distance)
    model = train_exem(train, config, seed=0)
    pca = PCA(7, svd_solver="full").fit(train.features.double().numpy())
    projected, labels = pca.transform(train.features.double().numpy()), train.labels.numpy()
    means = np.stack([projected[labels == c].mean(0) for c in train.seen.tolist()])
    spread = np.mean([projected[labels == c].std(0) for c in train.seen.tolist()], axis=0)
    known, everyone = (train.attributes[ids].double().numpy() for ids in (train.seen, model.gzsl_classes))
    svr = NuSVR(kernel="rbf", gamma=0.6, C=3.0, nu=0.4)
    exemplars = np.stack([svr.fit(known, column).predict(everyone) for column in means.T], axis=1)
    unit = spread if distance == "standardised" else np.ones(7)
    x = pca.transform(test.unseen.features.double().numpy())
    expected = -np.linalg.norm((x[:, None] - exemplars[None]) / unit, axis=2)
    np.testing.assert_allclose(model.gzsl_scores(test.unseen.features).numpy(), expected, rtol=5e-3, atol=5e-3)


def test_more_components_than_there_are_give_those_there_are() -> None:
    train, _ = toy_splits()
    assert train_exem(train, EXEMConfig(components=999), seed=0).exemplars.shape[1] == train.features.shape[1]
