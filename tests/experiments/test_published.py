"""The published protocol: the best of its looks, whatever kills it, and refused where it makes no sense."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from tiny_configs import ALL_STAGES
from toy_runs import toy_experiment

from zsl.common.config import override
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.method import SEEN_WEIGHTS, UNSEEN_WEIGHTS, looks
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.results import Results
from zsl.scores.details import load_details
from zsl.scores.evaluate import evaluate, evaluate_details
from zsl.scores.model import Calibrated
from zsl.scores.summary import scores_of
from zsl.training.journal import Journal

EVERY = 3  # steps of 8: looks after 3, 6 and 8
GAMMA = 0.5


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
        one_less()  # a look opens the test rows three times: it may end within
        return evaluate_details(*args)

    class Killing(Journal):
        def __init__(self, path: Path, run: str) -> None:
            super().__init__(path, run, seconds=0.0)

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
    files = [
        path for path in folder.rglob("*") if path.is_file() and path.name not in ("starts.jsonl", "test_access.jsonl")
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_kills_between_looks_and_within_them_change_no_bit(
    experiment: Experiment, tmp_path: Path, killing: list[int]
) -> None:
    publish(experiment, tmp_path / "whole")
    kills = 0
    while True:
        killing[0] = (2, 1, 3, 4, 5)[kills % 5]  # 8 steps and 3 looks of 3 readings: falls on all of them
        try:
            publish(experiment, tmp_path / "killed")
            break
        except Killed:
            kills += 1
    assert kills >= 6
    assert whole_files(tmp_path / "killed") == whole_files(tmp_path / "whole")
    assert not list(tmp_path.rglob("look-*"))


def test_the_last_steps_are_looked_at_and_each_score_says_which_look_it_is_of(
    experiment: Experiment, tmp_path: Path
) -> None:
    results = publish(experiment, tmp_path)
    for entry, scores in zip(results.selected_on_test, results.seeds, strict=True):
        seed = entry["seed"]
        by_steps, models = {}, {}
        for steps in (3, 6, 8):
            models[steps] = train_dcrgan(experiment.train, override(ALL_STAGES, {"gan.steps": steps}), seed=seed)
            by_steps[steps] = evaluate(
                Calibrated(models[steps], GAMMA, experiment.train.seen), experiment.test, lambda note: None
            )
        assert scores["harmonic"] == by_steps[entry["steps"]].harmonic == max(s.harmonic for s in by_steps.values())
        assert scores["acc_zsl"] == by_steps[entry["steps_of_zsl"]].acc_zsl == max(s.acc_zsl for s in by_steps.values())
        kept = scores_of(load_details(tmp_path / f"seed-{seed}" / "details.safetensors"))
        assert kept == by_steps[entry["steps"]]
        oracles = []
        for model in models.values():  # S with the weights of seen images, U with those of unseen ones
            shares = []
            for (ss, srs), part in ((SEEN_WEIGHTS, "acc_seen"), (UNSEEN_WEIGHTS, "acc_unseen")):
                weights = {"weight_vs": 1.0, "weight_ss": ss, "weight_srs": srs}
                fused = model.fused_by(override(ALL_STAGES.classifiers, weights))
                shares.append(getattr(evaluate(fused, experiment.test, lambda note: None), part))
            oracles.append(2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0)
        assert entry["harmonic_oracle_weights"] == pytest.approx(max(oracles))
    mean = sum(entry["harmonic_oracle_weights"] for entry in results.selected_on_test) / 2
    assert results.mean["harmonic_oracle_weights"] == pytest.approx(mean)
    assert json.loads((tmp_path / "results.json").read_text())["mean"] == results.mean


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
    whole = override(ALL_STAGES, {"gan.steps": steps})
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
