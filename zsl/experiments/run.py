"""The folder of a run: config, log, a model and scores for each seed, results.  A restart runs only missing seeds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsl.common.config import Settings
from zsl.common.files import atomic_path, read_json_lines, read_object, remove_leftovers, write_json
from zsl.common.long_work import PROGRESS_FILE, LongWork, noted_piece
from zsl.common.profile import profiled, span
from zsl.common.provenance import note_start
from zsl.common.tensors import read_some_tensors, write_tensors
from zsl.dcrgan.saved import MODEL_FILE
from zsl.experiments.reads import ACCESS_FILE, note_reads, record_to, rows_read
from zsl.experiments.results import (
    CONFIG_FILE,
    RESULTS_FILE,
    GammaFacts,
    Results,
    RunFacts,
    read_seed_scores,
    summarise,
)
from zsl.features.facts import with_parts
from zsl.features.split import TestSplit, TrainSplit
from zsl.scores.details import DETAILS_FILE, save_details
from zsl.scores.evaluate import evaluate_details
from zsl.scores.model import Calibrated
from zsl.scores.summary import scores_of
from zsl.training.journal import Journal
from zsl.training.log import Log
from zsl.training.trackers import LogWith, open_tracker

if TYPE_CHECKING:
    from accelerate import Accelerator

LOG_FILE, SCORES_FILE = "metrics.jsonl", "scores.json"
GAMMA = "gamma"  # the tensor with γ in the file of a `Calibrated` model
SAME_GAMMA = 0.05  # relative: where γ is measured on a model anew, a GPU moves it a little

Train = Callable[[TrainSplit, int, Log], Calibrated]
Keep = Callable[[Any, Path], None]  # writes the parts of a model that prediction needs into a folder
Finish = Callable[[int, Path, Journal], None]  # seed, its folder, its journal
Calls = Sequence[Callable[[], Any]]


def one_by_one(calls: Calls, done: Callable[[int], None], *, left: Sequence[int]) -> None:
    """Do the calls that are left, one after the other."""
    for position in left:
        calls[position]()
        done(position)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the seeds of a run are done."""

    each: Callable[..., Any] = one_by_one  # does the calls at positions `left`, and notes the position of each after it
    at_once: int = 1  # how many seeds it does at once
    profile: bool = False  # whether each seed's folder gets a table of the time of its stages, and a trace


def run_seeds(
    train_model: Train,
    train: TrainSplit,
    test: TestSplit,
    seeds: Sequence[int],
    folder: Path,
    facts: RunFacts,
    gamma: GammaFacts,
    accelerator: Accelerator,
    keep: Keep | None = None,
    log_with: LogWith | None = None,
    schedule: Schedule | None = None,
) -> Results:
    """Train and score every seed once, in `folder`, and return the content of `results.json`.

    The processes of `accelerator` share the seeds.  `facts` describes the run; a folder of another run is refused.
    Each model is tested once, after its training.  `test_access.jsonl` has a line for each opening of test rows, and
    `rows_read` in the results names the rows that each stage could read.

    Raises:
        ValueError: `folder` belongs to a run of other facts, a seed occurs twice, or a stage could read a test row.
    """
    train, test = train.to(accelerator.device), test.to(accelerator.device)
    finish = _TestOnce(train_model=train_model, train=train, test=test, folder=folder, keep=keep)
    finish_seeds(finish, SCORES_FILE, seeds, folder, facts, accelerator, log_with, schedule)
    scores = [read_seed_scores(folder / f"seed-{seed}" / SCORES_FILE, seed) for seed in seeds]
    results = summarise(scores, facts, gamma, rows_read(folder, seeds))
    write_results(results, folder, accelerator)
    return results


def check_gamma(folder: Path, seeds: Sequence[int], gamma: GammaFacts) -> None:
    """Refuse `gamma` where seeds in `folder` were tested at another γ: the results would state one for all.

    Raises:
        ValueError: a seed was tested at another γ; the message names it.
    """
    for seed in seeds:
        path = folder / f"seed-{seed}" / MODEL_FILE
        if not (path.with_name(SCORES_FILE).is_file() and path.is_file()):
            continue
        then = read_some_tensors(path, [GAMMA], "delete the folder of the seed")[0][GAMMA].item()
        if not math.isclose(then, gamma.value, rel_tol=SAME_GAMMA, abs_tol=1e-6):
            raise ValueError(
                f"seed {seed} in {folder} was tested at γ = {then:.4g}, and now γ is {gamma.value:.4g}, "
                f"{gamma.source}; give this run another --name, or delete that folder"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class _TestOnce:
    """The training of a seed, and the one test of its model."""

    train_model: Train
    train: TrainSplit
    test: TestSplit
    folder: Path
    keep: Keep | None

    def __call__(self, seed: int, seed_folder: Path, journal: Journal) -> None:
        split = replace(self.train, reads=[])  # a list for this seed alone
        model = self.train_model(split, seed, journal)
        note_reads(split.reads, self.test, seed_folder)
        with span("writing"):
            write_tensors(seed_folder / MODEL_FILE, model.state_dict())
            if self.keep is not None:
                self.keep(model.model, seed_folder)
        with span("evaluation"):
            details = evaluate_details(model, self.test, record_to(self.folder / ACCESS_FILE, seed))
        save_details(details, seed_folder / DETAILS_FILE)
        write_json(seed_folder / SCORES_FILE, asdict(scores_of(details)))


def finish_seeds(
    finish: Finish, last_file: str, seeds: Sequence[int], folder: Path, facts: RunFacts, accelerator: Accelerator,
    log_with: LogWith | None = None, schedule: Schedule | None = None,
) -> None:  # fmt: skip
    """Call `finish` for each seed that has no `last_file` yet; the processes share the seeds.

    finish: writes `last_file` at its end.  schedule: None: one seed after the other.

    Raises:
        ValueError: `folder` belongs to a run of other facts, there is no seed, or a seed occurs twice.
    """
    check_seeds(seeds)
    schedule = schedule or Schedule()
    with accelerator.main_process_first():
        claim_folder(folder, asdict(facts))
    if accelerator.is_main_process:
        note_start(folder, seeds)
    calls = [
        _SeedCall(
            seed=seed, finish=finish, last_file=last_file, folder=folder, run=name_of_run(asdict(facts), seed),
            log_with=log_with, profile=schedule.profile,
        )
        for seed in seeds[accelerator.process_index :: accelerator.num_processes]
    ]  # fmt: skip
    left = [position for position, call in enumerate(calls) if not call.is_done]
    work = LongWork(
        folder / PROGRESS_FILE, {f"seed-{seed}": 1 for seed in seeds}, what=f"seeds of {folder}",
        is_done=lambda name: (folder / name / last_file).is_file(),
        workers=accelerator.num_processes * schedule.at_once, shown=accelerator.is_main_process,
    )  # fmt: skip
    schedule.each(calls, lambda position: work.tell_if_due(), left=left)
    for call in calls:
        call.clear()
    accelerator.wait_for_everyone()


@dataclass(frozen=True, kw_only=True, eq=False)
class _SeedCall:
    """The work on one seed, in this process or in another one."""

    seed: int
    finish: Finish
    last_file: str
    folder: Path  # of the run
    run: str  # the name of the run, for its checkpoints
    log_with: LogWith | None
    profile: bool

    @property
    def _seed_folder(self) -> Path:
        return self.folder / f"seed-{self.seed}"

    @property
    def is_done(self) -> bool:
        """Whether an earlier start has finished the seed."""
        return (self._seed_folder / self.last_file).is_file()

    def __call__(self) -> None:
        with (
            noted_piece(self.folder / PROGRESS_FILE, self._seed_folder.name),
            open_tracker(self.log_with, self.folder, self._seed_folder.name) as tracker,
            profiled(self._seed_folder if self.profile else None),
        ):
            journal = Journal(self._seed_folder / LOG_FILE, run=self.run, tracker=tracker)
            self.finish(self.seed, self._seed_folder, journal)
        self.clear()

    def clear(self) -> None:
        """Remove what only an unfinished seed needs."""
        Journal(self._seed_folder / LOG_FILE, run=self.run).clear()
        remove_leftovers(self._seed_folder)


def check_seeds(seeds: Sequence[int]) -> None:
    """Check that there is a seed, and that no seed occurs twice.

    Raises:
        ValueError: there is no seed, or a seed occurs twice.
    """
    if not seeds:
        raise ValueError("--seeds without any: name at least one")
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"--seeds {' '.join(map(str, seeds))}: a seed that occurs twice is not a new sample")


def write_results(results: Results, folder: Path, accelerator: Accelerator) -> None:
    """Write `results.json` and the log of all seeds, after all processes have ended their seeds."""
    if accelerator.is_main_process:
        remove_leftovers(folder)
        _join_logs(folder, [entry.seed for entry in results.seeds])
        write_json(folder / RESULTS_FILE, results.as_json)
    accelerator.wait_for_everyone()


def claim_folder(folder: Path, facts: Settings, *, added: Settings | None = None) -> None:
    """Write `config.json`, or check that the folder has an equal one.

    added: fields that files of earlier versions lack, with what these versions did.

    Raises:
        ValueError: the folder holds a run with other facts.
    """
    now = json.loads(json.dumps(facts))
    if not (folder / CONFIG_FILE).is_file():
        with suppress(FileExistsError):  # another run has claimed the folder at the same time
            write_json(folder / CONFIG_FILE, now, replace=False)
            return
    then = (added or {}) | with_parts(read_object(folder / CONFIG_FILE))
    different = [key for key in sorted(set(now) | set(then)) if now.get(key) != then.get(key)]
    if different:
        leaf = first_difference(then.get(different[0]), now.get(different[0]), different[0])
        raise ValueError(
            f"{folder} holds a run with other {', '.join(different)} ({leaf}); give this run another --name, or delete "
            "that folder"
        )


def first_difference(then: Any, now: Any, path: str) -> str:
    """Describe the first leaf at which two JSON values differ."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in [*then, *now]:
            if then.get(key) != now.get(key):
                return first_difference(then.get(key), now.get(key), f"{path}.{key}")
    return f"{path}: {then!r} there, {now!r} now"


def name_of_run(facts: Settings, seed: int) -> str:
    """Compute a hash of all that a checkpoint depends on."""
    return hashlib.sha256(json.dumps([facts, seed], sort_keys=True).encode()).hexdigest()


def _join_logs(folder: Path, seeds: Sequence[int]) -> None:
    """Join the logs of all seeds in one `metrics.jsonl`, with the seed in each line."""
    with atomic_path(folder / LOG_FILE) as temporary, temporary.open("w") as stream:
        for seed in seeds:
            path = folder / f"seed-{seed}" / LOG_FILE
            for entry in read_json_lines(path) if path.is_file() else ():  # closed forms log nothing
                stream.write(json.dumps({"seed": seed} | entry) + "\n")
