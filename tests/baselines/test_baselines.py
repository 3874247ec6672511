"""The baselines against their definitions in plain loops, closed forms, scipy and scikit-learn, on a toy problem."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler, normalize
from small_configs import small
from torch import Tensor, nn
from toy import UNSEEN, toy_splits

from zsl.baselines.ale import ALEConfig, ale_loss, train_ale
from zsl.baselines.compatibility import FeatureMap
from zsl.baselines.dap import DAPConfig, train_dap
from zsl.baselines.devise import devise_loss
from zsl.baselines.eszsl import solve_eszsl
from zsl.baselines.registry import BASELINES
from zsl.baselines.sae import Direction, SAEConfig, solve_sae, train_sae
from zsl.baselines.sje import sje_loss
from zsl.baselines.supervised import SupervisedConfig, train_supervised
from zsl.common.config import override
from zsl.features.split import TrainSplit
from zsl.scores.evaluate import evaluate

ALL = sorted(BASELINES)
ZERO_SHOT = [name for name in ALL if name != "supervised"]
DRAWS = [
    "ale",
    "cdl",
    "cnzsl",
    "crnet",
    "devise",
    "latem",
    "sje",
    "sse",
    "zlap",
]  # the methods that draw random numbers
BY_CLASS = [
    "attributes",
    "exemplars",
    "present",
    "prototypes",
    "similarity",
]  # [S + U, …], each row made of one class's attributes


def train_baseline(name: str, train: TrainSplit, seed: int = 0) -> Any:
    model = BASELINES[name].train(train, small(name), seed=seed)
    assert isinstance(model, nn.Module)
    return model


def with_other_unseen_attributes(train: TrainSplit) -> TrainSplit:
    changed = train.attributes.clone()
    changed[train.unseen] = torch.rand_like(changed[train.unseen]) * 7 - 3
    return dataclasses.replace(train, attributes=changed)


# The methods as wholes


@pytest.mark.parametrize("name", ZERO_SHOT)
def test_unseen_classes_of_a_linear_problem_are_recognised_far_above_chance(name: str) -> None:
    scores = []
    for seed in range(3):
        train, test = toy_splits(seed)
        scores.append(evaluate(train_baseline(name, train), test))
    assert np.mean([score.acc_zsl for score in scores]) > 2 / UNSEEN
    assert np.mean([score.acc_seen for score in scores]) > 0.5


@pytest.mark.parametrize("name", ALL)
def test_nothing_that_is_trained_depends_on_unseen_attributes(name: str) -> None:
    """All but the scorer's rows of unseen classes is the same to the bit, and so are the scores of seen classes."""
    train, test = toy_splits()
    first, second = train_baseline(name, train), train_baseline(name, with_other_unseen_attributes(train))
    state, other = first.state_dict(), second.state_dict()
    assert len(state) > len({"zsl_classes", "gzsl_classes"} & state.keys()) == 2
    for key, value in state.items():
        rows = len(train.seen) if key in BY_CLASS else None
        assert torch.equal(value[:rows] if rows else value, other[key][:rows] if rows else other[key]), key
    if name != "dap":  # its scores are normalised over seen and unseen classes
        seen = len(train.seen)
        scores = [model.gzsl_scores(test.seen.features)[:, :seen] for model in (first, second)]
        torch.testing.assert_close(scores[0], scores[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_equal_seeds_agree_bit_for_bit(name: str) -> None:
    train, _ = toy_splits()
    torch.manual_seed(1)  # what happened before must not matter
    first = train_baseline(name, train).state_dict()
    torch.manual_seed(2)
    second = train_baseline(name, train).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    other = train_baseline(name, train, seed=1).state_dict()
    assert all(torch.equal(value, other[key]) for key, value in first.items()) == (name not in DRAWS)


@pytest.mark.parametrize("name", ALL)
def test_a_test_split_is_refused_and_reads_are_noted(name: str) -> None:
    train, test = toy_splits()
    with pytest.raises(TypeError, match="takes a TrainSplit; a TestSplit"):
        BASELINES[name].train(test, BASELINES[name].config, seed=0)  # type: ignore[arg-type]  # that is the point
    train_baseline(name, train)
    assert [read.rows.tolist() for read in train.reads] == [train.rows.tolist()]


@pytest.mark.parametrize("name", ALL)
def test_a_model_scores_every_class_once_and_is_frozen(name: str) -> None:
    train, test = toy_splits()
    model = train_baseline(name, train)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    x = test.unseen.features
    gzsl = model.gzsl_scores(x)
    assert model.gzsl_classes.tolist() == [*train.seen.tolist(), *train.unseen.tolist()]
    assert model.zsl_classes.tolist() == train.unseen.tolist()
    assert gzsl.shape == (len(x), len(train.seen) + len(train.unseen))
    assert torch.equal(model.zsl_scores(x), gzsl[:, len(train.seen) :])
    assert not gzsl.isnan().any()
    assert not gzsl.requires_grad


@pytest.mark.parametrize("name", ALL)
def test_candidates_are_a_small_grid_around_the_default(name: str) -> None:
    baseline = BASELINES[name]
    (tried,) = baseline.rounds
    configs = [override(baseline.config, overrides) for overrides in tried]
    assert 6 <= len(configs) <= 16
    assert len(set(configs)) == len(configs)
    assert baseline.config in configs
    fields = {field.name for field in dataclasses.fields(baseline.config)}
    assert all(set(overrides) == fields for overrides in tried)  # whole configurations, whatever came before


def test_prepared_features_are_those_of_scikit_learn() -> None:
    train, test = toy_splits()
    x, other = train.features, test.unseen.features
    standardised = StandardScaler().fit(x.numpy()).transform(other.numpy()) * math.sqrt((len(x) - 1) / len(x))
    centred = other.numpy() - x.numpy().mean(0)
    np.testing.assert_allclose(FeatureMap(x, "standardised")(other).numpy(), standardised, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(FeatureMap(x, "centred")(other).numpy(), centred, atol=1e-6)
    np.testing.assert_allclose(FeatureMap(x, "unit")(other).numpy(), normalize(centred), atol=1e-6)
    assert torch.equal(FeatureMap(x, "given")(other), other)
    assert FeatureMap(torch.ones(5, 2), "standardised")(torch.ones(3, 2)).abs().max() == 0


# Ranking losses


def ranking_problem() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    scores, targets = torch.randn(40, 7), torch.randint(7, (40,))
    scores[0] = 0.0
    scores[0, targets[0]] = 5.0  # an image that violates nothing
    return scores, targets


def violations(scores: list[float], target: int, margin: float) -> list[float]:
    """By how much each other class comes too close, those that do."""
    gaps = [margin + score - scores[target] for k, score in enumerate(scores) if k != target]
    return [gap for gap in gaps if gap > 0]


@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_ranking_losses_are_their_definitions_in_loops(margin: float) -> None:
    scores, targets = ranking_problem()
    devise = ale = sje = 0.0
    for row, target in zip(scores.tolist(), targets.tolist(), strict=True):
        gaps = violations(row, target, margin)
        rank_weight = sum(1 / i for i in range(1, len(gaps) + 1))
        devise += sum(gaps) / len(scores)
        ale += (rank_weight / len(gaps) * sum(gaps) if gaps else 0.0) / len(scores)
        sje += max(gaps, default=0.0) / len(scores)
    assert devise_loss(scores, targets, margin).item() == pytest.approx(devise, rel=1e-5)
    assert ale_loss(scores, targets, margin).item() == pytest.approx(ale, rel=1e-5)
    assert sje_loss(scores, targets, margin).item() == pytest.approx(sje, rel=1e-5)


def test_margin_and_learning_rate_are_one_choice() -> None:
    train, _ = toy_splits()
    one = ALEConfig(steps=30, margin=1.0, lr=1e-2, weight_decay=1e-2)
    small = dataclasses.replace(one, margin=0.1, lr=1e-3, weight_decay=1e-1)
    torch.testing.assert_close(
        train_ale(train, one, seed=0).weight, 10 * train_ale(train, small, seed=0).weight, rtol=1e-3, atol=1e-4
    )


# Closed forms


def regression_problem(images: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features [N, 9], targets [N] and attributes [6, 4] in double precision."""
    torch.manual_seed(0)
    return torch.randn(images, 9).double(), torch.arange(images) % 6, torch.randn(6, 4).double()


def test_eszsl_has_no_slope_at_its_solution() -> None:
    x, targets, s = regression_problem(30)
    gamma, lam = 0.3, 0.05
    v = solve_eszsl(x, targets, s, gamma, lam).requires_grad_()
    y = torch.full((30, 6), -1.0).double()
    for row, target in enumerate(targets.tolist()):
        y[row, target] = 1.0
    loss = (x @ v @ s.T - y).square().sum() / 180
    penalty = gamma * (v @ s.T).square().sum() / 6 + lam * (x @ v).square().sum() / 30 + gamma * lam * v.square().sum()
    (slope,) = torch.autograd.grad(loss + penalty, v)
    assert slope.abs().max() < 1e-12
    x_of_paper, s_of_paper = x.T.numpy(), s.T.numpy()  # columns are images and classes there
    published = (
        np.linalg.inv(x_of_paper @ x_of_paper.T + gamma * 30 * np.eye(9))
        @ (x_of_paper @ y.numpy() @ s_of_paper.T)
        @ np.linalg.inv(s_of_paper @ s_of_paper.T + lam * 6 * np.eye(4))
    )
    np.testing.assert_allclose(v.detach().numpy(), published, rtol=1e-9)


@pytest.mark.parametrize("images", [30, 5])  # more images than dimensions, and fewer
def test_sae_has_no_slope_at_its_solution(images: int) -> None:
    x, targets, attributes = regression_problem(images)
    s, lam = attributes[targets], 0.4
    w = solve_sae(x, s, lam).requires_grad_()
    (slope,) = torch.autograd.grad((x - s @ w.T).square().sum() + lam * (x @ w - s).square().sum(), w)
    assert slope.abs().max() < 1e-10


def test_sae_solves_the_sylvester_equation_of_the_paper() -> None:
    x, targets, attributes = regression_problem(30)
    s, lam = attributes[targets], 0.4
    encoder = scipy.linalg.solve_sylvester(
        (s.T @ s).numpy(), (lam * x.T @ x).numpy(), ((1 + lam) * s.T @ x).numpy()
    )  # [A, D], the paper's W
    np.testing.assert_allclose(solve_sae(x, s, lam).numpy(), encoder.T, rtol=1e-8, atol=1e-10)


def test_sae_takes_the_shortest_of_many_solutions() -> None:
    x, targets, attributes = regression_problem(5)
    s = attributes[targets] * torch.tensor([1.0, 1.0, 1.0, 0.0])  # an attribute that no class has
    w = solve_sae(x, s, 0.4)
    assert w[:, 3].abs().max() < 1e-10
    of_no_image = torch.from_numpy(scipy.linalg.null_space(x.numpy()))  # [9, 4]
    assert (of_no_image.T @ w).abs().max() < 1e-10


@pytest.mark.parametrize("direction", ["to_attributes", "to_features"])
def test_sae_scores_are_cosines_in_either_space(direction: Direction) -> None:
    train, test = toy_splits()
    model = train_sae(train, SAEConfig(direction=direction, features="centred", attributes="given"), seed=0)
    x, w, scores = (
        test.unseen.features[0] - train.features.mean(0),
        model.weight,
        model.gzsl_scores(test.unseen.features),
    )
    for column, class_id in enumerate(model.gzsl_classes.tolist()):
        a = train.attributes[class_id]
        one, other = (x @ w, a) if direction == "to_attributes" else (x, w @ a)
        assert scores[0, column].item() == pytest.approx((one @ other / one.norm() / other.norm()).item(), abs=1e-5)


# Probabilistic methods


def test_dap_refuses_attributes_that_tell_no_seen_classes_apart() -> None:
    train, _ = toy_splits()
    attributes = train.attributes.clone()
    attributes[train.seen] = 0.5
    with pytest.raises(ValueError, match="no attribute tells the seen classes apart"):
        train_dap(dataclasses.replace(train, attributes=attributes), DAPConfig(), seed=0)


def test_dap_is_a_logistic_regression_an_attribute_and_their_product() -> None:
    train, test = toy_splits()
    attributes = train.attributes.clone()
    attributes[:, 5] = 0.5
    attributes[train.unseen, 5] = 0.9  # an attribute that tells no seen classes apart
    train = dataclasses.replace(train, attributes=attributes)
    model = train_dap(train, DAPConfig(l2=1e-2), seed=0)
    assert model.weight.shape[1] == 5
    scaler = StandardScaler().fit(train.features.numpy())
    rescale = math.sqrt((len(train.features) - 1) / len(train.features))  # of the unbiased standard deviation
    x, x_test = (scaler.transform(part.numpy()) * rescale for part in (train.features, test.unseen.features[:8]))
    has = {c: [bool(attributes[c, m] > attributes[train.seen, m].mean()) for m in range(5)] for c in range(20)}
    likelihood, prior = [], []  # p(a_m | x) and p(a_m)
    for m in range(5):
        target = [has[c][m] for c in train.labels.tolist()]
        classifier = LogisticRegression(C=1 / (1e-2 * len(x)), tol=1e-9, max_iter=1000).fit(x, target)
        likelihood.append(classifier.predict_proba(x_test)[:, 1])
        prior.append(float(np.mean([has[c][m] for c in train.seen.tolist()])))
    posterior = np.ones((8, 20))
    for n in range(8):
        for column, c in enumerate(model.gzsl_classes.tolist()):
            for m in range(5):
                p, q = likelihood[m][n], prior[m]
                posterior[n, column] *= p / q if has[c][m] else (1 - p) / (1 - q)
    posterior /= posterior.sum(1, keepdims=True)
    scores = model.gzsl_scores(test.unseen.features[:8])
    np.testing.assert_allclose(scores.exp().numpy(), posterior, rtol=1e-2, atol=1e-4)


def test_the_supervised_bound_is_scikit_learns_softmax() -> None:
    train, test = toy_splits()
    model = train_supervised(train, SupervisedConfig(l2=0.1), seed=0)
    mean, std = train.features.mean(0), train.features.std(0)
    classifier = LogisticRegression(C=1 / (0.1 * len(train.features)), tol=1e-9, max_iter=2000)
    classifier.fit(((train.features - mean) / std).numpy(), train.labels.numpy())
    expected = classifier.predict_log_proba(((test.seen.features - mean) / std).numpy())
    scores = model.gzsl_scores(test.seen.features)
    np.testing.assert_allclose(scores[:, : len(train.seen)].numpy(), expected, rtol=1e-2, atol=1e-2)


def test_the_supervised_bound_knows_no_unseen_class() -> None:
    train, test = toy_splits()
    model = train_supervised(train, SupervisedConfig(), seed=0)
    assert bool((model.zsl_scores(test.unseen.features) == -math.inf).all())
    scores = evaluate(model, test)
    assert scores.acc_unseen == scores.harmonic == 0
    assert scores.acc_seen > 0.9
