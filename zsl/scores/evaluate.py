"""The only reader of a TestSplit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zsl.features.split import LabelledFeatures, TestSplit
from zsl.scores.details import Details
from zsl.scores.model import ZeroShotModel
from zsl.scores.summary import Scores, scores_of

Note = dict[str, Any]  # that test rows were opened: which, and what for
Record = Callable[[Note], None]  # keeps it


def say(note: Note) -> None:
    """A Record that puts the note into the program's log."""
    logging.getLogger(__name__).info("test rows opened: %s", note)


def evaluate(model: ZeroShotModel, test: TestSplit, record: Record = say) -> Scores:
    """ZSL and GZSL accuracies of a trained model; nothing here goes back into training."""
    return scores_of(evaluate_details(model, test, record))


@torch.no_grad()
def evaluate_details(model: ZeroShotModel, test: TestSplit, record: Record = say) -> Details:
    """What a trained model says about each test image; `scores_of` makes Scores of it.

    Before anything is scored, `record` is told which test rows are opened: {"test_seen": {"count", "hash"}, …}.  So a
    second look at them leaves a trace, whatever became of the first one.

    Raises:
        FloatingPointError: a feature is not finite, or a score is NaN or +inf; the message names the row.
    """
    record({"test_seen": asdict(test.seen.facts), "test_unseen": asdict(test.unseen.facts)})
    seen, unseen = test.seen, test.unseen
    for part, name in ((seen, "test_seen"), (unseen, "test_unseen")):
        check_finite(part.features, part.rows, f"features of {name}")
    seen_scores, unseen_scores = model.gzsl_scores(seen.features), model.gzsl_scores(unseen.features)
    zsl_scores = model.zsl_scores(unseen.features)
    check_scores(seen_scores, seen.rows, "GZSL scores of test_seen")
    check_scores(unseen_scores, unseen.rows, "GZSL scores of test_unseen")
    check_scores(zsl_scores, unseen.rows, "ZSL scores of test_unseen")
    return Details(
        zsl_classes=model.zsl_classes.cpu(),
        gzsl_classes=model.gzsl_classes.cpu(),
        seen_rows=_rows(seen),
        seen_labels=seen.labels.cpu(),
        seen_predicted=model.gzsl_classes[seen_scores.argmax(dim=1)].cpu(),
        seen_scores=seen_scores.float().cpu(),
        unseen_rows=_rows(unseen),
        unseen_labels=unseen.labels.cpu(),
        unseen_predicted=model.gzsl_classes[unseen_scores.argmax(dim=1)].cpu(),
        unseen_scores=unseen_scores.float().cpu(),
        unseen_zsl_predicted=model.zsl_classes[zsl_scores.argmax(dim=1)].cpu(),
        gamma=getattr(model, "gamma", torch.zeros(())).cpu(),  # of a Calibrated model; no other has any
    )


def check_finite(values: Tensor, rows: Sequence[int] | np.ndarray | None, what: str) -> None:
    """Refuse values [N, n] of which one is not finite; rows: official numbers of the N rows, where they are known.

    Raises:
        FloatingPointError: one is not; the message names the first such row.
    """
    _refuse(~values.isfinite(), values, rows, what, "finite values are needed: extract these features anew")


def check_scores(scores: Tensor, rows: Sequence[int] | np.ndarray | None, what: str) -> None:
    """Refuse scores [N, n] of which one is NaN or +inf; −inf says that a class is impossible.

    Raises:
        FloatingPointError: one is; the message names the first such row.
    """
    remedy = "a score is a number, or −inf for an impossible class: look at the method's training"
    _refuse(scores.isnan() | scores.isposinf(), scores, rows, what, remedy)


def _refuse(broken: Tensor, values: Tensor, rows: Sequence[int] | np.ndarray | None, what: str, remedy: str) -> None:
    bad = broken.any(dim=1)
    if bad.any():
        first = int(bad.nonzero()[0])
        name = f"row {first} of them" if rows is None or len(rows) == 0 else f"row {int(rows[first])}"
        value = float(values[first][broken[first]][0])
        raise FloatingPointError(f"{what}: {name} has {value}, and {int(bad.sum())} rows are so; {remedy}")


def open_for_figures(test: TestSplit, record: Record) -> LabelledFeatures:
    """The test images of unseen classes, to be shown and to choose nothing; `record` is told that they were opened."""
    record({"test_unseen": asdict(test.unseen.facts), "purpose": "figures"})
    return test.unseen


def _rows(part: LabelledFeatures) -> Tensor:
    return torch.empty(0, dtype=torch.int64) if part.rows is None else torch.as_tensor(part.rows, dtype=torch.int64)
