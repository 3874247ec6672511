"""CDL: its regressions against scikit-learn, its prototypes against autograd, and the whole on a linear problem."""

from __future__ import annotations

from dataclasses import replace
from inspect import unwrap
from itertools import pairwise

import numpy as np
import torch
from sklearn.linear_model import Ridge
from toy import toy_splits

from zsl.baselines.cdl import CDLConfig, solve_codes, solve_dictionary, solve_prototypes, train_cdl
from zsl.scores.evaluate import evaluate


def test_codes_and_dictionaries_are_ridge_regressions_and_no_atom_is_longer_than_one() -> None:
    torch.manual_seed(0)
    targets, codes = torch.randn(9, 6).double(), 4 * torch.randn(9, 3).double()
    ridge = Ridge(alpha=0.2, fit_intercept=False)
    dictionary = ridge.fit(codes.numpy(), targets.numpy()).coef_.T  # [K, n]
    assert np.linalg.norm(dictionary, axis=1).max() < 1
    np.testing.assert_allclose(solve_dictionary(targets, codes, 0.2).numpy(), dictionary)
    atoms = torch.randn(3, 6).double()
    expected = ridge.fit(atoms.T.numpy(), targets.T.numpy()).coef_
    np.testing.assert_allclose(solve_codes(targets, atoms, 0.2).numpy(), expected)
    long = solve_dictionary(100 * targets, codes, 0.2)
    np.testing.assert_allclose(long.norm(dim=1).numpy(), 1)
    np.testing.assert_allclose(long.numpy(), dictionary / np.linalg.norm(dictionary, axis=1, keepdims=True))


def test_prototypes_have_no_slope_in_the_sum_over_codes_and_images() -> None:
    torch.manual_seed(0)
    images, targets, decoded = torch.randn(20, 4).double(), torch.arange(20) % 3, torch.randn(3, 4).double()
    means = torch.stack([images[targets == c].mean(0) for c in range(3)])
    found = solve_prototypes(means, targets.bincount(), decoded, 0.3).requires_grad_()
    loss = (found - decoded).square().sum() + 0.3 * (images - found[targets]).square().sum()
    (slope,) = torch.autograd.grad(loss, found)
    assert slope.abs().max() < 1e-12


def test_each_round_of_updates_lowers_the_sum_of_squares() -> None:
    torch.manual_seed(0)
    both, codes, sums = 1e-3 * torch.randn(8, 9).double(), torch.randn(8, 6).double(), []  # no atom gets as long as 1
    for _ in range(20):
        dictionary = solve_dictionary(both, codes, 1e-9)
        codes = solve_codes(both, dictionary, 1e-9)
        sums.append(float((both - codes @ dictionary).norm()))
    assert all(after <= before + 1e-9 for before, after in pairwise(sums))
    assert sums[-1] < sums[0]


def test_the_whole_is_a_plain_loop_of_least_squares_with_the_weights_of_both_spaces() -> None:
    train, _ = toy_splits()
    config = CDLConfig(atoms=5, attribute_weight=7.0, image_weight=0.3, rounds=3)
    torch.manual_seed(4)
    found = unwrap(train_cdl)(train, config).prototypes.double().numpy()
    torch.manual_seed(4)
    z = torch.randn(len(train.seen), 5, dtype=torch.float64).numpy()
    seen, known = train.seen_labels.numpy(), train.attributes[train.seen].double().numpy()
    scale = np.linalg.norm(known - known.mean(0), axis=1).mean()
    a, unseen = ((part - known.mean(0)) / scale for part in (known, train.attributes[train.unseen].double().numpy()))
    x = (train.features - train.features.mean(0)).double().numpy()
    x = x / np.linalg.norm(x, axis=1).mean()
    means = np.stack([x[seen == c].mean(0) for c in range(len(known))])
    counts, p, eye = np.bincount(seen)[:, None], means, np.eye(5)
    for _ in range(3):
        v, s = (np.linalg.solve(z.T @ z + 1e-3 * eye, z.T @ part) for part in (p, a))
        v, s = (d / np.maximum(1, np.linalg.norm(d, axis=1, keepdims=True)) for d in (v, s))
        z = (p @ v.T + 7 * a @ s.T) @ np.linalg.inv(v @ v.T + 7 * s @ s.T + 1e-3 * eye)
        p = (z @ v + 0.3 * counts * means) / (1 + 0.3 * counts)
    expected = np.concatenate([p, unseen @ s.T @ np.linalg.inv(s @ s.T + 0.1 * eye) @ v])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-4)


def test_more_weight_on_images_brings_prototypes_of_seen_classes_to_their_means() -> None:
    train, test = toy_splits()
    means = torch.stack([train.features[train.labels == c].mean(0) for c in train.seen])
    centre = train.features.mean(0)

    def closeness(image_weight: float) -> float:
        model = train_cdl(train, replace(CDLConfig(), atoms=3, image_weight=image_weight), seed=0)
        return float(torch.cosine_similarity(model.prototypes[: len(means)], means - centre).mean())

    assert closeness(1e-3) < closeness(0.1) < closeness(100.0)
    assert closeness(100.0) > 0.999
    assert evaluate(train_cdl(train, CDLConfig(), seed=0), test).acc_zsl > 0.5
