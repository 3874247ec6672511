"""Facts that travel: what is read is what was written, and a spoiled file is refused by file and field."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from tiny_configs import ALL_STAGES
from toy import toy_manifest, toy_splits
from toy_runs import FACTS, toy_experiment

from zsl.common.files import read_json, write_json
from zsl.common.records import write_record
from zsl.experiments.methods import find_method
from zsl.experiments.results import GammaFacts, Results, RunFacts, SeedScores, read_facts, read_results, summarise
from zsl.experiments.search import select
from zsl.experiments.selection import Selection, load_selection, read_selection
from zsl.features.split import RowsFacts

SCORES = (
    SeedScores(
        seed=3, acc_zsl=0.5, acc_unseen=0.25, acc_seen=1.0, harmonic=0.4, ausuc=0.3, pulled_to_seen=0.1,
        harmonic_uncalibrated=0.2, harmonic_oracle=0.45, oracle_gamma=1.25,
    ),
)  # fmt: skip
GAMMA = GammaFacts(value=0.75, source="of 5 folds within trainval", harmonic_on_folds=0.5)
MANIFEST = toy_manifest()
ESZSL = find_method("eszsl", ALL_STAGES)


def results_file(folder: Path) -> tuple[Path, Results]:
    results = summarise(SCORES, FACTS, GAMMA, {"train_eszsl": RowsFacts(count=240, hash="a")})
    write_json(folder / "results.json", results.as_json)
    return folder / "results.json", results


def config_file(folder: Path) -> tuple[Path, RunFacts]:
    write_record(folder / "config.json", FACTS)
    return folder / "config.json", FACTS


def selection_file(folder: Path) -> tuple[Path, Selection]:
    chosen = select(
        replace(ESZSL, rounds=()), {1: toy_splits(1)}, folder, manifest=toy_manifest(), goal="harmonic", seed=0,
        budget=None, calibration={7: toy_splits(7)},
    )  # fmt: skip
    return folder / "selection.json", chosen


def read_chosen(path: Path) -> Selection:
    return read_selection(path, ESZSL, toy_manifest(), toy_splits(1)[0].attributes)


Write = Callable[[Path], tuple[Path, Any]]
Read = Callable[[Path], Any]
FILES: dict[str, tuple[Write, Read]] = {
    "results": (results_file, read_results),
    "config": (config_file, read_facts),
    "selection": (selection_file, load_selection),
    "selection of a run": (selection_file, read_chosen),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_is_read_is_what_was_written(kind: str, tmp_path: Path) -> None:
    write, read = FILES[kind]
    path, written = write(tmp_path)
    assert read(path) == written


def refusal(kind: str, folder: Path, spoil: Callable[[str], str]) -> str:
    """The message, once it is sure that it names the file and says what to do."""
    write, read = FILES[kind]
    path, _ = write(folder)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the message is what is looked at
        read(path)
    assert str(refused.value).startswith(str(path))
    assert "another --name" in str(refused.value)
    return str(refused.value)


def with_value(where: tuple[str | int, ...], value: Any) -> Callable[[str], str]:
    """The JSON text with another value at a place, or without it where the value is `...`."""

    def spoil(text: str) -> str:
        content = json.loads(text)
        part = content
        for key in where[:-1]:
            part = part[key]
        if value is ...:
            del part[where[-1]]
        else:
            part[where[-1]] = value
        return json.dumps(content)

    return spoil


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text[: len(text) // 2], "is no JSON"),
        (lambda text: "", "is no JSON"),
        (lambda text: f"[{text}]", "list|`array`"),
        (lambda text: "null", "NoneType|`null`"),
    ],
)  # fmt: skip
def test_a_file_that_is_cut_or_holds_something_else_is_refused(
    kind: str, spoil: Callable[[str], str], says: str, tmp_path: Path
) -> None:
    message = refusal(kind, tmp_path, spoil)
    assert any(word in message for word in says.split("|")), message


OF_EVERY_RUN = ["benchmark", "backbone", "features", "method", "method_version", "protocol", "inductive", "config"]
NEEDED = {
    "results": [*OF_EVERY_RUN, "gamma", "gamma_asked", "seeds", "mean", "std", "rows_read", "selection"],
    "config": [*OF_EVERY_RUN, "gamma_asked", "selection"],
    "selection": ["benchmark", "method", "method_version", "folds", "trials", "best", "gamma", "calibration"],
    "selection of a run": ["folds", "trials", "best", "gamma", "calibration_folds", "calibration", "seed", "goal"],
}


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in NEEDED for field in NEEDED[kind]])
def test_a_field_that_is_absent_is_named(kind: str, field: str, tmp_path: Path) -> None:
    assert f"`{field}`" in refusal(kind, tmp_path, with_value((field,), ...))


@pytest.mark.parametrize("value", [None, "a", [1], {"a": {}}])
@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("results", ("seeds", 0, "acc_zsl")),
        ("results", ("seeds", 0, "seed")),
        ("results", ("mean", "harmonic")),
        ("results", ("gamma", "value")),
        ("results", ("missing_photos",)),
        ("results", ("inductive",)),
        ("results", ("classes", "seen")),
        ("config", ("quarantined_photos",)),
        ("config", ("rows", "trainval_loc")),
        ("selection", ("gamma",)),
        ("selection", ("best", "scores", "harmonic")),
        ("selection", ("calibration", "scores", "gamma")),
        ("selection of a run", ("trials",)),
    ],
)
def test_a_value_that_is_null_or_of_another_type_is_named(
    kind: str, where: tuple[str | int, ...], value: Any, tmp_path: Path
) -> None:
    """A field of numbers by name has none of its own: "[...]" stands for whichever it is."""
    message = refusal(kind, tmp_path, with_value(where, value))
    *parents, last = where
    assert str(parents[0] if last in ("harmonic", "seen", "trainval_loc") and len(where) == 2 else last) in message


def test_results_of_no_seed_are_refused(tmp_path: Path) -> None:
    assert "lacks seeds" in refusal("results", tmp_path, with_value(("seeds",), []))


@pytest.mark.parametrize(
    ("method", "every"), [("eszsl", None), ("supervised", None), ("dap", None), ("C-5", None), ("C-5", 4)]
)
def test_results_are_json_without_nan_and_have_what_there_is(
    method: str, every: int | None, accelerator: Accelerator, tmp_path: Path
) -> None:
    """NaN is no JSON: other languages' readers refuse the whole file."""
    experiment, made = toy_experiment(accelerator, seeds=(0,)), find_method(method, ALL_STAGES)
    protocol, gamma = "honest" if every is None else "published", 0.5
    results = experiment.run(made, tmp_path, gamma=gamma, protocol=protocol, every=every)  # type: ignore[arg-type]

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    for path in (tmp_path / "results.json", tmp_path / "config.json", *tmp_path.rglob("scores.json")):
        json.loads(path.read_text(), parse_constant=refuse)
    content = read_json(tmp_path / "results.json")
    assert ("harmonic_oracle_weights" in content["seeds"][0]) is (every is not None)
    assert ("harmonic_oracle_weights" in content["mean"]) is (every is not None)
    assert content["gamma"] == {"value": gamma, "source": "--gamma", "harmonic_on_folds": None}
    assert content["gamma_asked"] == gamma
    for entry in content["seeds"]:
        assert all(math.isfinite(value) for value in entry.values())
    assert read_results(tmp_path / "results.json") == results
    assert read_facts(tmp_path / "config.json") == RunFacts(**{key: vars(results)[key] for key in vars(FACTS)})
