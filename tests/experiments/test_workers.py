"""Trainings in several processes: the bits, errors and files of one process."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tiny_configs import TINY
from toy import toy_splits
from toy_runs import toy_experiment

from zsl.common.lanes import Lanes
from zsl.common.profile import TABLE_FILE, TRACE_FILE
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_again, find_method, is_findable
from zsl.experiments.trainer import CAPACITY, Trainer
from zsl.experiments.workers import BASE_BYTES, count_workers, dumps, open_trainer
from zsl.training.method import Method, one_step

DCRGAN = find_method("dcrgan", TINY)
TIMED = ("starts.jsonl", "progress.jsonl", "test_access.jsonl")  # files that hold times
FAILING = """
from dataclasses import dataclass
from zsl.baselines.eszsl import ESZSLConfig, train_eszsl
from zsl.training.method import Method, one_step

def train_failing(train, config, *, seed, log):
    if seed == 1:
        raise FloatingPointError(f"seed {seed}: 'loss' is not finite")
    return train_eszsl(train, config, seed=seed, log=log)

METHOD = Method(name="failing", steps=one_step(train_failing), config=ESZSLConfig())
"""


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes(2, 1, dumps=dumps)
    yield made
    made.end()


@pytest.fixture
def experiment(accelerator: Accelerator) -> Experiment:
    return replace(toy_experiment(accelerator), validation={1: toy_splits(seed=1), 2: toy_splits(seed=2)})


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in TIMED]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_two_processes_give_the_bits_of_one_and_go_on_after_an_error(
    experiment: Experiment, lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = experiment.honest(DCRGAN, TINY, tmp_path / "one")
    watch: Any = "tensorboard" if find_spec("tensorboard") else None
    at_once = replace(experiment, trainer=Trainer(lanes=lanes), log_with=watch)
    with monkeypatch.context() as patch:
        patch.setattr("zsl.experiments.run.save_details", die)  # here, when the model is trained and tested
        with pytest.raises(OSError, match=r"^no space left$"):
            at_once.honest(DCRGAN, TINY, tmp_path / "two")
    assert at_once.honest(DCRGAN, TINY, tmp_path / "two") == one
    assert one.gamma.source.endswith("folds within trainval")  # γ comes from folds that were trained in both ways
    assert watch is None or len(list((tmp_path / "two" / "tensorboard").glob("seed-*/*"))) == 2
    shutil.rmtree(tmp_path / "two" / "tensorboard", ignore_errors=True)
    first, second = files(tmp_path / "one"), files(tmp_path / "two")
    assert {"results.json", "calibration.jsonl", "seed-1/model.safetensors", "seed-1/synthesizer.safetensors"} <= {
        *first
    }
    assert first == second


def die(*_: Any) -> None:
    raise OSError("no space left")


def test_an_error_in_another_process_is_the_same_error(experiment: Experiment, lanes: Lanes, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FAILING)
    method = find_method(f"{tmp_path / 'own.py'}:METHOD", TINY)
    errors, places = [], []
    for name, trainer in (("one", Trainer()), ("two", Trainer(lanes=lanes))):
        with pytest.raises(FloatingPointError) as error:
            experiment.honest(method, method.config, tmp_path / name, gamma=0.0, trainer=trainer)
        errors.append(str(error.value))
        places.append(type(error.value.__cause__).__name__)
        assert (tmp_path / name / "seed-0" / "scores.json").is_file()
        assert not (tmp_path / name / "results.json").exists()
    assert errors == ["seed 1: 'loss' is not finite"] * 2
    assert places == ["NoneType", "_RemoteTraceback"]


def test_a_method_without_a_name_to_find_is_trained_here(experiment: Experiment, tmp_path: Path) -> None:
    """A lane of this kind would refuse to pickle the function."""

    def train_here(train: Any, config: Any, *, seed: int, log: Any) -> Any:
        return train_dcrgan(train, config, seed=seed, log=log)

    method = Method(name="of-mine", steps=one_step(train_here), config=TINY)
    assert not is_findable(method)
    assert not is_findable(replace(method, name="dcrgan"))  # another method of that name would be found
    assert is_findable(DCRGAN)
    results = experiment.honest(
        method, TINY, tmp_path / "run", gamma=0.0, trainer=Trainer(lanes=Lanes(2, 1, dumps=dumps))
    )
    assert len(results.seeds) == 2


def test_a_file_that_has_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FAILING)
    word = f"{tmp_path / 'own.py'}:METHOD"
    method = find_method(word, TINY)
    assert find_again(word, method.config, method.version).name == "failing"
    (tmp_path / "own.py").write_text(FAILING + "\n")
    with pytest.raises(ValueError, match="has changed while the command was at work; give the command again"):
        find_again(word, method.config, method.version)


class Place:
    """What `count_workers` asks of an Accelerator."""

    def __init__(self, device: str = "cpu", processes: int = 1) -> None:
        self.device, self.num_processes = torch.device(device), processes


def test_as_many_workers_as_there_are_cores_pieces_and_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zsl.experiments.workers.available_cores", lambda: 8)
    monkeypatch.setattr("zsl.experiments.workers.whole_memory", lambda: 10 * BASE_BYTES)

    def count(workers: int | None, pieces: int, size: int = 0, **place: Any) -> int:
        return count_workers(workers, pieces, size, Place(**place))

    assert [count(None, pieces) for pieces in (1, 5, 20)] == [1, 5, 8]
    assert count(None, 5, size=BASE_BYTES // 2) == 2
    assert count(None, 5, size=100 * BASE_BYTES) == 1
    assert [count(3, pieces) for pieces in (1, 5)] == [1, 3]
    assert count(16, 20) == 16  # the user's word
    assert count(None, 5, device="cuda") == count(1, 5, device="cuda") == count(None, 5, processes=2) == 1
    with pytest.raises(ValueError, match="--workers 2: on a GPU one model is trained after the other"):
        count(2, 5, device="cuda")
    with pytest.raises(ValueError, match="--workers 2: in each of several processes of a launch"):
        count(2, 5, processes=2)


def test_a_trainer_that_is_sent_is_that_of_the_other_process(accelerator: Accelerator) -> None:
    table = toy_experiment(accelerator).table
    with open_trainer(2, 5, table, accelerator) as trainer:
        assert trainer.at_once == 2
        there = pickle.loads(dumps(trainer))
        assert there is pickle.loads(dumps(trainer))  # it keeps what earlier calls trained
        assert there.lanes is None
        assert there.capacity * trainer.at_once == CAPACITY
    with open_trainer(1, 5, table, accelerator) as trainer:
        assert trainer.lanes is None


def test_a_profile_lies_beside_the_same_bits(experiment: Experiment, tmp_path: Path) -> None:
    one = replace(experiment, seeds=(0,))
    for name, profile in (("plain", False), ("profiled", True)):
        replace(one, profile=profile).honest(DCRGAN, TINY, tmp_path / name, gamma=0.0)
    plain, profiled = files(tmp_path / "plain"), files(tmp_path / "profiled")
    table, trace = (profiled.pop(f"seed-0/{name}").decode() for name in (TABLE_FILE, TRACE_FILE))
    assert plain == profiled
    stages = {"metric", "srn", "gan", "sampling", "critic", "generator", "synthesis", "heads of VS", "evaluation"}
    assert stages <= {line.split("|")[1].strip() for line in table.splitlines()}
    names = [event["name"] for event in json.loads(trace)["traceEvents"]]
    assert names.count("critic") == names.count("generator") == TINY.gan.steps
