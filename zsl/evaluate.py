"""Scores, and the only reader of a TestSplit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from zsl.features import TestSplit

Record = Callable[[dict[str, Any]], None]  # what is done with the note that test rows were opened


class ZeroShotModel(Protocol):
    """What can be scored: class scores [N, n] for features [N, D], higher is likelier.

    `classes` are the ids of the columns: `zsl_classes` the unseen ones, `gzsl_classes` seen and unseen.
    """

    zsl_classes: Tensor
    gzsl_classes: Tensor

    def zsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, U]."""

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Fractions in [0, 1]; every accuracy is a mean over classes, not over images (eq. 11)."""

    acc_zsl: float  # T1: unseen images, unseen labels only
    acc_unseen: float  # U: unseen images, all labels
    acc_seen: float  # S: test_seen images, all labels
    harmonic: float  # H


def per_class_top1(predicted: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """Share of each class's images that is predicted right [n] (eq. 11 before the mean).

    predicted, labels: class ids [N]; classes: ids [n], each with at least one image.
    """
    of_class = labels[None, :] == classes[:, None]
    count = of_class.sum(dim=1)
    if bool((count == 0).any()):
        raise ValueError(f"class {int(classes[count == 0][0])} has no test image; its accuracy is undefined")
    return (of_class & (predicted == labels)[None, :]).sum(dim=1) / count


def harmonic_mean(seen: float, unseen: float) -> float:
    """H = 2 S U / (S + U), 0 if both are 0."""
    return 2 * seen * unseen / (seen + unseen) if seen + unseen > 0 else 0.0


def say(note: dict[str, Any]) -> None:
    """A Record that puts the note into the program's log."""
    logging.getLogger(__name__).info("test rows opened: %s", note)


@torch.no_grad()
def evaluate(model: ZeroShotModel, test: TestSplit, record: Record = say) -> Scores:
    """ZSL and GZSL accuracies of a trained model; nothing here goes back into training.

    Before anything is scored, `record` is told which test rows are opened: {"test_seen": {"count", "hash"}, …}.  So a
    second look at them leaves a trace, whatever became of the first one.
    """
    record({"test_seen": test.seen.facts, "test_unseen": test.unseen.facts})

    def accuracy(scores: Tensor, columns: Tensor, labels: Tensor) -> float:
        return per_class_top1(columns[scores.argmax(dim=1)], labels, labels.unique()).mean().item()

    unseen, seen = test.unseen, test.seen
    acc_unseen = accuracy(model.gzsl_scores(unseen.features), model.gzsl_classes, unseen.labels)
    acc_seen = accuracy(model.gzsl_scores(seen.features), model.gzsl_classes, seen.labels)
    return Scores(
        acc_zsl=accuracy(model.zsl_scores(unseen.features), model.zsl_classes, unseen.labels),
        acc_unseen=acc_unseen,
        acc_seen=acc_seen,
        harmonic=harmonic_mean(acc_seen, acc_unseen),
    )
