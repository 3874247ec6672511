"""How far unseen classes lie apart in the spaces behind Figure 8, as a number: accuracy by the nearest class mean.

Figure 8 (b) shows M([x, a]) with each image's own class attributes a.  So a part of what separates the classes there is
put in by hand.  The numbers here say how large that part is.  They describe test images and choose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zsl.dcrgan.networks import MetricNet
from zsl.dcrgan.regressors import Regressors
from zsl.scores.per_class import per_class_top1

SPACES = {
    "M(x), trained with TL: the image alone": "tl",
    "M([x, a]), trained with MMTL, with the attributes of the image's own class: Figure 8 (b)": "mmtl own",
    "M([x, a]), trained with MMTL, with each candidate's attributes: the nearest candidate": "mmtl candidates",
    "F2(x), the regressor that the classifier SRS sees: the image alone": "f2",
}  # in words, and the name in `separation`


def squared_distances_to_means(points: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """Squared distances [N, n] of points [N, R] to the mean of each class, without the point itself in its own mean.

    labels: class ids [N].  classes: ids [n], each of at least two points.
    """
    member = (labels[:, None] == classes[None, :]).to(points.dtype)
    count, total = member.sum(0), member.T @ points
    means = total / count[:, None]
    others = (total[None] - points[:, None]) / (count - 1)[None, :, None]  # [N, n, R]
    means = torch.where(member[:, :, None] > 0, others, means[None])
    return (points[:, None] - means).square().sum(2)


def nearest_mean_accuracy(distances: Tensor, labels: Tensor, classes: Tensor) -> float:
    """Mean over classes of the share of images whose own class is the nearest, from distances [N, n]."""
    return float(per_class_top1(classes[distances.argmin(1)], labels, classes).mean())


def candidate_distances(
    metric: MetricNet, features: Tensor, labels: Tensor, attributes: Tensor, classes: Tensor
) -> Tensor:
    """Squared distances [N, n] where image and class mean are both mapped with the attributes of the candidate class.

    features: [N, D].  labels: [N].  attributes: of all classes [C, A].  classes: ids of the candidates [n].
    """
    columns = []
    for position, candidate in enumerate(classes):
        points = metric(features, attributes[candidate].expand(len(features), -1))
        columns.append(squared_distances_to_means(points, labels, classes)[:, position])
    return torch.stack(columns, dim=1)


@torch.no_grad()
def separation(
    metrics: Mapping[str, MetricNet], regressors: Regressors, features: Tensor, labels: Tensor, attributes: Tensor
) -> dict[str, float]:
    """The accuracy by the nearest class mean in each space of SPACES.

    Images of classes with a single image are left out.

    metrics: the metric networks that were trained with "TL" and with "MMTL".  features: of unseen images [N, D], in the
    form that networks take.  labels: [N].  attributes: of all classes [C, A].
    """
    classes, count = labels.unique(return_counts=True)
    classes = classes[count > 1]
    kept = torch.isin(labels, classes)
    features, labels = features[kept], labels[kept]

    def accuracy(points: Tensor) -> float:
        return nearest_mean_accuracy(squared_distances_to_means(points, labels, classes), labels, classes)

    own = attributes[labels]
    of_candidates = candidate_distances(metrics["MMTL"], features, labels, attributes, classes)
    return {
        "tl": accuracy(metrics["TL"](features, own)),
        "mmtl own": accuracy(metrics["MMTL"](features, own)),
        "mmtl candidates": nearest_mean_accuracy(of_candidates, labels, classes),
        "f2": accuracy(regressors.representations(features)),
    }
