"""The losses of generative methods against their definitions in plain loops, and their parts against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from toy import toy_splits

from zsl.features.class_statistics import kmeans
from zsl.generative.afcgan import boundary_loss
from zsl.generative.gdan import discriminator_loss
from zsl.generative.lisgan import class_souls, soul_loss
from zsl.generative.losses import centroid_loss, cosines, mean_of_classes, squared_distance
from zsl.generative.lsrgan import semantic_loss
from zsl.generative.neighbours import Neighbours
from zsl.generative.srgan import rectifying_loss


def norm(values: list[float]) -> float:
    return math.sqrt(sum(value * value for value in values))


def minus(one: list[float], other: list[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def draw(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(*shape)


def test_means_are_those_of_the_classes_that_occur() -> None:
    features, labels = draw(7, 3), torch.tensor([4, 2, 4, 9, 2, 4, 4])
    means, classes = mean_of_classes(features, labels)
    assert classes.tolist() == [2, 4, 9]
    for mean, label in zip(means, classes, strict=True):
        rows = [row for row, of in zip(features.tolist(), labels.tolist(), strict=True) if of == label]
        np.testing.assert_allclose(mean.numpy(), np.mean(rows, axis=0), rtol=1e-5)


def test_the_centroid_loss_is_a_mean_of_distances_that_are_not_squared() -> None:
    means, prototypes = draw(2, 5, 4)
    expected = np.mean([norm(minus(a, b)) for a, b in zip(means.tolist(), prototypes.tolist(), strict=True)])
    assert centroid_loss(means, prototypes).item() == pytest.approx(expected, rel=1e-5)


def test_cosines_are_those_of_all_pairs() -> None:
    one, other = draw(3, 4), draw(7, 4)[3:]
    for i, a in enumerate(one.tolist()):
        for j, b in enumerate(other.tolist()):
            expected = sum(x * y for x, y in zip(a, b, strict=True)) / norm(a) / norm(b)
            assert cosines(one, other)[i, j].item() == pytest.approx(expected, abs=1e-6)


def test_lsrgans_loss_is_its_two_hinges_over_neighbours() -> None:
    similarity, wanted = draw(2, 6, 4).clamp(-1, 1)
    epsilon, expected = 0.3, 0.0
    for row, of_attributes in zip(similarity.tolist(), wanted.tolist(), strict=True):
        for s, w in zip(row, of_attributes, strict=True):
            expected += (max(0.0, s - w - epsilon) ** 2 + max(0.0, w - epsilon - s) ** 2) / len(similarity)
    assert semantic_loss(similarity, wanted, epsilon).item() == pytest.approx(expected, rel=1e-5)


def test_the_squared_distance_is_a_mean_over_rows_of_a_sum() -> None:
    one, other = draw(2, 6, 4)
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    assert squared_distance(one, other).item() == pytest.approx(
        np.mean([norm(minus(a, b)) ** 2 for a, b in pairs]), rel=1e-5
    )


def test_srgans_loss_is_a_distance_and_a_match_of_cosines() -> None:
    rectified, prototypes = draw(2, 5, 4)
    expected = 0.0
    for i in range(5):
        expected += norm(minus(rectified[i].tolist(), prototypes[i].tolist())) ** 2 / 5
        for j in range(5):
            gap = cosine(rectified[i], rectified[j]) - cosine(prototypes[i], prototypes[j])
            expected += 3 * gap**2 / 25
    assert rectifying_loss(rectified, prototypes, 3.0).item() == pytest.approx(expected, rel=1e-4)


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / one.norm() / other.norm())


def test_gdans_discriminator_wants_1_for_true_pairs_and_0_for_all_others() -> None:
    scores = draw(4, 6)
    expected = 0.0
    for real, fake, mismatched, regressed in scores.T.tolist():
        expected += ((real - 1) ** 2 + fake**2 + mismatched**2 + 0.3 * regressed**2) / 6
    assert discriminator_loss(*scores, theta3=0.3).item() == pytest.approx(expected, rel=1e-5)


def test_the_boundary_loss_is_least_where_both_domains_are_as_likely() -> None:
    logits, expected = draw(5, 2), 0.0
    for a, b in logits.tolist():
        total = math.exp(a) + math.exp(b)
        expected -= (0.5 * math.log(math.exp(a) / total) + 0.5 * math.log(math.exp(b) / total)) / len(logits)
    assert boundary_loss(logits).item() == pytest.approx(expected, rel=1e-5)
    assert boundary_loss(torch.full((3, 2), 7.0)).item() == pytest.approx(math.log(2))


def test_the_soul_loss_takes_the_nearest_soul_of_the_own_class() -> None:
    features, souls = draw(6, 4), draw(24, 3, 4)[:6]
    expected = 0.0
    for feature, own in zip(features.tolist(), souls.tolist(), strict=True):
        expected += min(norm(minus(feature, soul)) ** 2 for soul in own) / len(features)
    assert soul_loss(features, souls).item() == pytest.approx(expected, rel=1e-5)


def test_each_class_has_souls_among_its_own_features_even_with_fewer_images_than_souls() -> None:
    train, _ = toy_splits()
    souls = class_souls(train, 3)
    assert souls.shape == (len(train.seen), 3, train.features.shape[1])
    for label, own in zip(train.seen.tolist(), souls, strict=True):
        mean = train.features[train.labels == label].mean(0)
        others = torch.stack([train.features[train.labels == other].mean(0) for other in train.seen.tolist()])
        assert bool((torch.cdist(own, mean[None]).squeeze() == torch.cdist(own, others).amin(1)).all())
    assert kmeans(train.features[:2], 3).shape == (3, train.features.shape[1])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_with_one_neighbour_the_best_class_is_scikit_learns(metric: str) -> None:
    points, targets = draw(60, 5), torch.arange(60) % 4
    inputs = draw(90, 5)[60:]
    expected = KNeighborsClassifier(1, metric=metric, algorithm="brute").fit(points.numpy(), targets.numpy())
    scores = Neighbours(points, targets, 1, metric)(inputs)  # type: ignore[arg-type]  # one of two literals
    assert scores.argmax(1).tolist() == expected.predict(inputs.numpy()).tolist()


def test_with_more_neighbours_a_score_is_the_mean_closeness_of_the_nearest_of_each_class() -> None:
    points, targets, inputs = draw(20, 3), torch.arange(20) % 4, draw(22, 3)[20:]
    scores = Neighbours(points, targets, 3, "euclidean")(inputs)
    for row, feature in enumerate(inputs.tolist()):
        for label in range(4):
            own = [p for p, of in zip(points.tolist(), targets.tolist(), strict=True) if of == label]
            nearest = sorted(norm(minus(feature, point)) for point in own)[:3]
            assert scores[row, label].item() == pytest.approx(-sum(nearest) / 3, rel=1e-4)
