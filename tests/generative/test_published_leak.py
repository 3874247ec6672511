"""GDAN's published S: nearest neighbours among features that hold the test images, and why that cannot happen here."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from toy import DIM, SEEN, toy_splits, toy_table

from zsl.generative.neighbours import Neighbours
from zsl.scores.per_class import per_class_top1

TRAIN_CLASSES = 12  # of the official validation split; the other seen classes are its validation classes


def acc_seen(features: Tensor, labels: Tensor, train_loc: np.ndarray, test_seen_loc: np.ndarray) -> float:
    """S of the nearest neighbour among the features of `train_loc`, which are of the training classes."""
    model = Neighbours(features[train_loc], labels[train_loc], 1, "euclidean")
    predicted = model(features[test_seen_loc]).argmax(dim=1)
    return float(per_class_top1(predicted, labels[test_seen_loc], torch.arange(SEEN)).mean())


def test_the_published_s_is_the_share_of_training_classes_among_the_seen_ones() -> None:
    """`train_loc` of the circulating files holds all images of the training classes, with those of test_seen.

    The features are noise: nothing can be learned from them, and S is what it is in the published table.
    """
    table, splits = toy_table()
    labels = torch.from_numpy(np.asarray(table.labels))
    noise = torch.randn(len(labels), DIM, generator=torch.Generator().manual_seed(0))
    all_seen = np.concatenate([splits.trainval_loc, splits.test_seen_loc])
    leaky, clean = (loc[labels.numpy()[loc] < TRAIN_CLASSES] for loc in (all_seen, splits.trainval_loc))
    assert acc_seen(noise, labels, leaky, splits.test_seen_loc) == TRAIN_CLASSES / SEEN
    assert acc_seen(noise, labels, clean, splits.test_seen_loc) < 3 / SEEN


def test_no_row_of_a_test_reaches_training() -> None:
    _, splits = toy_table()
    rows = set(toy_splits()[0].rows.tolist())
    assert rows == set(splits.trainval_loc.tolist())
    assert not rows & {*splits.test_seen_loc.tolist(), *splits.test_unseen_loc.tolist()}
