"""The manifest that fine-tuning writes beside weights: what they depend on, how training went, the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbones.tuned import FINETUNED, Rows, TunedWeights, read_field
from zsl.common.files import read_object
from zsl.finetune.decision import Verdict, verdict_of

WEIGHTS_FILE, MANIFEST_FILE = "weights.safetensors", "manifest.json"


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """All that the weights of a run depend on."""

    benchmark: str
    data: str  # what the shards are made from, in words
    splits: str  # which rows are where, in words
    split_hashes: tuple[str, ...]
    shards_sha256: str
    backbone: str  # name of the encoder before
    started_from_sha256: str  # of its weights
    config: Mapping[str, Any]  # FinetuneConfig as a dict
    folds: tuple[int, ...]
    crossfit: int = 0  # number of class folds
    hold_out: float = 0.0  # share of each class's photos that the weights do not know
    judge: tuple[str | int, ...]  # its name, then its seeds
    margin: float
    precision: str
    versions: Mapping[str, str]  # of libraries

    def content(self) -> dict[str, Any]:
        """As JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def read(cls, content: Mapping[str, Any], where: str) -> RunFacts:
        """From JSON; `where` names the file for messages.

        Raises:
            ValueError: a field is absent or of another type.
        """
        texts = ("benchmark", "data", "splits", "shards_sha256", "backbone", "started_from_sha256", "precision")
        return cls(
            **{name: read_field(content, name, str, where) for name in texts},
            split_hashes=tuple(read_field(content, "split_hashes", list, where)),
            folds=tuple(read_field(content, "folds", list, where)),
            crossfit=read_field({"crossfit": 0, **content}, "crossfit", int, where),
            hold_out=read_field({"hold_out": 0.0, **content}, "hold_out", float, where),
            judge=tuple(read_field(content, "judge", list, where)),
            config=read_field(content, "config", dict, where),
            margin=read_field(content, "margin", float, where),
            versions=read_field(content, "versions", dict, where),
        )


@dataclass(frozen=True, kw_only=True)
class TuningManifest:
    """One file of fine-tuned weights, described."""

    weights: TunedWeights  # the part that follows the weights
    rows_decoded: Rows  # whose photos the run has read
    share_of_tuned_weights: float  # in the mean with the old ones
    epochs: int
    images_per_second: float | None
    curve: list[dict[str, float]]  # scores of each epoch
    losses: list[float]  # of each update
    verdict: Verdict | None  # None: nothing has judged these weights
    processes: int
    threads: int
    command: str
    facts: RunFacts

    def content(self) -> dict[str, Any]:
        """As JSON, which is flat but for the verdict."""
        weights = {name: value for name, value in vars(self.weights).items() if name != "facts"}
        own = {name: value for name, value in vars(self).items() if name not in ("weights", "facts")}
        return {
            "kind": FINETUNED,
            **weights,
            **self.weights.facts.content(),
            **own,
            "rows_decoded": vars(self.rows_decoded),
            "verdict": self.verdict.content() if self.verdict else None,
            **self.facts.content(),
        }


def has_weights(folder: Path) -> bool:
    """Whether `folder` has the weights of a fine-tuning and their manifest; someone may have deleted either."""
    return (folder / MANIFEST_FILE).is_file() and (folder / WEIGHTS_FILE).is_file()


def read_manifest(path: Path) -> TuningManifest:
    """The manifest that a fine-tuning wrote to `path`.

    Raises:
        ValueError: a field is absent or of another type; the message names file and field.
    """
    content, where = read_object(path), str(path)
    rows = Rows.read(read_field(content, "rows_decoded", dict, where), f"{where}: rows_decoded")
    verdict = read_field(content, "verdict", dict, where, type(None))
    return TuningManifest(
        weights=TunedWeights.read(content, where),
        rows_decoded=rows,
        share_of_tuned_weights=read_field(content, "share_of_tuned_weights", float, where),
        epochs=read_field(content, "epochs", int, where),
        images_per_second=read_field(content, "images_per_second", float, where, type(None)),
        curve=read_field(content, "curve", list, where),
        losses=read_field(content, "losses", list, where),
        verdict=verdict_of(verdict, f"{where}: verdict") if verdict else None,
        processes=read_field(content, "processes", int, where),
        threads=read_field(content, "threads", int, where),
        command=read_field(content, "command", str, where),
        facts=RunFacts.read(content, where),
    )
