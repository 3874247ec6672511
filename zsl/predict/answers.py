"""What is said about one photo, as data and as text."""

from __future__ import annotations

from dataclasses import dataclass

from zsl.predict.photos import printable

PROBABILITIES = "softmax of the fused scores: an order with a scale, not calibrated; expect them to be too sure"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One class of an answer."""

    name: str
    kind: str  # seen, unseen or new
    probability: float
    score: float  # fused


@dataclass(frozen=True, kw_only=True)
class Vote:
    """What one space says; a space of weight 0 votes without being counted."""

    space: str  # VS, SS or SRS; calibration: what γ takes off seen classes
    top: str | None  # the class that this space alone would give
    contribution: float  # to the answer's fused score
    margin: float  # the same minus that to the second class's: below 0 it speaks for the second


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One attribute of an answer; strengths in the units of the run's attributes."""

    name: str
    photo: float  # as F1 reads it from the photo
    of_class: float  # of the answer's class
    usual: float  # mean of the seen classes
    weight: float  # (photo - usual)(of_class - usual) of scaled attributes: above 0 it speaks for the class


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All that is said about one photo."""

    photo: str
    notes: tuple[str, ...]  # what was done to it
    classes: tuple[Choice, ...]  # the likeliest first
    votes: tuple[Vote, ...]
    attributes_for: tuple[Evidence, ...]  # the strongest first
    attributes_against: tuple[Evidence, ...]


def as_text(answer: Answer) -> str:
    """An answer as a table for a terminal."""
    lines = [f"{answer.photo}" + "".join(f"  ({note})" for note in answer.notes)]
    lines += [f"  {100 * choice.probability:5.1f} %  {choice.name} ({choice.kind})" for choice in answer.classes]
    lines.append(f"  {'space':<11} {'lead':>8}  alone it would say")
    for vote in answer.votes:
        lines.append(f"  {vote.space:<11} {vote.margin:+8.2f}  {vote.top or ''}".rstrip())
    for word, evidence in (("for", answer.attributes_for), ("against", answer.attributes_against)):
        lines.append(f"  {word:<11} " + (", ".join(item.name for item in evidence) or "nothing"))
    return "\n".join(map(printable, lines))
