"""Selection: on validation folds alone, resumable, sparing what is known; and the table and protocols built on it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from test_journal import TINY
from torch import Tensor
from toy import toy_splits, toy_table

from zsl.dcrgan import train_dcrgan
from zsl.evaluate import evaluate
from zsl.experiment import Experiment
from zsl.features import TestSplit, TrainSplit
from zsl.methods import Method, flatten, override
from zsl.published import LABEL
from zsl.select import Selection, Trainer, read_selection, select
from zsl.table import markdown_table, run_methods

Folds = dict[int, tuple[TrainSplit, TestSplit]]


@pytest.fixture
def folds() -> Folds:
    return {1: toy_splits(seed=1), 2: toy_splits(seed=2)}


def method(*rounds: tuple[dict[str, Any], ...]) -> Method:
    return Method(name="dcrgan", train=train_dcrgan, config=TINY, rounds=rounds)


def search(made: Method, folds: Folds, folder: Path, budget: int = 10, trainer: Trainer | None = None) -> Selection:
    return select(
        made, folds, folder, benchmark="toy", backbone="b", goal="harmonic", seed=0, budget=budget, trainer=trainer
    )


STEPS = ({"gan.steps": 4}, {"gan.steps": 8}, {"gan.steps": 2})
WEIGHTS = ({"classifiers.weight_ss": 0.0}, {"classifiers.weight_ss": 2.0})


class Shifted:
    """A model with γ taken off the seen columns, written out."""

    def __init__(self, model: Any, gamma: float, seen: Tensor) -> None:
        self.zsl_classes, self.gzsl_classes, self.zsl_scores = model.zsl_classes, model.gzsl_classes, model.zsl_scores
        self.plain, self.offset = model.gzsl_scores, gamma * torch.isin(model.gzsl_classes, seen)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        return self.plain(features) - self.offset


def test_the_best_trial_is_chosen_and_its_scores_are_those_of_its_models(folds: Folds, tmp_path: Path) -> None:
    chosen = search(method(STEPS, WEIGHTS), folds, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert chosen.best.harmonic == max(trial["harmonic"] for trial in lines[1:])
    config = chosen.config(method())
    shares = []
    for train, test in folds.values():  # the definition: train anew, take γ off the seen columns, average
        model = train_dcrgan(train, config, seed=0)
        shares.append(evaluate(Shifted(model, chosen.best.gamma, train.seen), test, lambda note: None).harmonic)
    assert chosen.best.harmonic == pytest.approx(sum(shares) / len(shares), abs=1e-6)


def test_fusion_weights_and_more_steps_cost_no_training_of_their_own(folds: Folds, tmp_path: Path) -> None:
    trainer = Trainer()
    search(method(WEIGHTS), folds, tmp_path, trainer=trainer)
    assert trainer.trainings == len(folds)
    search(
        replace(method(WEIGHTS), name="C-1", settings={"classifiers.weight_srs": 0.0}),
        folds,
        tmp_path / "c",
        trainer=trainer,
    )
    assert trainer.trainings == len(folds)


def test_without_budget_only_what_needs_no_training_is_tried(folds: Folds, tmp_path: Path) -> None:
    trainer = Trainer()
    assert search(method(STEPS, WEIGHTS), folds, tmp_path, budget=0, trainer=trainer).trials == 3
    assert trainer.trainings == len(folds)


def test_a_killed_search_goes_on_and_ends_at_the_same_choice(
    folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(method(STEPS, WEIGHTS), folds, tmp_path / "whole")
    calls = 0
    model = Trainer.model

    def die(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return model(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "model", die)
        with pytest.raises(KeyboardInterrupt):
            search(method(STEPS, WEIGHTS), folds, tmp_path / "killed")
    assert len((tmp_path / "killed" / "trials.jsonl").read_text().splitlines()) == 3  # facts and two trials
    assert search(method(STEPS, WEIGHTS), folds, tmp_path / "killed") == whole


def test_a_selection_is_read_back_and_refused_for_other_features(folds: Folds, tmp_path: Path) -> None:
    chosen = search(method(STEPS), folds, tmp_path)
    assert read_selection(tmp_path, benchmark="toy", backbone="b") == chosen
    with pytest.raises(ValueError, match="was chosen with backbone b, these features are of other"):
        read_selection(tmp_path, benchmark="toy", backbone="other")
    with pytest.raises(FileNotFoundError, match=r"no selection .*scripts/choose\.py makes it"):
        read_selection(tmp_path / "nowhere", benchmark="toy", backbone="b")
    with pytest.raises(ValueError, match="holds a search with other folds"):
        search(method(STEPS), {1: folds[1]}, tmp_path)


@pytest.fixture
def experiment(accelerator: Accelerator) -> Experiment:
    table, splits = toy_table()
    train, test = toy_splits()
    source = {"verdict": "toy", "missing": 0, "split_hashes": []}
    manifest = {"benchmark": "toy", "backbone": "b", "pretraining": "none", "source": source}
    manifest |= dict.fromkeys(("shards_sha256", "weights_sha256", "precision", "dim", "count"), "x")
    whole = replace(table, manifest=manifest)
    return Experiment(table=whole, splits=splits, train=train, test=test, seeds=(0, 1), accelerator=accelerator)


def test_the_table_has_a_line_a_method_and_is_not_made_twice(
    experiment: Experiment, folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["eszsl", "C-1", "C-5", "published"]
    given = experiment, folds, names, TINY, tmp_path, 0, 4
    results = run_methods(*given)
    lines = markdown_table(results).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["method", "---", *names]
    assert results["C-1"]["config"]["classifiers"]["weight_ss"] == 0.0
    assert results["published"]["protocol"] == LABEL
    assert results["C-1"]["protocol"].startswith("honest: chosen on validation folds")
    assert set(results["C-1"]["rows_read"]) >= {"train_metric", "train_gan", "train_classifiers"}

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "model", never)
    monkeypatch.setattr("zsl.experiment.train_published", never)
    assert run_methods(*given)["C-5"]["mean"] == results["C-5"]["mean"]


def test_the_published_protocol_is_never_below_any_of_its_looks(
    experiment: Experiment, folds: Folds, tmp_path: Path
) -> None:
    results = run_methods(experiment, folds, ["published"], TINY, tmp_path, 0, 4)["published"]
    for entry in results["seeds"]:
        for steps in (4, 8):
            config = override(TINY, flatten(results["config"]) | {"gan.steps": steps})
            model = train_dcrgan(experiment.train, config, seed=entry["seed"])
            scores = evaluate(model, experiment.test, lambda note: None)
            assert entry["harmonic"] >= scores.harmonic
            assert entry["acc_zsl"] >= scores.acc_zsl
    opened = (tmp_path / "published" / "test_access.jsonl").read_text().splitlines()
    assert len(opened) == 2 * 2 * 3  # seeds, looks, and two more for the oracle weights of each
