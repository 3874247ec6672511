"""The published protocol: the best of its looks, whatever kills it, and refused where it makes no sense."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tiny_configs import ALL_STAGES
from toy_runs import toy_experiment

from zsl.common.config import override
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.method import SEEN_WEIGHTS, UNSEEN_WEIGHTS, epochs, looks
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.published import LADDER
from zsl.experiments.results import Results, ladder_text
from zsl.scores.details import load_details
from zsl.scores.evaluate import evaluate, evaluate_details
from zsl.scores.model import Calibrated
from zsl.scores.summary import Scores, scores_of
from zsl.training.journal import Journal
from zsl.training.trackers import Tracker

EVERY = 3  # steps of 8: looks after 3, 6 and 8
GAMMA = 0.5
PAPERS = find_method("C-5", ALL_STAGES).configured(ALL_STAGES)


@pytest.fixture
def experiment(accelerator: Accelerator) -> Experiment:
    return toy_experiment(accelerator)


def publish(experiment: Experiment, folder: Path, method: str = "C-5", every: int = EVERY) -> Results:
    made = find_method(method, ALL_STAGES)
    return experiment.published(made, made.configured(made.config), folder, gamma=GAMMA, every=every)


class Killed(Exception):
    """The process ends here."""


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Its one number is how many more looks and steps of the GAN there are until the process ends, -1: never."""
    left = [-1]

    def one_less() -> None:
        if left[0] == 0:
            raise Killed
        left[0] -= 1

    def look(*args: Any) -> Any:
        one_less()  # a look scores many models: it may end within
        return evaluate_details(*args)

    class Killing(Journal):
        def __init__(self, path: Path, run: str, tracker: Tracker | None = None) -> None:
            super().__init__(path, run, seconds=0.0, tracker=tracker)

        def steps(self, stage: str, *args: Any) -> Iterator[int]:
            for step in super().steps(stage, *args):
                if stage == "DCR-GAN":
                    one_less()
                yield step

    monkeypatch.setattr("zsl.experiments.published.evaluate_details", look)
    monkeypatch.setattr("zsl.experiments.run.Journal", Killing)
    return left


def whole_files(folder: Path) -> dict[str, bytes]:
    """All files of a run but those that tell when something was done."""
    timed = ("starts.jsonl", "progress.jsonl", "test_access.jsonl")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in timed]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_kills_between_looks_and_within_them_change_no_bit(
    experiment: Experiment, tmp_path: Path, killing: list[int]
) -> None:
    publish(experiment, tmp_path / "whole")
    kills = 0
    while True:
        killing[0] = (2, 30, 1, 60, 15)[kills % 5]  # 8 steps and 3 looks of some 25 readings: falls on all of them
        try:
            publish(experiment, tmp_path / "killed")
            break
        except Killed:
            kills += 1
    assert kills >= 4
    assert whole_files(tmp_path / "killed") == whole_files(tmp_path / "whole")
    assert not list(tmp_path.rglob("look-*"))


def scores_at(model: Any, experiment: Experiment, gamma: float) -> Scores:
    return evaluate(Calibrated(model, gamma, experiment.train.seen), experiment.test, lambda note: None)


def oracle_at(model: Any, experiment: Experiment) -> float:
    """H of S with the weights of seen images, and U with those of unseen ones."""
    shares = []
    for (ss, srs), part in ((SEEN_WEIGHTS, "acc_seen"), (UNSEEN_WEIGHTS, "acc_unseen")):
        fused = model.fused_by(replace(PAPERS.classifiers, weight_vs=1.0, weight_ss=ss, weight_srs=srs))
        shares.append(getattr(evaluate(fused, experiment.test, lambda note: None), part))
    return 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0


def test_each_level_of_the_ladder_is_a_choice_more(experiment: Experiment, tmp_path: Path) -> None:
    results = publish(experiment, tmp_path)
    for entry, scores in zip(results.selected_on_test, results.seeds, strict=True):
        seed, ladder = entry["seed"], entry["ladder"]
        models = {
            steps: train_dcrgan(experiment.train, override(PAPERS, {"gan.steps": steps}), seed=seed)
            for steps in (3, 6, 8)
        }
        assert ladder["γ = 0"] == scores_at(models[8], experiment, 0.0).harmonic
        assert ladder["γ"] == scores_at(models[8], experiment, GAMMA).harmonic
        of_epochs = {
            steps: [of.model(each) for of in [epochs(model)] for each in product(*map(range, of.counts))]
            for steps, model in models.items()
        }
        assert all(len(made) == 2**3 for made in of_epochs.values())
        harmonics = {
            steps: [scores_at(model, experiment, GAMMA).harmonic for model in made] for steps, made in of_epochs.items()
        }
        assert ladder["γ"] <= ladder["classifier epochs"] <= max(harmonics[8])
        assert ladder["classifier epochs"] in harmonics[8]
        assert ladder["classifier epochs"] <= ladder["GAN epoch"] <= max(map(max, harmonics.values()))
        chosen = epochs(models[entry["steps"]]).model([epoch - 1 for epoch in entry["epochs"]])
        kept = scores_of(load_details(tmp_path / f"seed-{seed}" / "details.safetensors"))
        assert kept == scores_at(chosen, experiment, GAMMA)
        assert ladder["GAN epoch"] == scores["harmonic"] == kept.harmonic
        last = [oracle_at(model, experiment) for model in models.values()]
        every = [oracle_at(model, experiment) for made in of_epochs.values() for model in made]
        assert max(last) <= ladder["oracle weights"] <= max(every)
        assert ladder["oracle weights"] == entry["harmonic_oracle_weights"] == scores["harmonic_oracle_weights"]
        assert scores["acc_zsl"] >= max(scores_at(model, experiment, GAMMA).acc_zsl for model in models.values())
    levels = ladder_text(results).splitlines()[1:]
    assert [line.split("  ")[0].strip() or line.strip().split("  ")[0] for line in levels] == list(LADDER)
    assert json.loads((tmp_path / "results.json").read_text())["mean"] == results.mean


def test_the_last_epochs_make_the_trained_model_and_the_first_one_a_shorter_training(experiment: Experiment) -> None:
    config = override(PAPERS, {"classifiers.lr_falls": False, "classifiers.epochs": 3})
    model = train_dcrgan(experiment.train, config, seed=0)
    of = epochs(model)
    assert of.counts == (3, 3, 3)
    features = experiment.test.unseen.features
    last = of.model((2, 2, 2))
    assert torch.equal(last.gzsl_scores(features), model.gzsl_scores(features))
    assert torch.equal(last.zsl_scores(features), model.zsl_scores(features))
    shorter = train_dcrgan(experiment.train, override(config, {"classifiers.epochs": 1}), seed=0)
    # The first head of all is VS of ZSL; those after it have other draws.
    assert torch.equal(of.model((0, 0, 0)).zsl.visual(features), shorter.zsl.visual(features))


def test_classifiers_in_closed_form_have_one_epoch(experiment: Experiment) -> None:
    model = train_dcrgan(experiment.train, override(ALL_STAGES, {"classifiers.fit": "discriminant"}), seed=0)
    of = epochs(model)
    assert of.counts == (1, 1, 1)
    features = experiment.test.unseen.features
    assert torch.equal(of.model((0, 0, 0)).gzsl_scores(features), model.gzsl_scores(features))


@pytest.mark.parametrize(
    ("steps", "every", "at"),
    [
        (8, 4, [4, 8]),
        (8, 3, [3, 6, 8]),
        (8, 9, [8]),
        (8, 8, [8]),
        (30, None, [3, 6, 9, 12, 15, 18, 21, 24, 27, 30]),
        (4, None, [1, 2, 3, 4]),
    ],
)
def test_looks_are_at_each_every_and_at_the_end(steps: int, every: int | None, at: list[int]) -> None:
    whole = override(PAPERS, {"gan.steps": steps})
    found = looks(whole, every)
    assert [steps for steps, _ in found] == at
    assert [config for _, config in found] == [override(whole, {"gan.steps": steps}) for steps in at]


def test_what_has_no_looks_is_refused_in_words(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="between steps of a GAN; eszsl has none"):
        publish(experiment, tmp_path / "run", method="eszsl")
    with pytest.raises(ValueError, match="--every 0: the GAN takes at least 1 step"):
        publish(experiment, tmp_path / "run", every=0)
    assert not (tmp_path / "run").exists()


def test_two_ranks_deal_the_seeds(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    train = Experiment.published.__globals__["train_published"]

    def note(*args: Any, seed: int, every: int) -> Any:
        trained.append(seed)
        return train(*args, seed=seed, every=every)

    monkeypatch.setattr("zsl.experiments.experiment.train_published", note)
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    with pytest.raises(FileNotFoundError, match="seed-1"):  # the other process's, which is not there
        publish(experiment, tmp_path)
    assert trained == [0]
