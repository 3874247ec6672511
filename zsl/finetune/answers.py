"""What a method says about a fold's photos, with the features of one share of tuned weights."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from zsl.common.tensors import read_tensors, write_tensors
from zsl.scores.curves import Curve, seen_margins
from zsl.scores.details import Details
from zsl.scores.summary import curve_of
from zsl.scores.units import Judged, Yardstick

REMEDY = "delete it, and the same command makes it anew"
SEEN_PART = (
    "seen_rows",
    "seen_labels",
    "seen_predicted",
    "seen_scores",
)  # fields of Details


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """A model's answers for a fold's held-out photos, and its logit gap on the photos that it was fitted to."""

    details: Details
    alg: float

    @property
    def curve(self) -> Curve:
        """The seen-unseen curve of all held-out photos."""
        return curve_of(self.details)

    @property
    def yardstick(self) -> Yardstick:
        """The margins of all held-out seen photos, and the logit gap."""
        is_seen = ~torch.isin(self.details.gzsl_classes, self.details.zsl_classes)
        return Yardstick(margins=seen_margins(self.details.seen_scores, is_seen), alg=self.alg)

    def halves(self) -> tuple[Answers, Answers]:
        """The same with every second held-out photo of seen classes, in the order of these, and with the others."""
        first = _every_second(self.details.seen_labels)
        return tuple(replace(self, details=_seen_photos(self.details, part)) for part in (first, ~first))  # type: ignore[return-value]

    def save(self, path: Path) -> None:
        """Write the answers as safetensors."""
        write_tensors(path, {**vars(self.details), "alg": torch.tensor(self.alg, dtype=torch.float64)})


def load_answers(path: Path) -> Answers:
    """Read the answers in the file `path`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is broken, or holds something else.
    """
    tensors, _ = read_tensors(path, REMEDY)
    if tensors.keys() != {"alg", *(field.name for field in fields(Details))}:
        raise ValueError(f"{path} holds other tensors than the answers of a model; {REMEDY}")
    return Answers(alg=float(tensors.pop("alg")), details=Details(**tensors))


def judged_halves(fold: int, answers: Answers) -> list[Judged]:
    """Either half of the held-out seen photos on a curve, with a yardstick of the other half.

    So no photo is on a curve whose γ its own margin has chosen.
    """
    first, second = answers.halves()
    return [
        Judged(fold=fold, curve=one.curve, yardstick=other.yardstick)
        for one, other in ((first, second), (second, first))
    ]


def _every_second(labels: Tensor) -> Tensor:
    """A mask [N] of the photos at the places 0, 2, 4, … in the order of their classes."""
    mask = torch.zeros(len(labels), dtype=torch.bool)
    mask[labels.argsort(stable=True)[::2]] = True
    return mask


def _seen_photos(details: Details, mask: Tensor) -> Details:
    return replace(details, **{name: getattr(details, name)[mask] for name in SEEN_PART})
