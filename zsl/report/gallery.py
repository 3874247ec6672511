"""Photos of unseen classes with the model's three likeliest classes, and the attributes that speak for and against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from zsl.dcrgan.evidence import strongest
from zsl.report.context import Context
from zsl.report.readings import Readings, read_attributes, why_no_readings
from zsl.report.runs import ReportRun
from zsl.report.thumbnails import thumbnails
from zsl.scores.details import Details

CLASSES = 12  # unseen classes whose photos are shown
LIKELIEST = 3  # classes beside a photo
ATTRIBUTES = 3  # that speak for a class, and as many that speak against it

Speaking = tuple[tuple[str, ...], tuple[str, ...]]  # names of attributes for a class, and against it


@dataclass(frozen=True)
class LikelyClass:
    """One of the likeliest classes of a photo, and the attributes that speak for it and against it."""

    name: str
    is_seen: bool
    is_right: bool
    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """One photo."""

    row: int
    class_name: str
    is_right: bool
    photo: str  # data URI
    answers: tuple[LikelyClass, ...]


def make_gallery(run: ReportRun, context: Context) -> tuple[list[Card], list[str]]:
    """Cards of the first seed's answers, and notes on what could not be shown.

    Each of the first CLASSES unseen classes has its first photo, by row, with a right answer, and its first with a
    wrong one.
    """
    details = run.first
    if details is None or context.index is None:
        return [], []
    if len(details.unseen_rows) != len(details.unseen_labels):
        return [], ["The run does not say which rows it was tested on, so there is no gallery."]
    positions = choose(details)
    rows = details.unseen_rows[positions]
    photos = thumbnails(context, rows.tolist())
    reason = why_no_readings(run, context)
    readings = read_attributes(run, context, rows) if reason is None else None
    if reason is None and readings is None:
        reason = "The features have other test rows than the run, so no attributes are shown."
    notes = [] if reason is None else [reason]
    if len(photos) < len(positions):
        notes.append(f"{len(positions) - len(photos)} photos of the gallery are not in the shards or cannot be read.")
    cards = [
        _card(details, position, photos[row], context, partial(speaking_attributes, readings, number, context))
        for number, (position, row) in enumerate(zip(positions, rows.tolist(), strict=True))
        if row in photos
    ]
    return cards, notes


def choose(details: Details, classes: int = CLASSES) -> list[int]:
    """Positions of the images shown: each class's first right and its first wrong one, by row."""
    positions = []
    for class_id in details.unseen_labels.unique().tolist()[:classes]:
        of_class = (details.unseen_labels == class_id).nonzero().squeeze(1)
        of_class = of_class[details.unseen_rows[of_class].argsort()]
        right = details.unseen_predicted[of_class] == class_id
        positions += [int(part[0]) for part in (of_class[right], of_class[~right]) if len(part)]
    return positions


def speaking_attributes(readings: Readings | None, photo: int, context: Context, class_id: int) -> Speaking:
    """Names of the attributes of a photo that speak for a class, and of those that speak against it, strongest first.

    photo: its number in `readings`; without readings no attribute speaks.  An attribute that the photo has less of than
    usual is `no …`.
    """
    if readings is None:
        return (), ()

    def word(attribute: int) -> str:
        name = context.attribute_name(attribute)
        return name if readings.is_more_than_usual(photo, attribute) else f"no {name}"

    leading = strongest(readings.evidence(photo, class_id), ATTRIBUTES)
    return tuple(map(word, leading.speak_for)), tuple(map(word, leading.speak_against))


def _card(details: Details, position: int, photo: str, context: Context, speaking: Callable[[int], Speaking]) -> Card:
    """The card of the image at `position` in the unseen part of `details`; speaking: attributes by class id."""
    truth = int(details.unseen_labels[position])
    likeliest = details.unseen_scores[position].topk(min(LIKELIEST, len(details.gzsl_classes))).indices
    answers = []
    for class_id in details.gzsl_classes[likeliest].tolist():
        speaks_for, speaks_against = speaking(class_id)
        is_seen = not bool((details.zsl_classes == class_id).any())
        answers.append(
            LikelyClass(context.class_name(class_id), is_seen, class_id == truth, speaks_for, speaks_against)
        )
    is_right = int(details.unseen_predicted[position]) == truth
    return Card(int(details.unseen_rows[position]), context.class_name(truth), is_right, photo, tuple(answers))
