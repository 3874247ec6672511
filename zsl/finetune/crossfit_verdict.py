"""What the class folds of a cross-fitting say: tune or not, how much of the new weights, and which γ.

The verdict is on AUSUC, which no γ changes.  The share of new weights is chosen for each fold on the other folds, so
that the gain is not that of the luckiest share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from zsl.common.records import read_record
from zsl.finetune.answers import Answers, judged_halves
from zsl.scores.bootstrap import Interval, ausuc_difference
from zsl.scores.details import Details
from zsl.scores.folds import FoldScores, score_folds
from zsl.scores.units import UNITS, Judged, harmonic_lost, value_in

CROSSFIT_FILE = "crossfit.json"
TUNE, SAME, WORSE = "tune", "no difference: keep the frozen weights", "worse: keep the frozen weights"
NEEDS_PHOTOS = ("spread", "share")  # units that need seen photos which the final weights do not know

OfFolds = Mapping[int, Answers]  # by the number of the fold


@dataclass(frozen=True, kw_only=True)
class ShareScores:
    """Scores on the folds with one share of the tuned weights."""

    share: float
    scores: FoldScores


@dataclass(frozen=True, kw_only=True)
class UnitScores:
    """How well γ travels between folds in one unit."""

    unit: str
    value: float  # the number of units with the highest mean H over all folds
    harmonic_lost: float  # H below the fold's best γ where the other folds choose; mean over folds


@dataclass(frozen=True, kw_only=True)
class CrossfitVerdict:
    """The content of `crossfit.json`; scores are fractions, mean over folds."""

    verdict: str
    gain: Interval  # of AUSUC over the frozen weights; each fold's share was chosen on the other folds
    share: float  # of the tuned weights in their mean with the frozen ones
    frozen: FoldScores
    shares: tuple[ShareScores, ...]
    unit: str  # of γ, which a final γ is made from
    value: float  # γ in this unit
    units: tuple[UnitScores, ...]
    harmonic_frozen: float  # H at the γ that the other folds choose, in the unit that loses least for these weights
    harmonic_tuned: float  # likewise; each fold's share was chosen on the other folds
    folds: int
    left_out: tuple[int, ...]  # number of classes that play unseen, of each fold
    judge: str
    epochs: int

    def text(self) -> str:
        """For a terminal: verdict, gain, and what was chosen how."""
        gain, at_share = self.gain, next(each.scores for each in self.shares if each.share == self.share)
        units = ", ".join(f"{each.unit} {100 * each.harmonic_lost:.1f}" for each in self.units)
        return (
            f"{self.verdict}: AUSUC on {sum(self.left_out)} left-out classes of {self.folds} folds "
            f"{100 * self.frozen.ausuc:.1f} frozen, {100 * at_share.ausuc:.1f} with share {self.share:g} of the tuned "
            f"weights; gain {100 * gain.difference:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] with each "
            "fold's share chosen on the other folds\n"
            f"H at the γ of the other folds {100 * self.harmonic_frozen:.1f} frozen, {100 * self.harmonic_tuned:.1f} "
            f"tuned; T1 {100 * self.frozen.acc_zsl:.1f}, {100 * at_share.acc_zsl:.1f} ({self.judge}, {self.epochs} "
            f"epochs)\nγ travels in the unit {self.unit} ({self.value:.3g}); H lost by unit: {units}"
        )


def read_crossfit(path: Path) -> CrossfitVerdict:
    """The verdict that a cross-fitting wrote to `path`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a field is absent or of another type; the message names file and field.
    """
    return read_record(path, CrossfitVerdict, "fine-tune anew, or put the file back")


def conclude(
    frozen: OfFolds, tuned: Mapping[float, OfFolds], *, held_out: bool, judge: str, epochs: int
) -> CrossfitVerdict:
    """Decide from the answers of each fold with frozen weights, and with each share of the tuned ones.

    held_out: whether the final weights leave seen photos out, so that γ can be measured on these.  A unit in which a
    model has no γ, because all its margins or logits are equal, is left out.
    """
    nested = {fold: tuned[best_share(tuned, [other for other in frozen if other != fold])][fold] for fold in frozen}
    gain = ausuc_difference(_details(frozen), _details(nested))
    share = best_share(tuned, list(frozen))
    scores = [_unit_scores(unit, _judged(tuned[share])) for unit in UNITS]
    units = [each for each in scores if isfinite(each.value) and isfinite(each.harmonic_lost)]
    usable = [each for each in units if held_out or each.unit not in NEEDS_PHOTOS]
    best = min(usable, key=lambda each: each.harmonic_lost)
    names = [each.unit for each in usable]
    return CrossfitVerdict(
        verdict=verdict_on(gain),
        gain=gain,
        share=share,
        frozen=score_folds(_details(frozen)),
        shares=tuple(ShareScores(share=s, scores=score_folds(_details(tuned[s]))) for s in sorted(tuned)),
        unit=best.unit,
        value=best.value,
        units=tuple(units),
        harmonic_frozen=_travelled_harmonic(_judged(frozen), names),
        harmonic_tuned=_travelled_harmonic(_judged(nested), names),
        folds=len(frozen),
        left_out=tuple(len(answers.details.zsl_classes) for answers in frozen.values()),
        judge=judge,
        epochs=epochs,
    )


def verdict_on(gain: Interval) -> str:
    """Tune only if the interval of the gain excludes 0."""
    if not gain.is_sure:
        return SAME
    return TUNE if gain.low > 0 else WORSE


def best_share(tuned: Mapping[float, OfFolds], folds: Sequence[int]) -> float:
    """The share with the highest mean AUSUC on `folds`; of equal ones the lowest."""
    ausuc = {share: sum(of_folds[fold].curve.ausuc for fold in folds) for share, of_folds in tuned.items()}
    return max(ausuc, key=lambda share: (ausuc[share], -share))


def _details(of_folds: OfFolds) -> list[Details]:
    return [answers.details for answers in of_folds.values()]


def _judged(of_folds: OfFolds) -> list[Judged]:
    return [half for fold, answers in of_folds.items() for half in judged_halves(fold, answers)]


def _unit_scores(name: str, judged: Sequence[Judged]) -> UnitScores:
    unit = UNITS[name]
    return UnitScores(unit=name, value=value_in(unit, judged), harmonic_lost=harmonic_lost(unit, judged))


def _travelled_harmonic(judged: Sequence[Judged], units: Sequence[str]) -> float:
    """H at the γ that the other folds choose in the best of `units`; mean over the halves that judge."""
    best = [half.curve.harmonic.max().item() for half in judged]
    lost = (harmonic_lost(UNITS[unit], judged) for unit in units)
    return sum(best) / len(best) - min(each for each in lost if isfinite(each))
