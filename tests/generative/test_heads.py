"""The heads of generative methods against densities that SciPy computes."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge
from torch import Tensor
from toy import toy_splits

from zsl.generative.heads import HeadsConfig, train_heads
from zsl.generative.synthesizer import Synthesizer


class OfGivenMeans(Synthesizer):
    """Makes equal features of each class, at a mean that is known."""

    def synthesize(self, classes: Tensor, per_class: int) -> Tensor:
        means = torch.stack([torch.linspace(-0.05, 0.05, 24) * number for number in classes.tolist()])
        return means.repeat_interleave(per_class, dim=0)


def test_discriminants_count_the_error_of_means_that_are_placed_by_attributes() -> None:
    train, _ = toy_splits()
    features, attributes = train.features.double().numpy(), train.attributes.double().numpy()
    labels, seen = train.labels.numpy(), train.seen.numpy()
    synthesizer = OfGivenMeans(train)
    config = HeadsConfig(
        fit="discriminant", shrinkage=0.5, placement_error=0.3, seen_placement_error=2.0, placement_ridge=0.7,
        images_per_unseen_class=3,
    )  # fmt: skip
    model = train_heads(train, synthesizer, config, 1.0, seed=0)

    means = np.stack([features[labels == c].mean(0) for c in seen])
    within = features - means[np.searchsorted(seen, labels)]
    spread = within.T @ within / len(within)
    errors = []
    for c in range(len(seen)):
        others = np.arange(len(seen)) != c
        fit = Ridge(alpha=0.7).fit(attributes[seen][others], means[others])
        errors.append(means[c] - fit.predict(attributes[seen][[c]])[0])
    placed = sum(np.outer(error, error) for error in errors) / len(errors)
    covariance = 0.5 * (spread + 0.3 * placed) + 0.5 * np.eye(24) * np.trace(spread) / 24
    of_unseen = synthesizer.synthesize(train.unseen, 1).double().numpy()
    density = np.stack([multivariate_normal(mean, covariance).logpdf(features[:20]) for mean in of_unseen], axis=1)
    expected = torch.from_numpy(density).log_softmax(1)
    found = model.zsl_scores(train.features[:20]).double().log_softmax(1)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-3)
    without = train_heads(train, synthesizer, HeadsConfig(fit="discriminant", shrinkage=0.5), 1.0, seed=0)
    assert not np.allclose(without.zsl_scores(train.features[:20]).log_softmax(1).numpy(), expected.numpy(), atol=0.1)
