"""The facts of a run (`config.json`), its results (`results.json`), and their table for a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zsl.common.config import Settings
from zsl.common.files import read_object
from zsl.common.records import as_record, read_record
from zsl.datasets.splits import ATTRIBUTES
from zsl.features.facts import DataFacts
from zsl.features.split import RowsFacts
from zsl.scores.summary import SCORES, Scores

CONFIG_FILE, RESULTS_FILE = "config.json", "results.json"
TABLE = {"T1": "acc_zsl", "U": "acc_unseen", "S": "acc_seen", "H": "harmonic", "AUSUC": "ausuc"}
UNCALIBRATED = {"H, γ = 0": "harmonic_uncalibrated"}  # beside the table, to show the effect of γ
ORACLE = "harmonic_oracle_weights"  # the published protocol's H; its fusion weights know which images are unseen
HONEST = "honest"  # the first word of the protocol of a run that chose nothing on test rows

AVERAGED = (*SCORES, "pulled_to_seen", "harmonic_uncalibrated", "harmonic_oracle")  # results have mean and sd of these
REMEDY = "it is damaged or of another version of this program: start the training command again under another --name"


@dataclass(frozen=True, kw_only=True)
class GammaFacts:
    """The γ of calibrated stacking in a run, and where it comes from."""

    value: float
    source: str  # in words
    harmonic_on_folds: float | None = None  # H at this γ on the folds that chose it; None: no folds chose it


@dataclass(frozen=True, kw_only=True)
class RunFacts(DataFacts):
    """All that a run depends on: the content of `config.json`."""

    method: str
    method_version: int | str
    protocol: str
    form: str = ""  # in words: which form of a published method it is; "" where there is only one
    inductive: bool  # whether no training loss uses attributes of unseen classes
    gamma_asked: float | str  # "auto", or the number of --gamma
    selection: Settings | None  # the content of selection.json
    config: Settings
    every: int | None = None  # GAN steps between two looks of the published protocol

    @property
    def is_honest(self) -> bool:
        """Whether no test row chose anything."""
        return self.protocol.startswith(HONEST)


@dataclass(frozen=True, kw_only=True)
class SeedScores(Scores):
    """The scores of one seed."""

    seed: int
    harmonic_oracle_weights: float | None = None  # only with the published protocol

    def __getitem__(self, key: str) -> float:
        return float(getattr(self, key))


@dataclass(frozen=True, kw_only=True)
class Results(RunFacts):
    """The content of `results.json`; accuracies are fractions."""

    gamma: GammaFacts
    seeds: tuple[SeedScores, ...]
    mean: dict[str, float]
    std: dict[str, float]  # sample standard deviation over seeds; 0 for one seed
    rows_read: dict[str, RowsFacts]  # by stage
    selected_on_test: tuple[Any, ...] = ()  # the choices of the published protocol, one for each seed
    details: str | None = None  # published protocol: the look that the scores of single images come from

    @property
    def as_json(self) -> Settings:
        """The content of the file."""
        content = asdict(self)
        for entry in content["seeds"]:
            if entry[ORACLE] is None:
                del entry[ORACLE]
        return content


def read_results(path: Path) -> Results:
    """Read the results in the file `path`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no JSON, lacks a field, or has a field of another type; the message names the field.
    """
    results = read_record(path, Results, REMEDY)
    if not results.seeds:
        raise ValueError(f"{path} lacks seeds; {REMEDY}")
    return results


def read_facts(path: Path) -> RunFacts:
    """Read the facts in the `config.json` at `path`.

    Raises:
        FileNotFoundError, ValueError: see `read_results`.
    """
    return read_record(path, RunFacts, REMEDY)


def read_seed_scores(path: Path, seed: int, **more: float) -> SeedScores:
    """Read the scores of one seed."""
    return as_record(read_object(path, REMEDY) | {"seed": seed} | more, SeedScores, str(path), REMEDY)


def summarise(
    scores: Sequence[SeedScores], facts: RunFacts, gamma: GammaFacts, rows_read: Mapping[str, RowsFacts], **more: Any
) -> Results:
    """Make the results of these seeds: their scores, means and standard deviations."""
    averaged = AVERAGED + ((ORACLE,) if scores[0].harmonic_oracle_weights is not None else ())
    columns = {key: [entry[key] for entry in scores] for key in averaged}
    return Results(
        **vars(facts),
        gamma=gamma,
        seeds=tuple(scores),
        mean={key: statistics.fmean(values) for key, values in columns.items()},
        std={key: float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for key, values in columns.items()},
        rows_read=dict(rows_read),
        **more,
    )


def score_table(results: Results) -> str:
    """Write the scores in per cent: one line for each seed and, for several seeds, the mean ± sd."""
    table = TABLE | UNCALIBRATED
    lines = [f"{'seed':>12}  " + "  ".join(f"{name:>12}" for name in table)]
    for entry in results.seeds:
        lines.append(f"{entry.seed:>12}  " + "  ".join(f"{100 * entry[key]:>12.1f}" for key in table.values()))
    if len(results.seeds) > 1:
        lines.append(f"{'mean ± sd':>12}  " + "  ".join(f"{spread_text(results, key):>12}" for key in table.values()))
    return "\n".join(lines)


def spread_text(results: Results, key: str) -> str:
    """Write one score as `percent` does."""
    return percent(results.mean[key], results.std[key], len(results.seeds))


def percent(mean: float, std: float, seeds: int) -> str:
    """Write a score in per cent: mean ± sd over the seeds, or the mean alone for one seed."""
    return f"{100 * mean:.1f}" + f" ± {100 * std:.1f}" * (seeds > 1)


def protocol_text(results: Results) -> str:
    """Write the protocol and the γ of the scores and, for the published protocol, H with oracle weights."""
    lines = [f"{results.method}, {results.form}"] * bool(results.form)
    lines += [f"SIDE INFORMATION: {results.attributes}"] * (results.side_information != ATTRIBUTES)
    lines += [f"protocol {results.protocol}", f"γ {results.gamma.value:.4g} ({results.gamma.source})"]
    return "\n".join(lines)


def ladder_text(results: Results) -> str:
    """Write the ladder of the published protocol: H after each choice on the test rows, and the gain of the choice."""
    ladders = [entry["ladder"] for entry in results.selected_on_test]
    lines, before = [f"{'H with the choice of':>24}  {'mean ± sd':>12}  {'gain':>6}  {'chosen':>8}"], None
    for level in ladders[0]:
        values = [ladder[level] for ladder in ladders]
        mean, spread = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
        gain = "" if before is None else f"{100 * (mean - before):+.1f}"
        source = "honestly" if level.startswith("γ") else "on test"
        lines.append(f"{level:>24}  {percent(mean, spread, len(values)):>12}  {gain:>6}  {source:>8}")
        before = mean
    return "\n".join(lines)
