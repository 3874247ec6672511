"""The placement's error, left out class by class, and its part in the discriminants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge
from tiny_configs import ALL_STAGES
from toy import toy_splits

from zsl.common.config import override
from zsl.dcrgan.dcrgan import fit_classifiers, train_synthesizer
from zsl.dcrgan.heads import SoftmaxHead, discriminant
from zsl.dcrgan.placement import left_out_errors


@pytest.mark.parametrize(("classes", "ridge"), [(9, 0.3), (3, 2.0), (2, 1.0)])
def test_errors_are_those_of_a_fit_without_the_class(classes: int, ridge: float) -> None:
    rng = np.random.default_rng(classes)
    conditions, means = rng.normal(size=(classes, 5)) + 3, rng.normal(size=(classes, 4))
    others = [np.arange(classes) != c for c in range(classes)]
    fits = [Ridge(alpha=ridge).fit(conditions[kept], means[kept]) for kept in others]
    expected = [means[c] - fits[c].predict(conditions[[c]])[0] for c in range(classes)]
    errors = left_out_errors(torch.from_numpy(conditions), torch.from_numpy(means), ridge)
    np.testing.assert_allclose(errors.numpy(), expected, atol=1e-9)


def test_discriminants_have_the_density_of_images_around_an_uncertain_mean() -> None:
    rng = np.random.default_rng(0)
    means, within, errors = rng.normal(size=(3, 4)), rng.normal(size=(50, 4)), 2 * rng.normal(size=(6, 4))
    weight, bias = discriminant(torch.from_numpy(means), torch.from_numpy(within), 0.4, torch.from_numpy(errors))
    spread = np.mean([np.outer(x, x) for x in within], axis=0)
    uncertainty = np.mean([np.outer(e, e) for e in errors], axis=0)
    covariance = 0.6 * (spread + uncertainty) + 0.4 * np.eye(4) * np.trace(spread) / 4
    images = rng.normal(size=(20, 4))
    density = np.stack([multivariate_normal(mean, covariance).logpdf(images) for mean in means], axis=1)
    ours = torch.from_numpy(images) @ weight.T + bias
    theirs = torch.from_numpy(density).log_softmax(1)
    np.testing.assert_allclose(ours.log_softmax(1).numpy(), theirs.numpy(), atol=1e-6)


def test_each_space_has_its_own_share_of_the_error() -> None:
    train, _ = toy_splits()
    config = override(ALL_STAGES, {"classifiers.fit": "discriminant", "gan.shortcut_ridge": 0.1, "gan.steps": 2})
    synthesizer = train_synthesizer(train, config, seed=0)
    heads = ("visual", "semantic", "representation")
    usual = fit_classifiers(synthesizer, config.classifiers).gzsl
    for number, changed in enumerate(heads):
        shares = tuple(0.5 * (number == space) for space in range(3))
        ensemble = fit_classifiers(synthesizer, replace(config.classifiers, placement_error=shares)).gzsl
        moved = [
            not torch.equal(getattr(ensemble, head).linear.weight, getattr(usual, head).linear.weight) for head in heads
        ]
        assert moved == [head == changed for head in heads]


def test_a_factor_for_seen_classes_changes_their_scores_alone() -> None:
    train, _ = toy_splits()
    config = override(ALL_STAGES, {"classifiers.fit": "discriminant", "gan.shortcut_ridge": 0.1, "gan.steps": 2})
    synthesizer = train_synthesizer(train, config, seed=0)

    def visual(share: float, factor: float) -> SoftmaxHead:
        changes = {"placement_error": (share, 0.0, 0.0), "seen_placement_error": factor}
        return fit_classifiers(synthesizer, replace(config.classifiers, **changes)).gzsl.visual

    seen = len(train.seen)
    mixed, narrow, wide = visual(0.5, 2.0), visual(0.5, 1.0), visual(1.0, 1.0)
    for part in ("weight", "bias"):
        of_mixed, of_narrow, of_wide = (getattr(head.linear, part) for head in (mixed, narrow, wide))
        torch.testing.assert_close(of_mixed[:seen], of_wide[:seen])
        assert torch.equal(of_mixed[seen:], of_narrow[seen:])
        assert not torch.allclose(of_wide, of_narrow)
