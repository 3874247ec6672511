"""The only reader of a TestSplit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

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
    """
    record({"test_seen": asdict(test.seen.facts), "test_unseen": asdict(test.unseen.facts)})
    seen, unseen = test.seen, test.unseen
    seen_scores, unseen_scores = model.gzsl_scores(seen.features), model.gzsl_scores(unseen.features)
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
        unseen_zsl_predicted=model.zsl_classes[model.zsl_scores(unseen.features).argmax(dim=1)].cpu(),
        gamma=getattr(model, "gamma", torch.zeros(())).cpu(),  # of a Calibrated model; no other has any
    )


def open_for_figures(test: TestSplit, record: Record) -> LabelledFeatures:
    """The test images of unseen classes, to be shown and to choose nothing; `record` is told that they were opened."""
    record({"test_unseen": asdict(test.unseen.facts), "purpose": "figures"})
    return test.unseen


def _rows(part: LabelledFeatures) -> Tensor:
    return torch.empty(0, dtype=torch.int64) if part.rows is None else torch.as_tensor(part.rows, dtype=torch.int64)
