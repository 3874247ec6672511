"""From scores to an Answer: the likeliest classes, and why the first of them."""

from __future__ import annotations

from torch import Tensor

from zsl.dcrgan.evidence import attribute_evidence, strongest, usual_strengths
from zsl.predict.answers import Answer, Choice, Evidence, Vote
from zsl.predict.predictor import SPACES, Predictor, Scored


def explain(
    predictor: Predictor, scored: Scored, row: int, name: str, notes: tuple[str, ...], *, top: int, number: int
) -> Answer:
    """The Answer of one photo.

    row: the photo's in `scored`.  notes: what was done to the photo.  top: so many classes.  number: so many attributes
    that speak for the first class, and as many against it.
    """
    order = scored.scores[row].argsort(descending=True, stable=True).tolist()
    speak_for, speak_against = _evidence(predictor, scored.attributes[row], order[0], number)
    return Answer(
        photo=name,
        notes=notes,
        classes=_choices(predictor, scored.scores[row], order[:top]),
        votes=_votes(predictor, scored, row, order[0], order[1]),
        attributes_for=speak_for,
        attributes_against=speak_against,
    )


def _choices(predictor: Predictor, scores: Tensor, columns: list[int]) -> tuple[Choice, ...]:
    """The classes of `columns` with their probabilities; scores: of all classes [K]."""
    names, shown, kinds = predictor.class_names, predictor.shown_names, predictor.kinds
    probabilities = scores.double().softmax(0)
    return tuple(
        Choice(
            name=names[k], shown=shown[k], kind=kinds[k], probability=probabilities[k].item(), score=scores[k].item()
        )
        for k in columns
    )


def _votes(predictor: Predictor, scored: Scored, row: int, first: int, second: int) -> tuple[Vote, ...]:
    """The part of each space, and of the calibration, in the scores of the first and the second class."""
    names = predictor.shown_names
    terms = [*zip(SPACES, scored.votes[:, row], strict=True), ("calibration", scored.calibration)]
    return tuple(
        Vote(
            space=space,
            top=names[int(votes.argmax())] if space in SPACES and bool(votes.any()) else None,
            contribution=votes[first].item(),
            margin=(votes[first] - votes[second]).item(),
        )
        for space, votes in terms
    )


def _evidence(
    predictor: Predictor, photo: Tensor, column: int, number: int
) -> tuple[tuple[Evidence, ...], tuple[Evidence, ...]]:
    """The attributes that speak for the class of `column`, and those that speak against it.

    photo: strengths [A] that F1 reads, in the units of the run's attributes.
    """
    train = predictor.train
    scaler = next(iter(predictor.models.values())).model.synthesizer.attribute_scaler
    of_class = train.attributes[predictor.classes[column]]
    usual = usual_strengths(scaler(train.attributes), train.seen)
    evidence = attribute_evidence(scaler(photo), scaler(of_class), usual)
    names = predictor.attribute_names
    strengths = scaler.undo(usual)  # of the mean of scaled attributes, so that no sign of the evidence turns over

    def item(k: int) -> Evidence:
        return Evidence(
            name=names[k], photo=photo[k].item(), of_class=of_class[k].item(),
            usual=strengths[k].item(), weight=evidence[k].item(),
        )  # fmt: skip

    leading = strongest(evidence, number)
    return tuple(map(item, leading.speak_for)), tuple(map(item, leading.speak_against))
