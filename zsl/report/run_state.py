"""How far a run is: the seeds that are done, their scores, and where it stopped or works now."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zsl.common.files import read_json_lines
from zsl.common.locks import is_held
from zsl.common.provenance import STARTS_FILE
from zsl.common.records import read_record
from zsl.experiments.experiment import PUBLISHED_FILE
from zsl.experiments.published import Published
from zsl.experiments.results import CONFIG_FILE, REMEDY, RESULTS_FILE, read_results
from zsl.experiments.run import LOG_FILE, SCORES_FILE
from zsl.scores.summary import Scores

FINISHED, RUNNING, STOPPED = "finished", "running", "stopped"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """The seeds of a run."""

    asked: tuple[int, ...]  # by the last start
    scores_of: dict[int, Scores]  # of the seeds that are done
    is_whole: bool  # whether results.json holds all seeds that were asked for

    @property
    def done(self) -> tuple[int, ...]:
        """The seeds that are done."""
        return tuple(self.scores_of)

    @property
    def scores(self) -> list[Scores]:
        """The scores of these seeds."""
        return list(self.scores_of.values())


def read_state(folder: Path) -> RunState:
    """Read the state of the run in `folder`.

    Raises:
        ValueError: a file of results or scores is damaged.
    """
    asked = _asked(folder)
    if (folder / RESULTS_FILE).is_file():
        of_results = {entry.seed: entry for entry in read_results(folder / RESULTS_FILE).seeds}
        if set(asked) <= set(of_results):
            return RunState(asked=asked, scores_of=dict(of_results), is_whole=True)
    scores = {seed: _read_scores(folder / f"seed-{seed}") for seed in asked or _begun(folder)}
    done = {seed: of_seed for seed, of_seed in scores.items() if of_seed is not None}
    return RunState(asked=asked, scores_of=done, is_whole=False)


def unfinished(folder: Path, runs: Path) -> str:
    """`running` where the lock of the folder is held, or that of a table or study around it; else `stopped`.

    runs: the outermost folder that may be that of a table or study; where it is `folder` itself, the two above may be.
    """
    if is_held(folder) or any(map(is_held, folder.glob("crossfit-*"))):
        return RUNNING
    above = folder.resolve().parents
    around = above[:2] if folder == runs else [place for place in above if runs.resolve() in (place, *place.parents)]
    return RUNNING if any(is_held(place) and _is_newest(folder, place) for place in around) else STOPPED


def how_far(folder: Path, state: RunState) -> str:
    """Name the seed that was begun last, with the stage and the step of the last line in its log."""
    begun = [seed for seed in state.asked or _begun(folder) if seed not in state.done and _is_begun(folder, seed)]
    if not begun:
        return "between two seeds" if state.done else "before the first seed"
    log = folder / f"seed-{begun[-1]}" / LOG_FILE
    entries = [entry for entry in read_json_lines(log) if {"stage", "step"} <= entry.keys()] if log.is_file() else []
    where = f"{entries[-1]['stage']} stage, step {entries[-1]['step']}" if entries else "before the first step"
    return f"seed {begun[-1]}, {where}"


def _is_newest(folder: Path, place: Path) -> bool:
    """Whether `folder` is the one below `place` with the newest file; a table works at one run at a time."""
    others = [path.parent for path in place.rglob(CONFIG_FILE)]
    return _changed(folder) >= max(map(_changed, others), default=0)


def _changed(folder: Path) -> int:
    """The time of the newest file in `folder`, in nanoseconds."""
    times = [0]
    for path in (folder, *folder.rglob("*")):
        with suppress(OSError):  # a process at work may have renamed or removed it meanwhile
            times.append(path.stat().st_mtime_ns)
    return max(times)


def _asked(folder: Path) -> tuple[int, ...]:
    """The seeds of the last start; () in runs of earlier versions."""
    starts = read_json_lines(folder / STARTS_FILE) if (folder / STARTS_FILE).is_file() else []
    seeds = starts[-1].get("seeds") if starts else None
    return tuple(seed for seed in seeds if isinstance(seed, int)) if isinstance(seeds, list) else ()


def _begun(folder: Path) -> list[int]:
    numbers = (path.name.removeprefix("seed-") for path in folder.glob("seed-*"))
    return sorted(int(number) for number in numbers if number.isdecimal())


def _is_begun(folder: Path, seed: int) -> bool:
    return (folder / f"seed-{seed}").is_dir()


def _read_scores(folder: Path) -> Scores | None:
    """The scores of one seed, by either protocol; None where it is not done."""
    if (folder / SCORES_FILE).is_file():
        return read_record(folder / SCORES_FILE, Scores, REMEDY)
    if (folder / PUBLISHED_FILE).is_file():
        return read_record(folder / PUBLISHED_FILE, Published, REMEDY).best
    return None
