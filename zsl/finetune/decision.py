"""The verdict on a fine-tuning, as it is decided, written, read and told: keep the weights, or roll back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backbones.tuned import read_field
from zsl.common.files import read_object
from zsl.scores.folds import FoldScores

VERDICT_FILE = "verdict.json"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the scores before and after say."""

    verdict: str  # "keep" or "roll back"
    gain: float  # of H, after minus before
    margin: float  # the gain has to be more than this
    share: float  # of the tuned weights in their mean with the old ones
    before: FoldScores
    after: FoldScores  # with that share
    candidates: Mapping[float, FoldScores]  # of each share


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A decision, and what it was based on."""

    decision: Decision
    folds: tuple[int, ...]
    judge: str
    judge_seeds: tuple[int, ...]
    epochs: int  # mean over the folds' best epochs, for the training on all seen classes
    validation_classes: Mapping[str, int]  # of each fold
    meaning: str  # what was chosen on which photos, in words

    def content(self) -> dict[str, Any]:
        """As JSON."""
        decision = self.decision
        facts = {key: value for key, value in vars(self).items() if key != "decision"}
        return {
            **asdict(decision),
            "candidates": [{"share": share, **asdict(scores)} for share, scores in decision.candidates.items()],
            **facts,
            "folds": list(self.folds),
            "judge_seeds": list(self.judge_seeds),
            "validation_classes": dict(self.validation_classes),
        }

    def text(self) -> str:
        """For a terminal: the two numbers, the γ that features of the weights need, and what was chosen how."""
        before, after = self.decision.before, self.decision.after
        return (
            f"{self.decision.verdict}: H on the validation classes of fold {' '.join(map(str, self.folds))} "
            f"{100 * before.harmonic:.1f} before, {100 * after.harmonic:.1f} after; "
            f"T1 {100 * before.acc_zsl:.1f} before, {100 * after.acc_zsl:.1f} after "
            f"({self.judge}, share of tuned weights {self.decision.share:g}, {self.epochs} epochs)\n"
            f"γ there {before.gamma:.3g} before, {after.gamma:.3g} after\n{self.meaning}"
        )


def decide(before: FoldScores, after: Mapping[float, FoldScores], margin: float) -> Decision:
    """Keep the share of tuned weights with the highest H if it gains more than `margin` on the encoder as it was.

    before: scores with the encoder as it was; after: with each share of the tuned weights.
    """
    share = max(after, key=lambda candidate: (after[candidate].harmonic, -candidate))
    gain = after[share].harmonic - before.harmonic
    return Decision(
        verdict="keep" if gain > margin else "roll back", gain=gain, margin=margin, share=share, before=before,
        after=after[share], candidates=after,
    )  # fmt: skip


def read_verdict(path: Path) -> Verdict:
    """The verdict that a fine-tuning wrote to `path`.

    Raises:
        ValueError: a field is absent or of another type; the message names file and field.
    """
    return verdict_of(read_object(path), str(path))


def verdict_of(content: Mapping[str, Any], where: str) -> Verdict:
    """A verdict from its JSON; `where` names the file for messages.

    Raises:
        ValueError: a field is absent or of another type.
    """
    candidates = read_field(content, "candidates", list, where)
    decision = Decision(
        verdict=read_field(content, "verdict", str, where),
        gain=read_field(content, "gain", float, where),
        margin=read_field(content, "margin", float, where),
        share=read_field(content, "share", float, where),
        before=_scores(read_field(content, "before", dict, where), f"{where}: before"),
        after=_scores(read_field(content, "after", dict, where), f"{where}: after"),
        candidates={
            read_field(each, "share", float, f"{where}: candidates"): _scores(each, f"{where}: candidates")
            for each in candidates
        },
    )
    return Verdict(
        decision=decision,
        folds=tuple(read_field(content, "folds", list, where)),
        judge=read_field(content, "judge", str, where),
        judge_seeds=tuple(read_field(content, "judge_seeds", list, where)),
        epochs=read_field(content, "epochs", int, where),
        validation_classes=read_field(content, "validation_classes", dict, where),
        meaning=read_field(content, "meaning", str, where),
    )


def _scores(content: Mapping[str, Any], where: str) -> FoldScores:
    """Scores from their JSON; files of earlier versions have neither S nor AUSUC."""
    known = {name: read_field(content, name, float, where) for name in ("gamma", "harmonic", "acc_zsl")}
    later = {name: read_field(content, name, float, where) for name in ("acc_seen", "ausuc") if name in content}
    return FoldScores(**known, **later)
