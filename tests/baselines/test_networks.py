"""CNZSL, ZLAP, LATEM and CRNet: their layers, priors and scores against torch's layers and plain loops."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from toy import toy_splits

from zsl.baselines.cnzsl import ClassNorm
from zsl.baselines.crnet import ROWS, Cooperation, Relation, relation_loss
from zsl.baselines.devise import devise_loss
from zsl.baselines.latem import LatentMaps
from zsl.baselines.networks import CosineScores
from zsl.baselines.registry import BASELINES
from zsl.baselines.zlap import ZLAPConfig, log_priors, train_zlap
from zsl.scores.evaluate import evaluate


def test_class_norm_by_the_deviation_is_batch_norm_without_a_gain() -> None:
    torch.manual_seed(0)
    one, other = ClassNorm(5, "deviation"), nn.BatchNorm1d(5, affine=False)
    for _ in range(60):
        hidden = torch.randn(40, 5) * torch.arange(1.0, 6.0) + 3
        torch.testing.assert_close(one(hidden), other(hidden), rtol=1e-4, atol=1e-5)
    hidden = torch.randn(3, 5)
    torch.testing.assert_close(one.eval()(hidden), other.eval()(hidden), rtol=0.02, atol=0.02)  # n / (n - 1) apart


def test_class_norm_by_the_variance_divides_by_the_deviation_twice() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(30, 4) * torch.tensor([0.5, 1.0, 2.0, 4.0])
    result = ClassNorm(4, "variance")(hidden)
    torch.testing.assert_close(result.std(0, correction=0), 1 / hidden.std(0, correction=0), rtol=1e-3, atol=1e-5)
    assert result.mean(0).abs().max() < 1e-5
    assert torch.equal(ClassNorm(4, "none")(hidden), hidden)


def test_cosine_scores_are_cosines() -> None:
    torch.manual_seed(0)
    prototypes = nn.Linear(3, 4)
    x, a = torch.randn(5, 4), torch.randn(2, 3)
    scores = CosineScores(prototypes, 25.0)(x, a)
    for n in range(5):
        for c in range(2):
            cosine = torch.cosine_similarity(x[n], prototypes(a[c]), dim=0)
            assert scores[n, c].item() == pytest.approx(25 * cosine.item(), abs=1e-4)


def test_priors_are_the_paper_s_probabilities() -> None:
    priors = log_priors(torch.tensor([30, 10]), 4, 9.0).exp().tolist()
    assert priors == pytest.approx([0.9 * 0.75, 0.9 * 0.25, *[0.1 / 4] * 4])
    assert log_priors(torch.tensor([30, 10]), 0, 9.0).exp().tolist() == pytest.approx([0.75, 0.25])


def test_larger_odds_of_seen_classes_in_training_send_more_images_to_unseen_ones() -> None:
    train, test = toy_splits()
    small = ZLAPConfig(hidden_dim=64, steps=100, lr=5e-3, unseen_classes=True)
    scores = [evaluate(train_zlap(train, replace(small, ratio=ratio), seed=0), test) for ratio in (0.01, 1e4)]
    assert scores[0].pulled_to_seen > scores[1].pulled_to_seen


def test_only_zlap_with_unseen_classes_is_transductive() -> None:
    method = BASELINES["zlap"]
    assert method.transductive(ZLAPConfig(unseen_classes=True))
    assert not any(other.transductive(other.config) for other in BASELINES.values())


def test_latent_maps_take_the_best_of_the_bilinear_scores() -> None:
    torch.manual_seed(0)
    maps = LatentMaps(4, 3, 2)
    x, a = torch.randn(5, 4), torch.randn(6, 3)
    scores = maps(x, a)
    for n in range(5):
        for c in range(6):
            assert scores[n, c].item() == pytest.approx(
                max(float(x[n] @ w @ a[c]) for w in maps.weight.detach()), abs=1e-5
            )


def test_the_gradient_of_a_latent_map_is_the_paper_s_update() -> None:
    """Each wrong class y' that comes too close adds x a_y'ᵀ to its map and takes x a_yᵀ from the true class's map."""
    torch.manual_seed(0)
    maps = LatentMaps(4, 3, 2)
    x, a, target = torch.randn(1, 4), torch.randn(5, 3), 2
    devise_loss(maps(x, a), torch.tensor([target]), 1.0).backward()
    every = [[float(x[0] @ w @ a[c]) for w in maps.weight.detach()] for c in range(5)]
    expected = torch.zeros(2, 4, 3)
    for c in range(5):
        if c != target and 1 + max(every[c]) > max(every[target]):
            expected[every[c].index(max(every[c]))] += torch.outer(x[0], a[c])
            expected[every[target].index(max(every[target]))] -= torch.outer(x[0], a[target])
    assert maps.weight.grad is not None
    assert expected.abs().max() > 0
    assert math.isfinite(float(maps.weight.grad.sum()))
    torch.testing.assert_close(maps.weight.grad, expected, rtol=1e-4, atol=1e-5)


def test_anchors_are_sums_over_experts_and_relations_are_of_each_pair() -> None:
    torch.manual_seed(0)
    cooperation = Cooperation(torch.randn(2, 3), 4)
    network = Relation(4, cooperation, 5)
    x, a = torch.randn(ROWS + 3, 4), torch.randn(2, 3)
    anchors = torch.zeros(4, 2)
    for expert, centre in zip(cooperation.experts, cooperation.centres, strict=True):
        weight, bias = expert.get_parameter("weight"), expert.get_parameter("bias")
        anchors += (weight @ (3**0.5 * a - centre).T + bias[:, None]).clamp(min=0)
    scores = network(x, a)
    assert scores.shape == (ROWS + 3, 2)
    for n in (0, 1, ROWS, ROWS + 2):
        for c in range(2):
            hidden = network.hidden(torch.cat([x[n], anchors[:, c]])).clamp(min=0)
            assert scores[n, c].item() == pytest.approx(network.out(hidden).item(), abs=1e-5)


def test_the_relation_loss_is_its_definition_in_loops() -> None:
    scores, targets = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), [1, 0]
    total = 0.0
    for row, target in zip(scores.tolist(), targets, strict=True):
        total += sum((1 / (1 + math.exp(-score)) - (c == target)) ** 2 for c, score in enumerate(row))
    assert relation_loss(scores, torch.tensor(targets)).item() == pytest.approx(total / 2)
