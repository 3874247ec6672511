"""A finished run, read from its folder: notes say what is absent, and broken files are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsl.common.files import read_json_lines
from zsl.common.provenance import STARTS_FILE
from zsl.datasets.folds import FOLD, fold_number
from zsl.experiments.compare import read_run
from zsl.experiments.reads import ACCESS_FILE
from zsl.experiments.results import CONFIG_FILE, RESULTS_FILE, Results, read_results
from zsl.scores.details import DETAILS_FILE, Details


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportRun:
    """The results of one run and the answers behind them."""

    folder: Path
    results: Results
    details: dict[int, Details]  # by seed; empty where the run kept none
    starts: list[dict[str, Any]]  # one entry for each time that the run's command was started
    accesses: list[dict[str, Any]]  # one entry for each time that test rows were opened
    notes: list[str]  # on what the folder lacks

    @property
    def name(self) -> str:
        """The folder's name; the parent's name stands before it, unless that is `runs`."""
        parent = self.folder.parent.name
        return self.folder.name if parent in ("", "runs") else f"{parent}/{self.folder.name}"

    @property
    def honest(self) -> bool:
        """Whether the results say that nothing was chosen on a test row."""
        return self.results.is_honest

    @property
    def fold(self) -> str | None:
        """The run's validation fold, such as `validation fold 2`; None where its scores are of test rows."""
        number = fold_number(self.results.splits)
        return None if number is None else f"{FOLD} {number}"

    @property
    def spreads(self) -> bool:
        """Whether there are several seeds, which a standard deviation needs."""
        return len(self.results.seeds) > 1

    @property
    def first(self) -> Details | None:
        """The details of the first seed that has any."""
        return next(iter(self.details.values()), None)

    @property
    def first_seed(self) -> int:
        """The seed whose model the figures of a single model show."""
        return next(iter(self.details), self.results.seeds[0].seed)


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The run folders among `folders`, and the run folders inside those that are none, such as a table's folder.

    Raises:
        FileNotFoundError: a folder is not there, or is no run folder and has none inside.
        ValueError: there is no folder, or one occurs twice.
    """
    runs: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}; give run folders such as runs/quickstart")
        inner = [folder] if (folder / CONFIG_FILE).is_file() else _runs_in(folder)
        if not inner:
            raise FileNotFoundError(
                f"{folder} is no run folder (no {CONFIG_FILE}) and holds none; scripts/train_dcrgan.py makes one"
            )
        runs += inner
    if not runs:
        raise ValueError("which runs? give at least one run folder, such as runs/quickstart")
    resolved = [folder.resolve() for folder in runs]
    twice = [folder for folder in resolved if resolved.count(folder) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is given twice")
    return runs


def _runs_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"*/{RESULTS_FILE}") if (path.parent / CONFIG_FILE).is_file())


def read_report_run(folder: Path) -> ReportRun:
    """Read the run in `folder`.

    Raises:
        FileNotFoundError: it is no run folder, or the run is not finished.
        ValueError: one of its files is broken or lacks what every run has; the message names it.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{folder} is no run folder (no {CONFIG_FILE}); scripts/train_dcrgan.py makes one")
    if not (folder / RESULTS_FILE).is_file():
        raise FileNotFoundError(
            f"{folder} has no {RESULTS_FILE}: the run is not finished; start its training command again, it goes on"
        )
    results = read_results(folder / RESULTS_FILE)
    details, notes = _read_details(folder, [entry.seed for entry in results.seeds])
    return ReportRun(
        folder=folder,
        results=results,
        details=details,
        starts=_lines(folder / STARTS_FILE),
        accesses=_lines(folder / ACCESS_FILE),
        notes=notes,
    )


def _read_details(folder: Path, seeds: Sequence[int]) -> tuple[dict[int, Details], list[str]]:
    """The details of those of `seeds` that have any, and notes on the others."""
    try:
        details = read_run(folder).details
    except FileNotFoundError:
        return {}, [
            f"The run kept no seed-*/{DETAILS_FILE}, so there are no curve, no classes, no confusion and no gallery; "
            "train it anew to get them."
        ]
    absent = ", ".join(str(seed) for seed in seeds if seed not in details)
    notes = [f"There are no answers of seed {absent} (no {DETAILS_FILE}); figures show the others."] if absent else []
    return {seed: details[seed] for seed in seeds if seed in details}, notes


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; a kill may have cut others."""
    return read_json_lines(path) if path.is_file() else []
