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

Note = dict[str, Any]  # a note that test rows were opened: which rows, and for what
Record = Callable[[Note], None]  # keeps a note


def say(note: Note) -> None:
    """Put the note into the program's log: a Record."""
    logging.getLogger(__name__).info("test rows opened: %s", note)


def evaluate(model: ZeroShotModel, test: TestSplit, record: Record = say) -> Scores:
    """Compute the ZSL and GZSL accuracies of a trained model; nothing here goes back into training."""
    return scores_of(evaluate_details(model, test, record))


@torch.no_grad()
def evaluate_details(model: ZeroShotModel, test: TestSplit, record: Record = say) -> Details:
    """Return a trained model's answers for each test image; `scores_of` computes Scores from them.

    Before that, `record` gets a note of the test rows: {"test_seen": {"count", "hash"}, …}.  So each look at test rows
    leaves a trace, even if the scoring fails.
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
        gamma=getattr(model, "gamma", torch.zeros(())).cpu(),  # only a Calibrated model has one
    )


def open_for_figures(test: TestSplit, record: Record) -> LabelledFeatures:
    """Return the test images of unseen classes for figures, not for choices; `record` gets a note of it."""
    record({"test_unseen": asdict(test.unseen.facts), "purpose": "figures"})
    return test.unseen


def _rows(part: LabelledFeatures) -> Tensor:
    return torch.empty(0, dtype=torch.int64) if part.rows is None else torch.as_tensor(part.rows, dtype=torch.int64)
