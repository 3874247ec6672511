"""A finished run folder, read for the page; what is absent is noted, what is broken is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsl.common.provenance import STARTS_FILE
from zsl.experiments.compare import read_run
from zsl.experiments.reads import ACCESS_FILE
from zsl.experiments.results import CONFIG_FILE, RESULTS_FILE, Results, read_results
from zsl.scores.details import DETAILS_FILE, Details


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportRun:
    """One run's results and the answers behind them."""

    folder: Path
    results: Results
    details: dict[int, Details]  # by seed; empty where the run kept none
    starts: list[dict[str, Any]]  # one entry for each time that the run's command was started
    accesses: list[dict[str, Any]]  # one entry for each time that test rows were opened
    notes: list[str]  # what the folder lacks

    @property
    def name(self) -> str:
        """The folder's name, with its parent's where that says more than `runs`."""
        parent = self.folder.parent.name
        return self.folder.name if parent in ("", "runs") else f"{parent}/{self.folder.name}"

    @property
    def honest(self) -> bool:
        """Whether the results say that nothing was chosen on a test row."""
        return self.results.is_honest

    @property
    def fold(self) -> str | None:
        """`validation fold 2` of a run on one, whose scores are of no test row and no result; None of all others."""
        found = re.match(r"validation fold \d", self.results.splits)
        return found[0] if found else None

    @property
    def spreads(self) -> bool:
        """Whether there are several seeds, so that a standard deviation says something."""
        return len(self.results.seeds) > 1

    @property
    def first(self) -> Details | None:
        """The first seed's details."""
        return next(iter(self.details.values()), None)

    @property
    def first_seed(self) -> int:
        """The seed that figures of a single model show."""
        return next(iter(self.details), self.results.seeds[0].seed)


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The run folders that are meant: each folder itself, or the runs in it where it is none (a table's folder).

    Raises:
        FileNotFoundError: a folder is not there, or neither is a run nor holds any.
        ValueError: none was given, or a folder twice.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}; give run folders such as runs/quickstart")
        inner = [folder] if (folder / CONFIG_FILE).is_file() else _runs_in(folder)
        if not inner:
            raise FileNotFoundError(
                f"{folder} is no run folder (no {CONFIG_FILE}) and holds none; scripts/train_dcrgan.py makes one"
            )
        found += inner
    if not found:
        raise ValueError("which runs? give at least one run folder, such as runs/quickstart")
    resolved = [folder.resolve() for folder in found]
    twice = [folder for folder in resolved if resolved.count(folder) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is given twice")
    return found


def _runs_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"*/{RESULTS_FILE}") if (path.parent / CONFIG_FILE).is_file())


def read_report_run(folder: Path) -> ReportRun:
    """What `folder` holds.

    Raises:
        FileNotFoundError: it is no run folder, or the run is not finished.
        ValueError: a file in it is broken or lacks what every run has; the message names it.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{folder} is no run folder (no {CONFIG_FILE}); scripts/train_dcrgan.py makes one")
    if not (folder / RESULTS_FILE).is_file():
        raise FileNotFoundError(
            f"{folder} has no {RESULTS_FILE}: the run is not finished; start its training command again, it goes on"
        )
    results = read_results(folder / RESULTS_FILE)
    notes: list[str] = []
    try:
        details = read_run(folder).details
    except FileNotFoundError:
        details = {}
        notes.append(
            f"The run kept no seed-*/{DETAILS_FILE}, so there are no curve, no classes, no confusion and no gallery; "
            "train it anew to get them."
        )
    lost = [str(entry.seed) for entry in results.seeds if details and entry.seed not in details]
    if lost:
        notes.append(f"There are no answers of seed {', '.join(lost)} (no {DETAILS_FILE}); figures show the others.")
    details = {entry.seed: details[entry.seed] for entry in results.seeds if entry.seed in details}
    return ReportRun(
        folder=folder,
        results=results,
        details=details,
        starts=_read_lines(folder / STARTS_FILE),
        accesses=_read_lines(folder / ACCESS_FILE),
        notes=notes,
    )


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); move it away to report without it") from error
