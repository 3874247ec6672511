"""Run folders: what is written, what a restart does again, what is refused; and the training script as a whole."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from command_line import SCRIPTS, assert_refused
from command_line import run as run_command
from safetensors.torch import load_file
from tiny_configs import TINY, state
from toy import toy_splits
from toy_runs import FACTS, NO_GAMMA, toy_experiment

from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.variants import PLUS
from zsl.experiments.methods import find_method
from zsl.experiments.results import GammaFacts, Results, SeedScores, read_results, score_table, summarise
from zsl.experiments.run import run_seeds
from zsl.features.split import TrainSplit
from zsl.scores.model import Calibrated
from zsl.training.log import Log

GAMMA = 0.5


class Training:
    """Trains the tiny method and remembers which seeds it was asked for."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.seeds: list[int] = []
        self.kill_at = kill_at

    def __call__(self, train: TrainSplit, seed: int, log: Log) -> Calibrated:
        if seed == self.kill_at:
            raise KeyboardInterrupt
        self.seeds.append(seed)
        return Calibrated(train_dcrgan(train, TINY, seed=seed, log=log), GAMMA, train.seen)


def run(training: Training, folder: Path, accelerator: Accelerator, seeds: tuple[int, ...] = (0, 1, 2)) -> Results:
    return run_seeds(training, *toy_splits(), seeds, folder, FACTS, GammaFacts(value=GAMMA, source="x"), accelerator)


def test_a_killed_run_goes_on_with_the_seeds_that_are_missing_and_ends_the_same(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    undisturbed = run(Training(), tmp_path / "whole", accelerator)
    with pytest.raises(KeyboardInterrupt):
        run(Training(kill_at=1), tmp_path / "killed", accelerator)
    assert not (tmp_path / "killed" / "results.json").exists()
    restart = Training()
    assert run(restart, tmp_path / "killed", accelerator) == undisturbed
    assert restart.seeds == [1, 2]
    whole, killed = ((tmp_path / name / "results.json").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    assert read_results(tmp_path / "killed" / "results.json") == undisturbed


def test_results_hold_each_seed_and_their_mean_and_standard_deviation(tmp_path: Path, accelerator: Accelerator) -> None:
    run(Training(), tmp_path / "run", accelerator)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [entry["seed"] for entry in results["seeds"]] == [0, 1, 2]
    for key in ("acc_zsl", "acc_unseen", "acc_seen", "harmonic"):
        values = [entry[key] for entry in results["seeds"]]
        assert all(0 <= value <= 1 for value in values)
        assert results["mean"][key] == pytest.approx(statistics.fmean(values))
        assert results["std"][key] == pytest.approx(statistics.stdev(values))


def test_the_log_names_seed_stage_step_and_terms(tmp_path: Path, accelerator: Accelerator) -> None:
    run(Training(), tmp_path / "run", accelerator, seeds=(4,))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    heads = {f"{space} of {setting}" for space in ("VS", "SS", "SRS") for setting in ("ZSL", "GZSL")}
    assert {line["stage"] for line in lines} == {"metric", "SRN", "DCR-GAN"} | heads
    assert {line["seed"] for line in lines} == {4}
    assert all(len(line) > 3 for line in lines)


def test_a_line_that_a_kill_cut_short_does_not_stop_a_run_at_its_end(tmp_path: Path, accelerator: Accelerator) -> None:
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0" / "metrics.jsonl").write_text('{"stage": "mi')
    toy_experiment(accelerator, seeds=(0,)).run(find_method("eszsl", TINY), tmp_path, gamma=0.0)  # it logs nothing
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_the_saved_model_is_the_scored_one(tmp_path: Path, accelerator: Accelerator) -> None:
    run(Training(), tmp_path / "run", accelerator, seeds=(0,))
    saved = load_file(tmp_path / "run" / "seed-0" / "model.safetensors")
    train, _ = toy_splits()
    trained = state(Calibrated(train_dcrgan(train, TINY, seed=0), GAMMA, train.seen))
    assert saved.keys() == trained.keys()
    assert all(torch.equal(saved[key], value) for key, value in trained.items())


def test_a_folder_of_another_run_is_refused_and_left_as_it_was(tmp_path: Path, accelerator: Accelerator) -> None:
    run(Training(), tmp_path / "run", accelerator, seeds=(0,))
    before = (tmp_path / "run" / "results.json").read_bytes()
    other = replace(FACTS, config={"gan": {"steps": 6}})
    with pytest.raises(ValueError, match=r"config\.gan\.steps: 5 there, 6 now"):
        run_seeds(Training(), *toy_splits(), (0,), tmp_path / "run", other, NO_GAMMA, accelerator)
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_a_repeated_seed_is_refused(tmp_path: Path, accelerator: Accelerator) -> None:
    with pytest.raises(ValueError, match="a seed that occurs twice"):
        run(Training(), tmp_path / "run", accelerator, seeds=(0, 0))


def test_the_table_shows_per_cent_and_one_seed_has_no_spread() -> None:
    def table(*harmonic: float) -> str:
        rest = {"acc_zsl": 0.5, "acc_unseen": 0.25, "acc_seen": 1.0, "ausuc": 0.3, "harmonic_uncalibrated": 0.35}
        scores = [SeedScores(seed=7 + i, harmonic=value, **rest) for i, value in enumerate(harmonic)]
        return score_table(summarise(scores, FACTS, NO_GAMMA, {}))

    text = table(0.4)
    assert text.splitlines()[1].split() == ["7", "50.0", "25.0", "100.0", "40.0", "30.0", "35.0"]
    assert "±" not in text
    several = table(0.4, 0.6).splitlines()
    assert several[-1].startswith("   mean ± sd")
    assert "50.0 ± 14.1" in several[-1]  # 40 and 60: sd is 20 / √2


TINY_CONFIG = {
    "metric.steps": 5,
    "srn.steps": 5,
    "gan.steps": 3,
    "gan.hidden-dim": 16,
    "regressors.hidden-dim": 8,
    "classifiers.epochs": 1,
    "classifiers.images-per-unseen-class": 5,
}
TINY_FLAGS = [word for key, value in TINY_CONFIG.items() for word in (f"--config.{key}", str(value))]


def train_script(tiny_features: Path, tmp_path: Path, *flags: str, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    words: list[str | Path] = ["--features", tiny_features, "--data", tiny_features.parents[2], "--runs", tmp_path]
    words += [*TINY_FLAGS, *flags]
    if ranks == 1:
        return run_command("train_dcrgan.py", *words)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    command: list[str | Path] = [*launcher, SCRIPTS / "train_dcrgan.py", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_the_script_trains_scores_and_writes_what_the_contract_says(tiny_features: Path, tmp_path: Path) -> None:
    done = train_script(tiny_features, tmp_path, "--seeds", "0", "1", "--name", "try")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(str(tmp_path / "try" / "results.json"))
    results = json.loads((tmp_path / "try" / "results.json").read_text())
    assert results["benchmark"] == "shapes"
    assert results["method"] == "dcrgan+"
    assert done.stdout.startswith("method dcrgan+, with closed-form parts: ")
    assert results["form"] == PLUS.text
    assert results["inductive"] is True
    assert results["protocol"].startswith("honest")
    assert results["config"]["gan"]["steps"] == 3
    assert [entry["seed"] for entry in results["seeds"]] == [0, 1]
    assert {"acc_zsl", "acc_unseen", "acc_seen", "harmonic"} <= results["mean"].keys()


def test_a_small_search_before_a_run_chooses_its_configuration(tiny_features: Path, tmp_path: Path) -> None:
    words = ["--features", str(tiny_features), "--data", str(tiny_features.parents[2]), "--runs", str(tmp_path)]
    words += ["--method", "eszsl", "--seeds", "0", "--selection", "auto"]
    done = run_command("train_dcrgan.py", *words)
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path / "shapes-eszsl-chosen" / "results.json")
    selection = json.loads((tmp_path / "shapes-eszsl-chosen" / "selection" / "selection.json").read_text())
    assert results.config == selection["best"]["config"]
    assert results.gamma.source == "of the selection's folds"
    assert results.gamma.value == selection["gamma"]
    assert results.protocol.startswith("honest: chosen on validation folds")
    assert_refused(
        run_command("train_dcrgan.py", *words, "--fold", "1"), "--selection auto chooses on the validation folds"
    )


def test_two_ranks_share_the_seeds_and_give_the_results_of_one(tiny_features: Path, tmp_path: Path) -> None:
    for name, ranks in (("one", 1), ("two", 2)):
        done = train_script(tiny_features, tmp_path, "--seeds", "0", "1", "2", "--name", name, ranks=ranks)
        assert done.returncode == 0, done.stderr
    two = json.loads((tmp_path / "two" / "results.json").read_text())
    assert [entry["seed"] for entry in two["seeds"]] == [0, 1, 2]
    for seed in (0, 1, 2):  # thread counts differ, so sums round differently; other seeds differ by far more
        first, second = (load_file(tmp_path / name / f"seed-{seed}" / "model.safetensors") for name in ("one", "two"))
        for key, value in first.items():
            torch.testing.assert_close(second[key], value, rtol=1e-2, atol=1e-2)
    other = load_file(tmp_path / "two" / "seed-1" / "model.safetensors")
    assert any(not torch.allclose(other[key], value, rtol=1e-2, atol=1e-2) for key, value in second.items())


def test_a_validation_fold_reads_no_test_row(tiny_features: Path, tmp_path: Path) -> None:
    done = train_script(tiny_features, tmp_path, "--seeds", "0", "--fold", "1")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "shapes-fold1" / "results.json").read_text())
    assert results["splits"].startswith("validation fold 1 of")
    assert sum(results["rows"].values()) == 36  # the trainval rows of the tiny benchmark


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--benchmark", "cub"], "the features are of shapes, asked for is --benchmark cub"),
        (["--benchmark", "nope"], "the features are of shapes, asked for is --benchmark nope"),
        (["--features", "nowhere"], "no whole feature table in nowhere"),
    ],
)
def test_the_scripts_mistakes_are_one_line(tiny_features: Path, tmp_path: Path, flags: list[str], message: str) -> None:
    done = train_script(tiny_features, tmp_path, *flags)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
