"""The only reader of a TestSplit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zsl.common.room import make_room, pieces
from zsl.features.split import LabelledFeatures, TestSplit
from zsl.scores.details import Details
from zsl.scores.model import BrokenMethod, ZeroShotModel, ask, check_parts, check_shape, needs_copies
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
        BrokenMethod: the model lacks a part, the classes of its columns are not those of the test, its scores have
            another shape, or a user's own method cannot compute them.
        FloatingPointError: a feature is not finite, a score is NaN or +inf, or all scores of an image are −inf; the
            message names the row.
    """
    check_parts(model)
    check_classes(model, test)
    if isinstance(model, nn.Module):
        model.eval()  # a dropout that goes on would score other features than those of the images
    record({"test_seen": asdict(test.seen.facts), "test_unseen": asdict(test.unseen.facts)})
    seen, unseen = test.seen, test.unseen
    for part, name in ((seen, "test_seen"), (unseen, "test_unseen")):
        check_finite(part.features, part.rows, f"features of {name}")
    gzsl, zsl = (model.gzsl_scores, model.gzsl_classes), (model.zsl_scores, model.zsl_classes)
    score = partial(score_in_pieces, copies=needs_copies(model))
    seen_scores, seen_predicted = score(*gzsl, seen, "GZSL scores of test_seen")
    unseen_scores, unseen_predicted = score(*gzsl, unseen, "GZSL scores of test_unseen")
    check_possible(seen_scores, seen.rows, "GZSL scores of test_seen")
    check_possible(unseen_scores, unseen.rows, "GZSL scores of test_unseen")
    _, zsl_predicted = score(*zsl, unseen, "ZSL scores of test_unseen", keep=False)
    return Details(
        zsl_classes=model.zsl_classes.cpu(),
        gzsl_classes=model.gzsl_classes.cpu(),
        seen_rows=_rows(seen),
        seen_labels=seen.labels.cpu(),
        seen_predicted=seen_predicted,
        seen_scores=seen_scores,
        unseen_rows=_rows(unseen),
        unseen_labels=unseen.labels.cpu(),
        unseen_predicted=unseen_predicted,
        unseen_scores=unseen_scores,
        unseen_zsl_predicted=zsl_predicted,
        gamma=getattr(model, "gamma", torch.zeros(())).cpu(),  # of a Calibrated model; no other has any
    )


def check_classes(model: ZeroShotModel, test: TestSplit) -> None:
    """Check that the classes of a model's columns are those of the test.

    Ids of other classes, such as positions among the unseen ones, would give numbers that look like scores.

    Raises:
        BrokenMethod: they are others.
    """
    gzsl, zsl = model.gzsl_classes.cpu(), model.zsl_classes.cpu()
    _refuse_classes(zsl, test.unseen.labels.cpu(), "zsl_classes", "test_unseen")
    _refuse_classes(gzsl, zsl, "gzsl_classes", "zsl_classes")
    seen = gzsl[~torch.isin(gzsl, zsl)]
    _refuse_classes(seen, test.seen.labels.cpu(), "gzsl_classes that are not zsl_classes", "test_seen")


def _refuse_classes(has: Tensor, needs: Tensor, name: str, whose: str) -> None:
    """Refuse classes `has` [n] that lack one of `needs` [m]."""
    absent = needs[~torch.isin(needs, has)]
    if len(absent):
        raise BrokenMethod(
            f"the model's {name} lack class {int(absent[0])} of {whose}; needed are the class ids `unseen` and `seen` "
            "of the TrainSplit (docs/own-method.md)"
        )


def score_in_pieces(
    scores_of: Callable[[Tensor], Tensor],
    classes: Tensor,
    part: LabelledFeatures,
    what: str,
    *,
    keep: bool = True,
    copies: bool = True,
) -> tuple[Tensor, Tensor]:
    """Score the images of `part` in pieces: scores [N, n] float32, and the predicted one of the `classes` [n], [N].

    Both are on the CPU.  A benchmark of common size is one piece.  A model may hold several matrices with a row for
    each image of a piece.  Of all images together only the scores are held, and without `keep` not even these.
    copies: as in `ask`.

    Raises:
        BrokenMethod: the scores have another shape, or a user's own method cannot compute them.
        FloatingPointError: a score is NaN or +inf; the message names the row.
    """
    count = len(part.features)
    predicted, kept = torch.empty(count, dtype=classes.dtype), make_room(count, len(classes) if keep else 0)
    for some in pieces(count, 4 * len(classes)):
        features = part.features[some]
        scores = ask(scores_of, features, copies=copies)
        check_shape(scores, len(features), classes, what)
        check_scores(scores, None if part.rows is None else part.rows[some], what)
        predicted[some] = classes[scores.argmax(dim=1)].cpu()
        if keep:
            kept[some] = scores.float().cpu()
    return kept, predicted


def check_finite(values: Tensor, rows: Sequence[int] | np.ndarray | None, what: str) -> None:
    """Refuse values [N, n] of which one is not finite; rows: official numbers of the N rows, where they are known.

    Raises:
        FloatingPointError: one is not; the message names the first such row.
    """
    remedy = "finite values are needed: extract these features anew"
    bad = ~(values.amin(dim=1).isfinite() & values.amax(dim=1).isfinite())  # by row, for [N, n] flags take memory
    _refuse(bad, lambda row: ~row.isfinite(), values, rows, what, remedy)


def check_scores(scores: Tensor, rows: Sequence[int] | np.ndarray | None, what: str) -> None:
    """Refuse scores [N, n] of which one is NaN or +inf; −inf says that a class is impossible.

    Raises:
        FloatingPointError: one is; the message names the first such row.
    """
    remedy = "a score is a number, or −inf for an impossible class: look at the method's training"
    best = scores.amax(dim=1)  # NaN where one is
    _refuse(best.isnan() | best.isposinf(), lambda row: row.isnan() | row.isposinf(), scores, rows, what, remedy)


def check_possible(scores: Tensor, rows: Sequence[int] | np.ndarray | None, what: str) -> None:
    """Refuse scores [N, n] of which a row is −inf for all classes: it has no answer, and no γ gives it one.

    Raises:
        FloatingPointError: a row is so; the message names the first one.
    """
    remedy = "one class at least must be possible: look at the method's training"
    _refuse(scores.amax(dim=1).isneginf(), lambda row: row.isneginf(), scores, rows, what, remedy)


def _refuse(
    bad: Tensor,
    broken: Callable[[Tensor], Tensor],
    values: Tensor,
    rows: Sequence[int] | np.ndarray | None,
    what: str,
    remedy: str,
) -> None:
    """Refuse `values` [N, n] of which rows are `bad` [N]; broken: which values of a row [n] are so."""
    if bad.any():
        first = int(bad.nonzero()[0])
        name = f"row {first} of them" if rows is None or len(rows) == 0 else f"row {int(rows[first])}"
        value = float(values[first][broken(values[first])][0])
        raise FloatingPointError(f"{what}: {name} has {value}, and {int(bad.sum())} rows are so; {remedy}")


def open_for_figures(test: TestSplit, record: Record) -> LabelledFeatures:
    """The test images of unseen classes, to be shown and to choose nothing; `record` is told that they were opened."""
    record({"test_unseen": asdict(test.unseen.facts), "purpose": "figures"})
    return test.unseen


def _rows(part: LabelledFeatures) -> Tensor:
    return torch.empty(0, dtype=torch.int64) if part.rows is None else torch.as_tensor(part.rows, dtype=torch.int64)
