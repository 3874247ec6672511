"""The list of all folders below --runs: what each one is, how far it is, its scores and its time.

Nothing is written, and a folder that cannot be read does not end the list: it gets a line that says why.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zsl.common.files import read_json_lines, read_object
from zsl.common.long_work import PROGRESS_FILE, duration, read_times
from zsl.common.markdown import markdown_table
from zsl.common.text import printable
from zsl.datasets.splits import ATTRIBUTES
from zsl.experiments.results import CONFIG_FILE, TABLE, percent, read_facts
from zsl.experiments.search import TRIALS_FILE
from zsl.experiments.selection import SELECTION_FILE, load_selection
from zsl.finetune.manifest import MANIFEST_FILE, RunFacts, read_manifest
from zsl.report.run_state import FINISHED, how_far, read_state, unfinished

TUNING_FIELD = "started_from_sha256"  # of a fine-tuning's config.json alone
DAMAGED, FOREIGN = "damaged", "foreign"
OURS = (  # files of folders without a line
    "*selection.json", "trials.jsonl", "predictor.json", "*.md", PROGRESS_FILE, "seen-unseen-curves.svg",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Line:
    """One folder of the list; scores are fractions."""

    folder: str  # below --runs; its own name where --runs is the folder itself
    kind: str  # run, choice or fine-tuning; "" where the folder cannot be read
    state: str
    detail: str = ""  # how far it is, or what is wrong, in words
    method: str = ""
    benchmark: str = ""
    backbone: str = ""
    seeds: tuple[int, ...] = ()  # that are done
    seeds_asked: int = 0  # by the last start
    honest: bool = True  # whether no test row chose anything
    test: bool = True  # whether the scores are of test rows; False: of a validation fold
    side_information: str = ATTRIBUTES  # what the models know of classes
    mean: Mapping[str, float] = field(default_factory=dict)  # T1, U, S, H, AUSUC over the seeds that are done
    std: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None  # of all starts; None where nothing noted it

    @property
    def content(self) -> dict[str, Any]:
        """The line as JSON has it; None is a spread of one seed, and a score that an older file lacks."""
        scores = {
            key: {name: value if math.isfinite(value) else None for name, value in getattr(self, key).items()}
            for key in ("mean", "std")
        }
        return asdict(self) | scores

    @property
    def cells(self) -> list[str]:
        """The line of the table."""
        asked = f" of {self.seeds_asked}" if self.seeds_asked > len(self.seeds) else ""
        notes = [*["published protocol"] * (not self.honest), *["validation fold"] * (not self.test)]
        notes += [f"side information: {self.side_information}"] * (self.side_information != ATTRIBUTES)
        state = self.state + f" ({printable(self.detail)})" * bool(self.detail)
        return [
            printable(self.folder), self.method or self.kind, self.benchmark, self.backbone,
            f"{len(self.seeds)}{asked}" if self.kind == "run" else "",
            *(percent(self.mean[name], self.std[name], len(self.seeds)) if self.mean else "" for name in TABLE),
            "" if self.seconds is None else duration(self.seconds), "; ".join([state, *notes]),
        ]  # fmt: skip


def list_runs(runs: Path) -> list[Line]:
    """Describe every run, choice and fine-tuning below `runs`, and each folder directly below that holds none.

    Where `runs` is the folder of one of them, its line is the list, with those of others below it.

    Raises:
        FileNotFoundError: `runs` does not exist.
    """
    if not runs.is_dir():
        raise FileNotFoundError(f"no folder {runs}; scripts/train_dcrgan.py makes it, and --runs names another one")
    folders = sorted({path.parent for name in (CONFIG_FILE, TRIALS_FILE) for path in runs.rglob(name)})
    lines = [_line(folder, runs) for folder in folders if not _is_part(folder)]
    if runs in folders:  # what lies directly below is its own
        return lines
    for folder in sorted(path for path in runs.iterdir() if path.is_dir()):
        if not any(folder in (found, *found.parents) for found in folders) and not _is_ours(folder):
            lines.append(Line(folder=folder.name, kind="", state=FOREIGN, detail="no file of this program"))
    return lines


def runs_table(lines: Sequence[Line]) -> str:
    """Write the list in Markdown; scores in per cent, mean ± sd over the seeds that are done."""
    head = ["folder", "method", "benchmark", "backbone", "seeds", *TABLE, "time", "state"]
    return markdown_table(head, [line.cells for line in lines])


def _is_part(folder: Path) -> bool:
    """Whether a folder holds only the folds that chose the γ of a run, and is a part of this run."""
    return (folder.parent / CONFIG_FILE).is_file() and not (folder / CONFIG_FILE).is_file()


def _is_ours(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in OURS)


def _line(folder: Path, runs: Path) -> Line:
    name = folder.resolve().name if folder == runs else str(folder.relative_to(runs))
    try:
        if not (folder / CONFIG_FILE).is_file():
            return _choice(folder, name, runs)
        if TUNING_FIELD in read_object(folder / CONFIG_FILE):
            return _tuning(folder, name, runs)
        return _run(folder, name, runs)
    except (ValueError, OSError) as error:
        return Line(folder=name, kind="", state=DAMAGED, detail=str(error))


def _run(folder: Path, name: str, runs: Path) -> Line:
    facts, state = read_facts(folder / CONFIG_FILE), read_state(folder)
    columns = {column: [getattr(entry, key) for entry in state.scores] for column, key in TABLE.items()}
    return Line(
        folder=name, kind="run", state=FINISHED if state.is_whole else unfinished(folder, runs),
        detail="" if state.is_whole else how_far(folder, state),
        method=facts.method, benchmark=facts.benchmark, backbone=facts.backbone,
        seeds=state.done, seeds_asked=len(state.asked), honest=facts.is_honest,
        test=not facts.splits.startswith("validation fold"), side_information=facts.side_information,
        mean={column: statistics.fmean(values) for column, values in columns.items() if values},
        std={column: statistics.stdev(values) if len(values) > 1 else math.nan for column, values in columns.items()},
        seconds=_seconds(folder),
    )  # fmt: skip


def _choice(folder: Path, name: str, runs: Path) -> Line:
    if (folder / SELECTION_FILE).is_file():
        selection = load_selection(folder / SELECTION_FILE)
        return Line(
            folder=name, kind="choice", state=FINISHED, detail=f"{selection.trials} trials", method=selection.method,
            benchmark=selection.benchmark, backbone=selection.backbone, seconds=_seconds(folder),
        )  # fmt: skip
    head, *trials = read_json_lines(folder / TRIALS_FILE) or [{}]
    method, benchmark, backbone = (str(head.get(key, "")) for key in ("method", "benchmark", "backbone"))
    state = unfinished(folder, runs)
    return Line(
        folder=name, kind="choice", state=state, detail=f"after {len(trials)} trials", method=method,
        benchmark=benchmark, backbone=backbone, seconds=_seconds(folder),
    )  # fmt: skip


def _tuning(folder: Path, name: str, runs: Path) -> Line:
    facts = RunFacts.read(read_object(folder / CONFIG_FILE), str(folder / CONFIG_FILE))
    is_whole = (folder / MANIFEST_FILE).is_file()
    detail = f"{read_manifest(folder / MANIFEST_FILE).epochs} epochs" if is_whole else ""
    return Line(
        folder=name, kind="fine-tuning", state=FINISHED if is_whole else unfinished(folder, runs), detail=detail,
        benchmark=facts.benchmark, backbone=facts.backbone, seconds=_seconds(folder),
    )  # fmt: skip


def _seconds(folder: Path) -> float | None:
    """The time of all pieces; of a fine-tuning that of its folds, and of a run that of its seeds."""
    times = read_times(folder / PROGRESS_FILE)
    return sum(times.values()) if times else None
