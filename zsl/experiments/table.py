"""Runs of many methods on one feature table, and the table of their scores."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from zsl.baselines.registry import BASELINES
from zsl.common.config import flatten
from zsl.common.cost import Cost, stopwatch
from zsl.common.long_work import PROGRESS_FILE, LongWork
from zsl.common.markdown import markdown_table
from zsl.common.records import read_record, write_record
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.recipes import find_recipe
from zsl.dcrgan.variants import FORMS, NAME, VARIANTS, form_of
from zsl.experiments.compare import read_run
from zsl.experiments.experiment import PUBLISHED_FILE, Experiment
from zsl.experiments.methods import OTHERS, PUBLISHED, find_method
from zsl.experiments.results import REMEDY, RESULTS_FILE, TABLE, UNCALIBRATED, Results, read_results, spread_text
from zsl.experiments.run import SCORES_FILE, check_seeds
from zsl.experiments.search import select
from zsl.experiments.selection import SELECTION_FILE, Selection, load_selection
from zsl.experiments.trainer import Folds, Trainer
from zsl.scores.details import Details
from zsl.scores.model import DIVERGED, BrokenMethod
from zsl.training.method import Method

log = logging.getLogger(__name__)
Content = TypeVar("Content")
Start = Callable[[str], DCRGANConfig]  # from a method's name to the configuration where it starts
COST_FILE = "cost.json"
SHORT = 0.05  # expected time of a baseline beside that of a method with a generator: a minute beside 25 on CUB
# Of a training: too little memory, settings that do not suit it, a user's own method that breaks its contract.  Any
# other ValueError stops the table: a stage that could read a test row raises one, and so does a folder of another run.
FAILURES = (RuntimeError, MemoryError, BrokenMethod, *DIVERGED)


def run_methods(
    data: Experiment,
    folds: Folds,
    names: Sequence[str],
    start: Start,
    folder: Path,
    budget: int | None,
    every: int | None = None,
    failures: dict[str, str] | None = None,
) -> dict[str, Results]:
    """Choose a configuration for each method, run the method, and return the results by name.

    Variants of one form share the search for DCR-GAN in this form.  Each folder gets a file of the costs: of the search
    and of the runs, as far as they were not shared with an earlier method.

    folds: the validation folds, which choose configurations.  start: where DCR-GAN's search starts.  budget: most
    configurations of each search that need training, as `budget_of` takes it.  failures: gets the error message of each
    method that fails in training; None: such an error stops all.

    Raises:
        ValueError: there is no method, a name is unknown, or a name occurs twice; or as in `check_every` and
            `check_seeds`.
    """
    methods = _find_methods(names, start)
    check_every(every, methods)
    check_seeds(data.seeds)  # here, because a search comes before the runs
    choices = _Choices(
        data=data, folds=folds, start=start, folder=folder, budget=budget, trainer=data.trainer or Trainer()
    )
    results = {}
    work = LongWork(
        folder / PROGRESS_FILE, {name: SHORT if name in BASELINES else 1.0 for name in methods},
        what=f"methods of {folder}",
        is_done=lambda name: len(_finished_seeds(folder / name, data.seeds)) == len(data.seeds),
    )  # fmt: skip
    for name, method in methods.items():
        before, cost_so_far = _finished_seeds(folder / name), stopwatch()
        try:
            with work.piece(name):
                results[name] = _run(name, method, choices, every)
        except FAILURES as error:
            if failures is None:
                raise
            failures[name] = f"{type(error).__name__}: {error}"
        if _finished_seeds(folder / name) != before:
            _add_cost(folder / name / COST_FILE, cost_so_far())
    return results


def check_every(every: int | None, rows: Iterable[str]) -> None:
    """Check that a number of steps between two looks at test rows is for a row that has looks.

    Raises:
        ValueError: there is a number, but no such row.
    """
    if every is not None and PUBLISHED not in rows:
        raise ValueError(f"--every {every} is for the row {PUBLISHED}, which --methods does not name")


@dataclass(frozen=True, kw_only=True)
class _Choices:
    """The searches of a table; variants of one form share theirs."""

    data: Experiment
    folds: Folds
    start: Start
    folder: Path
    budget: int | None
    trainer: Trainer
    made: dict[str, Selection] = field(default_factory=dict)  # by the name of the method that was searched

    def of(self, method: Method) -> Selection:
        """Return the selection for `method`, after a search if there is none yet."""
        name = method.selected_as
        if name not in self.made:
            searched = method if name == method.name else find_method(name, self.start(name))
            self.made[name] = select(
                searched, self.folds, self.folder / f"{name}-selection", manifest=self.data.table.manifest,
                goal=searched.goal, seed=0, budget=budget_of(searched, self.budget),
                calibration=self.data.calibration, trainer=self.trainer,
            )  # fmt: skip
        return self.made[name]


def _run(name: str, method: Method, choices: _Choices, every: int | None) -> Results:
    """Run the method of a row with its choice."""
    data, folder, trainer, selection = choices.data, choices.folder / name, choices.trainer, choices.of(method)
    settings = method.configured(selection.config(method))
    if name == PUBLISHED:
        return data.published(method, settings, folder, selection=selection, every=every, trainer=trainer)
    return data.honest(method, settings, folder, selection=selection, trainer=trainer)


def budget_of(method: Method, asked: int | None) -> int | None:
    """Return how many configurations of `method` a table's search may train; None: all.

    It is the same number `asked` for all methods, so that none is searched longer than another.  Only a baseline whose
    trainings take seconds tries its whole grid.  Without a number each method has its own; a variant
    of DCR-GAN then has its recipe alone.
    """
    own = 0 if method.takes_recipe and method.budget is None else method.budget
    return own if asked is None or own is None else asked


def _finished_seeds(folder: Path, seeds: Sequence[int] | None = None) -> set[Path]:
    """The files of scores of all seeds, or of `seeds`."""
    names = ["seed-*"] if seeds is None else [f"seed-{seed}" for seed in seeds]
    return {path for name in names for file in (SCORES_FILE, PUBLISHED_FILE) for path in folder.glob(f"{name}/{file}")}


def _add_cost(path: Path, cost: Cost) -> None:
    write_record(path, read_record(path, Cost, REMEDY).plus(cost) if path.is_file() else cost)


def read_costs(folder: Path, names: Iterable[str]) -> dict[str, Cost]:
    """Read what the runs of these names in `folder` took, as far as it is known."""
    paths = {name: folder / name / COST_FILE for name in names}
    return {name: read_record(path, Cost, REMEDY) for name, path in paths.items() if path.is_file()}


def start_of(benchmark: str) -> Start:
    """Return the function that maps a method's name to the configuration of the benchmark's recipe in its form."""
    return lambda name: find_recipe(benchmark, form=form_of(name)).config


def _find_methods(names: Sequence[str], start: Start) -> dict[str, Method]:
    """Find the methods, by the names of their rows."""
    of_rows = [(name, "C-5" if name == PUBLISHED else name) for name in names]
    methods = [(row, find_method(name, start(name))) for row, name in of_rows]
    rows = [name if name == PUBLISHED else method.name for name, method in methods]
    if not names or len(set(rows)) < len(rows):
        raise ValueError(f"--methods {' '.join(names) or 'without any'}: name one or several, each once")
    return {row: method for row, (_, method) in zip(rows, methods, strict=True)}


def finished_methods(
    folder: Path, results: Mapping[str, Results], left_out: dict[str, str] | None = None
) -> dict[str, Results]:
    """Add the results of earlier calls in `folder` to `results`, so that a table keeps its rows.

    An earlier result must be readable, and have the same features, attributes, seeds and version.  A variant must also
    have the configuration that the folder's search chose last for its form.

    left_out: gets what is unlike in each whole result that is not taken.
    """
    paths = {form.suffix: folder / f"{NAME}{form.suffix}-selection/{SELECTION_FILE}" for form in FORMS}
    choices = {
        suffix: flatten(found.best.config) if (found := _readable(load_selection, path)) else {}
        for suffix, path in paths.items()
    }
    if not results:  # all failed: nothing says which earlier results are of the same kind
        return {}
    kind = _kind(next(iter(results.values())))
    others = sorted(path.parent.name for path in folder.glob(f"*/{RESULTS_FILE}"))
    finished = {}
    for name in dict.fromkeys((*OTHERS, *VARIANTS, PUBLISHED, *others)):
        if name in results:
            finished[name] = results[name]
        elif name in others:
            earlier = _readable(read_results, folder / name / RESULTS_FILE)
            unlike = earlier and _unlike(earlier, kind, choices)
            if earlier is not None and not unlike:
                finished[name] = earlier
            elif unlike and left_out is not None:
                left_out[name] = unlike
    return finished


def _readable(read: Callable[[Path], Content], path: Path) -> Content | None:
    """Read a file of an earlier call; None where there is none, or where it is damaged, which a warning says."""
    try:
        return read(path) if path.is_file() else None
    except (ValueError, OSError) as error:
        log.warning("left out of the table: %s", error)
        return None


def _unlike(result: Results, kind: Mapping[str, object], choices: Mapping[str, Mapping[str, object]]) -> str:
    """What keeps an earlier result out of a table of this kind, in words; "" where it belongs there.

    A variant of DCR-GAN must have the choice for its form.
    """
    own = _kind(result)
    for what, value in kind.items():
        if own[what] != value:
            return f"other {what}" + f" ({own[what]})" * (what in ("seeds", "version"))
    variant = VARIANTS.get(result.method)
    if variant is None or variant.start is not None:
        return ""
    choice = choices[form_of(variant.name).suffix]
    chosen = flatten(result.config) == flatten(dict(choice)) | dict(variant.settings)
    return "" if chosen else "another configuration than the last search chose"


def _kind(result: Results) -> dict[str, object]:
    return {
        "benchmark": result.benchmark,
        "features": result.features,
        "attributes": result.attributes_hash,
        "splits": result.splits,
        "version": str(result.method_version).split(",")[0],  # without the file of a user's own method
        "seeds": " ".join(str(seed) for seed in sorted(entry.seed for entry in result.seeds)),
    }


def answers_of(folder: Path, results: Mapping[str, Results]) -> dict[str, dict[int, Details]]:
    """Read the answers of the honest runs in `folder` for each test image, by seed; a ranking needs them.

    A run whose answers are not whole is left out, which a warning says: its scores are in the table all the same.
    """
    answers = {}
    for name, result in results.items():
        if not result.is_honest:
            continue
        seeds = [entry.seed for entry in result.seeds]
        try:
            details = read_run(folder / name, seeds).details
        except (ValueError, OSError) as error:
            log.warning("left out of the ranking: %s", error)
            continue
        absent = [seed for seed in seeds if seed not in details]
        if absent:
            log.warning(
                "left out of the ranking: %s has no answers of seed %d; train it anew", folder / name, absent[0]
            )
            continue
        answers[name] = details
    return answers


def left_out_text(left_out: Mapping[str, str]) -> str:
    """Say which earlier results are not in the table and why, a line for each reason."""
    reasons = dict.fromkeys(left_out.values())
    named = {why: ", ".join(name for name in left_out if left_out[name] == why) for why in reasons}
    return "".join(f"Not in this table, for {why}: {names}.\n" for why, names in named.items())


def scores_table(
    results: Mapping[str, Results],
    costs: Mapping[str, Cost] | None = None,
    failures: Mapping[str, str] | None = None,
) -> str:
    """Write the scores of each method in Markdown: per cent, mean ± standard deviation over seeds.

    H at γ = 0, and H on the folds that chose γ, stand beside H at that γ.

    costs: of methods by name.  failures: the error message of each method that failed.
    """
    head = ["method", *TABLE, "H at γ = 0", "H on folds", "protocol", "time", "memory"]
    rows = [_cells(name, result, (costs or {}).get(name)) for name, result in results.items()]
    failed = [[name, *[""] * len(TABLE), "", "", f"FAILED {message.splitlines()[0]}", "", ""]
              for name, message in (failures or {}).items()]  # fmt: skip
    return markdown_table(head, rows + failed)


def _cells(name: str, result: Results, cost: Cost | None) -> list[str]:
    scores = [spread_text(result, key) for key in TABLE.values()]
    uncalibrated = [f"{100 * result.mean[key]:.1f}" for key in UNCALIBRATED.values()]
    on_folds = "" if result.gamma.harmonic_on_folds is None else f"{100 * result.gamma.harmonic_on_folds:.1f}"
    time = "" if cost is None else f"{cost.seconds:.0f} s"
    memory = "" if cost is None or cost.memory is None else f"{cost.memory / 1e9:.1f} GB"
    return [name, *scores, *uncalibrated, on_folds, result.protocol.split(":")[0], time, memory]
