"""A sweep: the scores of methods at several values of one field of the configuration, on validation folds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import nan
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import tyro
from tyro.conf import FlagConversionOff

from zsl.common.config import flatten, override
from zsl.common.drawing import COLOURS, DASHES, MARKERS, drawing, finish
from zsl.common.files import write_json, write_text
from zsl.common.markdown import markdown_table
from zsl.common.progress import progress_bar
from zsl.experiments.results import percent
from zsl.experiments.search import Diverged, Trials, clear_steps, describe_trials
from zsl.experiments.trainer import Folds, Trainer
from zsl.features.manifest import Manifest
from zsl.training.method import Method

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)
DIVERGES = "diverges"
SCORES = {"T1": "acc_zsl", "H": "harmonic", "AUSUC": "ausuc"}  # scores of a trial


@dataclass(frozen=True, kw_only=True)
class Point:
    """One method at one value: mean scores over the folds [seeds], with H at the best common γ of the folds.

    A seed whose training diverges has no score, so that a value may have none at all.
    """

    method: str
    value: Any
    acc_zsl: list[float]
    harmonic: list[float]
    ausuc: list[float]
    diverged: int = 0  # number of seeds whose training diverges


def read_values(field: str, texts: Sequence[str], config: Any) -> list[Any]:
    """Parse the values of a field from words of a command line: 20, relu, None, True, "0.8 0.2 0.5".

    A wrong word ends the program with a message, as a wrong flag does.

    Raises:
        ValueError: the configuration has no such field.
    """
    fields = flatten(asdict(config))
    if field not in fields:
        raise ValueError(f"no field {field!r} in the configuration; there are {', '.join(fields)}")
    flag = f"--{field.replace('_', '-')}"
    parser: Any = FlagConversionOff[type(config)]  # type: ignore[misc]  # the type of the method's config
    configs = [tyro.cli(parser, default=config, args=[flag, *text.split()]) for text in texts]
    return [flatten(asdict(changed))[field] for changed in configs]


def sweep(
    methods: Sequence[Method],
    field: str,
    values: Sequence[Any],
    folds: Folds,
    folder: Path,
    *,
    manifest: Manifest,
    seeds: Sequence[int],
    trainer: Trainer | None = None,
) -> list[Point]:
    """Train every method at every value with every seed on every fold, except the trials that `folder` holds.

    trainer: may train several folds at once; None: one after the other, in this process.

    Raises:
        ValueError: values, seeds or methods are empty or have a repetition, a method does not take a value of the
            field, or the folder holds a sweep on other folds or features.
    """
    names = [method.name for method in methods]
    for flag, words in (("--values", values), ("--seeds", seeds), ("--methods", names)):
        if not words or len(set(words)) < len(words):
            raise ValueError(f"{flag} {' '.join(map(str, words)) or 'without any'}: name one or several, each once")
    configs = {(method.name, value): _configured(method, field, value) for value in values for method in methods}
    trainer = trainer or Trainer()
    columns: dict[tuple[str, Any], tuple[list[float], ...]] = {point: tuple([] for _ in SCORES) for point in configs}
    diverged = dict.fromkeys(configs, 0)
    todo = [(seed, value) for seed in seeds for value in values]
    for seed, value in progress_bar(todo, what=f"sweep {field}", unit=" trainings"):
        for method in methods:  # methods with one generator follow each other, so that it is trained once
            facts = describe_trials(method, manifest, folds, seed)
            trials = Trials(folder / f"{method.name}-seed-{seed}.jsonl", facts)
            train_and_test = partial(trainer.on_folds, method, folds, seed=seed, folder=folder)
            try:
                trial = trials.get(configs[method.name, value], train_and_test)
            except Diverged as error:
                log.warning("%s with %s = %s and seed %s diverges: %s", method.name, field, value, seed, error)
                diverged[method.name, value] += 1
                continue
            for scores, name in zip(columns[method.name, value], SCORES.values(), strict=True):
                scores.append(getattr(trial.scores, name))
        clear_steps(folder)
    return [
        Point(
            method=method,
            value=value,
            diverged=diverged[method, value],
            **dict(zip(SCORES.values(), scores, strict=True)),
        )
        for (method, value), scores in columns.items()
    ]


def _configured(method: Method, field: str, value: Any) -> Any:
    """Return the configuration of `method` with this value of the field.

    Raises:
        ValueError: the field is fixed for the method, or absent, or its configuration refuses the value.
    """
    if field in method.settings:
        raise ValueError(f"{field} of {method.name} is always {method.settings[field]!r}; sweep another method")
    try:
        return method.configured(override(method.config, {field: value}))
    except ValueError as error:
        raise ValueError(f"{method.name} with {field} = {value}: {error}") from error


def write_sweep(points: Sequence[Point], field: str, folder: Path) -> str:
    """Write `sweep.json`, `sweep.md`, `sweep.svg` and `sweep.png` into `folder`; returns the Markdown."""
    write_json(folder / "sweep.json", {"field": field, "points": [asdict(point) for point in points]})
    text = _markdown(points, field)
    write_text(folder / "sweep.md", text)
    _draw(points, field, folder)
    return text


def _markdown(points: Sequence[Point], field: str) -> str:
    methods, values = _axes(points)
    head = [f"`{field}`", *(f"{method}: {score}" for method in methods for score in SCORES)]
    return markdown_table(head, [_row(value, points) for value in values])


def _row(value: Any, points: Sequence[Point]) -> list[str]:
    """Write the cells of one value: T1 and H of each method."""
    row = [point for point in points if point.value == value]
    return [str(value), *(_spread(getattr(point, name), point.diverged) for point in row for name in SCORES.values())]


def _spread(scores: Sequence[float], diverged: int) -> str:
    if not scores:
        return DIVERGES
    text = percent(fmean(scores), stdev(scores) if len(scores) > 1 else 0.0, len(scores))
    return text + f" ({diverged} of {len(scores) + diverged} seeds diverged)" * (diverged > 0)


def _axes(points: Sequence[Point]) -> tuple[list[str], list[Any]]:
    return list(dict.fromkeys(p.method for p in points)), list(dict.fromkeys(p.value for p in points))


def _draw(points: Sequence[Point], field: str, folder: Path) -> None:
    """Draw H of every method over the values; a bar is one standard deviation long in either direction."""
    methods, values = _axes(points)
    with drawing(3.0) as (figure, axes):
        for number, method in enumerate(methods):
            scores = [[100 * h for h in point.harmonic] for point in points if point.method == method]
            _draw_line(axes, number, method, scores)
        axes.set_xticks(range(len(values)), [str(value) for value in values])
        axes.set(xlabel=field, ylabel="H on validation folds, %")
        axes.grid(True, axis="y")
        figure.legend(loc="outside upper center", ncols=min(4, len(methods)))
        numbers = ", ".join(f"{p.method} at {p.value}: {_spread(p.harmonic, p.diverged)}" for p in points)
        finish(figure, "sweep", f"H on validation folds over {field}: {numbers}", folder)


def _draw_line(axes: Axes, number: int, method: str, scores: list[list[float]]) -> None:
    """Draw the mean of each value's `scores` and its standard deviation; `number` decides colour, dashes and marker."""
    means = [fmean(values) if values else nan for values in scores]
    spread = [stdev(values) if len(values) > 1 else 0.0 for values in scores]
    axes.errorbar(
        range(len(scores)), means, yerr=spread, label=method, capsize=3,
        color=COLOURS[number % len(COLOURS)], linestyle=DASHES[number % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)], markersize=5, linewidth=1.2,
    )  # fmt: skip
