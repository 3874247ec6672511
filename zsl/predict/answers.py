"""The answer about one photo, as data and as text."""

from __future__ import annotations

from dataclasses import dataclass

from zsl.predict.photos import printable

PROBABILITIES = "softmax of the fused scores: an order with a scale, not calibrated; expect them to be too sure"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One class of an answer."""

    name: str  # of the split file
    shown: str  # the name for readers
    kind: str  # seen, unseen or new
    probability: float
    score: float  # fused


@dataclass(frozen=True, kw_only=True)
class Vote:
    """The part of one space in the scores; a space of weight 0 votes without being counted."""

    space: str  # VS, SS or SRS; or calibration, which takes γ off seen classes
    top: str | None  # the class that this space alone would give, by its name for readers
    contribution: float  # to the fused score of the answer's first class
    margin: float  # this contribution minus that to the second class; below 0 the space speaks for the second


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One attribute of an answer; its strengths are in the units of the run's attributes."""

    name: str
    photo: float  # the strength that F1 reads from the photo
    of_class: float  # the strength of the answer's first class
    usual: float  # the mean strength of the seen classes
    weight: float  # `zsl.dcrgan.evidence`: above 0 where the attribute speaks for the class

    @property
    def in_words(self) -> str:
        """The attribute, or `no …` where the photo has less of it than the seen classes on average."""
        return self.name if self.photo > self.usual else f"no {self.name}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All that a predictor says about one photo."""

    photo: str  # its name
    notes: tuple[str, ...]  # what was done to it
    classes: tuple[Choice, ...]  # the likeliest first
    votes: tuple[Vote, ...]
    attributes_for: tuple[Evidence, ...]  # the strongest first, for the first class
    attributes_against: tuple[Evidence, ...]


def as_text(answer: Answer) -> str:
    """The answer as a table for a terminal."""
    lines = [f"{answer.photo}" + "".join(f"  ({note})" for note in answer.notes)]
    lines += [f"  {100 * choice.probability:5.1f} %  {choice.shown} ({choice.kind})" for choice in answer.classes]
    lines.append(f"  {'space':<11} {'lead':>8}  alone it would say")
    for vote in answer.votes:
        lines.append(f"  {vote.space:<11} {vote.margin:+8.2f}  {vote.top or ''}".rstrip())
    for word, evidence in (("for", answer.attributes_for), ("against", answer.attributes_against)):
        lines.append(f"  {word:<11} " + (", ".join(item.in_words for item in evidence) or "nothing"))
    return "\n".join(map(printable, lines))
