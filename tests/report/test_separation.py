"""The separation of unseen classes behind Figure 8: against plain loops, and what given attributes put in by hand."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from zsl.dcrgan.networks import MetricNet
from zsl.dcrgan.regressors import Regressors
from zsl.report.separation import SPACES, candidate_distances, separation, squared_distances_to_means

CLASSES = torch.tensor([2, 5, 7])
LABELS = torch.tensor([2, 5, 7, 2, 5, 7, 2, 2, 5])


def metric_of(attribute_dim: int, *, ignores: str = "nothing") -> MetricNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        metric = MetricNet(6, attribute_dim, 4)
    first = cast(nn.Linear, metric.layers[0]).weight.data
    if ignores == "features":
        first[:, :6] = 0
    if ignores == "attributes":
        first[:, 6:] = 0
    return metric.eval()


def regressors() -> Regressors:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Regressors(6, 5, 3, 4, "linear").eval()


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(9, 6, generator=generator), torch.randn(8, 3, generator=generator)


def plain_distances(points: Tensor) -> list[list[float]]:
    rows = []
    for i, point in enumerate(points):
        row = []
        for class_id in CLASSES.tolist():
            others = [other for j, other in enumerate(points) if LABELS[j] == class_id and j != i]
            row.append(float((point - torch.stack(others).mean(0)).square().sum()))
        rows.append(row)
    return rows


def test_distances_are_those_of_a_plain_loop_without_the_point_itself() -> None:
    points, _ = inputs()
    found = squared_distances_to_means(points, LABELS, CLASSES)
    torch.testing.assert_close(found, torch.tensor(plain_distances(points)))


def test_a_candidate_gives_its_attributes_to_image_and_mean_alike() -> None:
    features, attributes = inputs()
    metric = metric_of(3)
    with torch.no_grad():
        found = candidate_distances(metric, features, LABELS, attributes, CLASSES)
        for position, class_id in enumerate(CLASSES.tolist()):
            points = metric(features, attributes[class_id].repeat(9, 1))
            expected = torch.tensor(plain_distances(points))[:, position]
            torch.testing.assert_close(found[:, position], expected)


def test_attributes_that_are_given_are_the_answer() -> None:
    features, attributes = inputs()
    blind = {"TL": metric_of(0), "MMTL": metric_of(3, ignores="features")}
    found = separation(blind, regressors(), features, LABELS, attributes)
    assert found.keys() == set(SPACES.values())
    assert found["mmtl own"] == 1  # of the image itself nothing is seen
    assert found["mmtl candidates"] < 0.7  # all distances are 0: the first class for each image
    seeing = {"TL": metric_of(0), "MMTL": metric_of(3, ignores="attributes")}
    same = separation(seeing, regressors(), features, LABELS, attributes)
    assert same["mmtl own"] == same["mmtl candidates"]


def test_classes_that_lie_apart_are_found_in_each_space() -> None:
    _, attributes = inputs()
    features = 50 * torch.eye(6)[LABELS.remainder(6)] + 0.1 * inputs()[0]
    found = separation({"TL": metric_of(0), "MMTL": metric_of(3)}, regressors(), features, LABELS, attributes)
    assert all(value == 1 for value in found.values())


def test_a_class_with_one_image_is_left_out() -> None:
    features, attributes = inputs()
    labels = LABELS.clone()
    labels[2] = 0
    found = separation({"TL": metric_of(0), "MMTL": metric_of(3)}, regressors(), features, labels, attributes)
    kept = labels != 0
    without = separation(
        {"TL": metric_of(0), "MMTL": metric_of(3)}, regressors(), features[kept], labels[kept], attributes
    )
    # class 7 has one image left and is left out too
    assert found == without
