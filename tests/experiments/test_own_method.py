"""Methods of the user's own, by the template of docs/own-method.md: they take part in all, and faults are named."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from command_line import load_script
from tiny_configs import ALL_STAGES
from toy import toy_splits
from toy_runs import toy_experiment

from backbones.tuned import TunedGamma
from zsl.cli import run_script
from zsl.dcrgan.config import DCRGANConfig
from zsl.experiments.calibration import Gamma, tuned_gamma
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method, version_of
from zsl.experiments.results import read_results
from zsl.experiments.search import select
from zsl.experiments.selection import Selection, read_selection
from zsl.experiments.sweep import read_values, sweep
from zsl.experiments.table import finished_methods, run_methods, scores_table
from zsl.experiments.trainer import Folds, Trainer
from zsl.features.split import RowsFacts
from zsl.scores.evaluate import evaluate
from zsl.scores.model import BrokenMethod
from zsl.training.method import Method

TEMPLATE = Path(__file__).parents[2] / "templates" / "own-method" / "nearest_mean.py"
NAME = "nearest-mean"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A copy of the template."""
    path = tmp_path / "mine" / "my_method.py"
    path.parent.mkdir()
    path.write_text(TEMPLATE.read_text())
    return path


@pytest.fixture
def experiment(accelerator: Accelerator) -> Experiment:
    return toy_experiment(accelerator)


def own(file: Path, name: str = "METHOD") -> Method:
    return find_method(f"{file}:{name}", ALL_STAGES)


def nearest_mean_harmonic(ridge: float, gamma: float) -> float:
    """H of the template's method in NumPy: a ridge regression with a column of ones that has no penalty."""
    train, test = toy_splits()
    features, labels, attributes = (part.double().numpy() for part in (train.features, train.labels, train.attributes))
    means = np.stack([features[labels == c].mean(0) for c in train.seen.tolist()])
    a = attributes[train.seen.numpy()]
    rows = np.vstack([a - a.mean(0), np.sqrt(ridge * len(a)) * np.eye(a.shape[1])])
    targets = np.vstack([means - means.mean(0), np.zeros((a.shape[1], means.shape[1]))])
    weight = np.linalg.lstsq(rows, targets, rcond=None)[0]
    inferred = (attributes[train.unseen.numpy()] - a.mean(0)) @ weight + means.mean(0)
    everything, classes = np.vstack([means, inferred]), [*train.seen.tolist(), *train.unseen.tolist()]
    accuracies = []
    for part in (test.seen, test.unseen):
        x, truth = part.features.double().numpy(), part.labels.numpy()
        distances = ((x[:, None] - everything[None]) ** 2).sum(2)
        distances[:, : len(train.seen)] += gamma
        predicted = np.array(classes)[distances.argmin(1)]
        accuracies.append(np.mean([(predicted == truth)[truth == c].mean() for c in np.unique(truth)]))
    return 2 * accuracies[0] * accuracies[1] / sum(accuracies)


# --- it takes part ---------------------------------------------------------------------------------------------------


def test_a_method_from_a_file_is_trained_calibrated_and_scored(
    file: Path, experiment: Experiment, tmp_path: Path
) -> None:
    method = own(file)
    results = experiment.run(method, tmp_path / "run")
    assert results == read_results(tmp_path / "run" / "results.json")
    assert (results.method, results.config, results.inductive) == (NAME, {"ridge": 0.1}, True)
    assert results.gamma.source == "of 5 folds within trainval"
    for entry in results.seeds:
        assert entry.harmonic == pytest.approx(nearest_mean_harmonic(0.1, results.gamma.value), abs=1e-6)
        assert entry.harmonic_uncalibrated == pytest.approx(nearest_mean_harmonic(0.1, 0.0), abs=1e-6)
    assert results.rows_read == {"train_nearest_mean": RowsFacts(count=240, hash=experiment.train.rows_hash)}


def search(method: Method, experiment: Experiment, folder: Path, **more: Any) -> Selection:
    return select(
        method, experiment.calibration, folder, manifest=experiment.table.manifest, goal=method.goal, seed=0,
        budget=None, **more,
    )  # fmt: skip


def test_its_configuration_is_chosen_and_taken_by_a_run(file: Path, experiment: Experiment, tmp_path: Path) -> None:
    chosen = search(own(file), experiment, tmp_path / "s")
    lines = [json.loads(line) for line in (tmp_path / "s" / "trials.jsonl").read_text().splitlines()][1:]
    assert [line["config"]["ridge"] for line in lines] == [0.1, 1e-3, 1e-2, 1.0]
    best = max(lines, key=lambda line: line["scores"]["acc_zsl"])  # the goal of the template
    assert chosen.best.config == best["config"]
    results = experiment.run(own(file), tmp_path / "run", selection=tmp_path / "s")
    assert results.config == chosen.best.config
    assert results.gamma.value == chosen.gamma
    with pytest.raises(ValueError, match=f"was chosen for {NAME}, this run is of eszsl"):
        experiment.run(find_method("eszsl", ALL_STAGES), tmp_path / "other", selection=tmp_path / "s")


def start(_: str) -> DCRGANConfig:
    return ALL_STAGES


def test_it_stands_in_a_table_beside_a_baseline(
    file: Path, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds: Folds = dict(list(experiment.calibration.items())[:2])
    names = ["eszsl", f"{file}:METHOD"]
    results = run_methods(experiment, folds, names, start, tmp_path / "t", 0)
    assert list(results) == ["eszsl", NAME]
    rows = [line.split("|")[1].strip() for line in scores_table(results).splitlines()]
    assert rows == ["method", "---", "eszsl", NAME]
    alone = run_methods(experiment, folds, ["eszsl"], start, tmp_path / "t", 0)
    assert finished_methods(tmp_path / "t", alone) == results  # an earlier call's is in the table, too

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "model", never)
    assert run_methods(experiment, folds, names, start, tmp_path / "t", 0) == results
    with pytest.raises(ValueError, match="name one or several, each once"):
        run_methods(experiment, folds, [names[1], names[1]], start, tmp_path / "t", 0)


def test_a_field_of_its_configuration_is_swept(file: Path, experiment: Experiment, tmp_path: Path) -> None:
    method = own(file)
    values = read_values("ridge", ("0.01", "1"), method.config)
    assert values == [0.01, 1.0]
    folds: Folds = dict(list(experiment.calibration.items())[:2])
    points = sweep([method], "ridge", values, folds, tmp_path, manifest=experiment.table.manifest, seeds=(0,))
    for point in points:
        config = type(method.config)(ridge=point.value)
        shares = [
            evaluate(method.train(train, config, seed=0), test, lambda note: None).acc_zsl
            for train, test in folds.values()
        ]
        assert point.acc_zsl == [pytest.approx(np.mean(shares))]


def test_a_killed_run_goes_on_with_the_seeds_that_are_missing(
    file: Path, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = experiment.run(own(file), tmp_path / "whole")
    seeds: list[int] = []
    model = Trainer.model

    def note(self: Trainer, *args: Any, seed: int, **more: Any) -> Any:
        seeds.append(seed)
        return model(self, *args, seed=seed, **more)

    def die(self: Trainer, *args: Any, seed: int, **more: Any) -> Any:
        seeds.append(seed)
        if seed == 1:
            raise KeyboardInterrupt
        return model(self, *args, seed=seed, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "model", die)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(own(file), tmp_path / "killed")
    assert seeds == [0] * 5 + [0, 1]  # calibration folds, then seeds
    seeds.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "model", note)
        assert experiment.run(own(file), tmp_path / "killed") == whole
    assert seeds == [1]


def test_a_changed_file_is_another_version(file: Path, experiment: Experiment, tmp_path: Path) -> None:
    before = own(file)
    experiment.run(before, tmp_path / "run")
    search(before, experiment, tmp_path / "s")
    assert version_of(own(file)) == version_of(before)
    file.write_text(file.read_text() + "# one word more\n")
    changed = own(file)
    assert version_of(changed) != version_of(before)
    with pytest.raises(ValueError, match="holds a run with other method_version"):
        experiment.run(changed, tmp_path / "run")
    with pytest.raises(ValueError, match="chosen by another version"):
        read_selection(tmp_path / "s", changed, experiment.table.manifest, experiment.train.attributes)
    with pytest.raises(ValueError, match="holds a search with other method_version"):
        search(changed, experiment, tmp_path / "s")


def test_its_changed_steps_are_not_confused_with_those_before(file: Path, experiment: Experiment) -> None:
    """One process, one Trainer, two versions of a file."""
    trainer, before = Trainer(), own(file)
    models = [trainer.model(before, experiment.train, before.config, seed=0)]
    file.write_text(file.read_text().replace("-torch.cdist", "0 * torch.cdist"))
    changed = own(file)
    models.append(trainer.model(changed, experiment.train, changed.config, seed=0))
    scores = [model.gzsl_scores(experiment.test.seen.features) for model in models]
    assert bool(scores[0].any())
    assert not bool(scores[1].any())


@pytest.mark.parametrize("script", ["train_dcrgan.py", "choose.py"])
def test_scripts_take_it_and_give_each_of_its_fields_a_flag(
    script: str,
    file: Path,
    tiny_features: Path,
    tmp_path: Path,
    accelerator: Accelerator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, runs = load_script(script), tmp_path / "runs"
    monkeypatch.setattr(module, "make_accelerator", lambda precision: accelerator)
    words = ["--features", tiny_features, "--data", tiny_features.parents[2], "--runs", runs]
    words += ["--method", f"{file}:METHOD"]
    find_config: Callable[..., Any] | None = getattr(module, "find_config", None)
    if find_config is not None:
        words += ["--config.ridge", "0.5", "--seeds", "0", "1", "--workers", "2", "--gamma", "1.5"]
    monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
    run_script(module.main, module.Args, find_config=find_config)
    if find_config is None:
        assert json.loads((runs / f"shapes-{NAME}-selection" / "selection.json").read_text())["method"] == NAME
        return
    results = read_results(runs / f"shapes-{NAME}" / "results.json")
    assert results.config == {"ridge": 0.5}
    assert (results.gamma.value, results.gamma.source) == (1.5, "--gamma")
    assert "γ 1.5 (--gamma)" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*map(str, [script, *words]), "--config.gan.steps", "5"])
    with pytest.raises(SystemExit) as ended:  # a flag of another method's configuration
        run_script(module.main, module.Args, find_config=find_config)
    assert ended.value.code == 2
    assert "--config.gan.steps" in capsys.readouterr().err


def test_a_table_with_a_method_that_fails_is_written_and_ends_with_an_error(
    file: Path,
    tiny_features: Path,
    tmp_path: Path,
    accelerator: Accelerator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, runs = load_script("table.py"), tmp_path / "runs"
    monkeypatch.setattr(module, "make_accelerator", lambda precision: accelerator)
    file.write_text(file.read_text().replace("torch.linalg.solve(gram", "torch.linalg.solve(0 * gram"))
    words = ["--features", tiny_features, "--data", tiny_features.parents[2], "--runs", runs, "--seeds", "0"]
    words += ["--workers", "1", "--methods", "eszsl", f"{file}:METHOD"]
    broken = file.with_name("broken.py")
    text = (
        TEMPLATE.read_text()
        .replace('"nearest-mean"', '"broken"')
        .replace("    means = torch", "    {}[0]\n    means = torch")
    )
    broken.write_text(text)
    words += [f"{broken}:METHOD"]
    monkeypatch.setattr(sys, "argv", ["table.py", *map(str, words)])
    with pytest.raises(SystemExit, match=f"error: 2 failed in training, of which the table says why: {NAME}, broken$"):
        run_script(module.main, module.Args)
    text = (runs / "shapes-table" / "table.md").read_text()
    assert "eszsl" in text
    assert f"| {NAME} |" in text
    assert "FAILED" in text


# --- faults ----------------------------------------------------------------------------------------------------------

STEPS = "steps=one_step(train_nearest_mean)"
A_STEP = "steps=(__import__('dataclasses').replace(one_step(train_nearest_mean)[0], name='my_step'"
FAULTS = {
    # what replaces what, the line, what the message says
    "does not parse": ("Positive = 0.1", "Positive = = 0.1", "ridge: Positive = =", "SyntaxError: invalid syntax"),
    "has a bracket too many": ('goal="acc_zsl",', 'goal="acc_zsl"},', 'goal="acc', "SyntaxError: closing parenthes"),
    "raises": ("METHOD = Method(", 'raise RuntimeError("no")\nMETHOD = Method(', "raise Runtime", "RuntimeError: no"),
    "imports what there is not": ("import torch\n", "import torch\nimport no_such\n", "import no_such", "No module"),
    "has a typing error": ("config=NearestMeanConfig()", "konfig=1", "METHOD =", "argument 'konfig'"),
    "lets a config refuse itself": ("config=NearestMeanConfig()", "config=NearestMeanConfig(ridge=-1)", "check_ranges(",
                                    "ridge is -1; it is above 0"),
    "lacks the name": ("METHOD = Method(", "METHODE = Method(", None, "has no 'METHOD'; its methods are METHODE"),
    "is no Method": ("METHOD = Method(", "METHOD = dict(", "METHOD =", "METHOD is a dict; it should be a zsl."),
    "has a built-in's name": ('"nearest-mean"', '"eszsl"', "METHOD =", "has the name 'eszsl' of something built-in"),
    "has DCR-GAN's name": ('"nearest-mean"', '"dcrgan"', "METHOD =", "has the name 'dcrgan' of something built-in"),
    "has a row's name": ('"nearest-mean"', '"published"', "METHOD =", "has the name 'published' of something built-in"),
    "has a group's name": ('"nearest-mean"', '"table2"', "METHOD =", "has the name 'table2' of something built-in"),
    "has a name with a slash": ('"nearest-mean"', '"../mine"', "METHOD =", "has the name '../mine'; letters, digits"),
    "has no name": ('"nearest-mean"', '""', "METHOD =", "has the name ''; letters, digits"),
    "has a number for a name": ('"nearest-mean"', "3", "METHOD =", "has the name 3; letters, digits"),
    "takes no seed": ("@stage  #", "#", "steps=", "train_nearest_mean does not take seed; put @stage above it"),
    "takes no log": (", *, log: Log = silent", "", "steps=", "train_nearest_mean does not take log; add the"),
    "has no steps": (STEPS, "steps=()", "METHOD =", "has steps (); one_step(train) makes those of a function"),
    "has a function for steps": (STEPS, "steps=train_nearest_mean", "METHOD =", "has steps <function"),
    "has functions among its steps": (STEPS, "steps=(train_nearest_mean,)", "METHOD =", "has steps (<function"),
    "has a number for a part": (STEPS, f"{A_STEP}, part=lambda config: 3),)", "METHOD =", "part of its step 'my_"),
    "has a part that fails": (STEPS, f"{A_STEP}, resumes=lambda config: 1 / 0),)", "METHOD =", "resumes of its step"),
    "has a dict for config": ("config=NearestMeanConfig()", 'config={"ridge": 1}', "METHOD =", "has the config {"),
    "has a class for config": ("config=NearestMeanConfig()", "config=NearestMeanConfig", "METHOD =", "has the config"),
    "has a config that is no JSON": ("config=NearestMeanConfig()", "config=NearestMeanConfig(ridge=torch.ones(1))",
                                     "METHOD =", "its config cannot be written as JSON"),
    "tries a field that there is not": ('goal="acc_zsl"', 'settings={"rigde": 1.0}', "METHOD =", "no field 'rigde'"),
    "tries fields instead of rounds": ("rounds=(candidates(", 'rounds=({"ridge": 1.0},) or (candidates(', "METHOD =",
                                       "its rounds or settings do not fit its config"),
    "tries a number": ("rounds=(candidates(", "rounds=5 or (candidates(", "METHOD =", "do not fit its config"),
    "tries what the config refuses": ("rounds=(candidates(", 'rounds=(({"ridge": -1.0},),) or (candidates(', "METHOD =",
                                      "do not fit its config: NearestMeanConfig: ridge is -1.0"),
    "has another goal": ('goal="acc_zsl"', 'goal="accuracy"', "METHOD =", "goal 'accuracy'; it should be harmonic"),
    "has no function for looks": ('goal="acc_zsl"', "looks=3", "METHOD =", "looks is 3; it should be a function"),
    "has no function for epochs": ('goal="acc_zsl"', "epochs=3", "METHOD =", "epochs is 3; it should be a function"),
    "has no function for keep": ('goal="acc_zsl"', 'keep="all"', "METHOD =", "keep is 'all'; it should be a function"),
    "has a flag for transductive": ('goal="acc_zsl"', "transductive=True", "METHOD =", "transductive is True; it"),
}  # fmt: skip


SCORES = "return -torch.cdist(features, self.means).square()"
ZSL_SCORES = "return self.gzsl_scores(features)[:, -len(self.zsl_classes) :]"
BREACHES = {
    # what replaces what, what the message says
    "a column too few": (ZSL_SCORES, f"{ZSL_SCORES}[:, 1:]", r"ZSL scores of test_unseen are \[\d+, 3\]; .*, 4\]"),
    "columns too many": (ZSL_SCORES, "return self.gzsl_scores(features)", r"ZSL scores of test_unseen are \[\d+, 16\]"),
    "one column for all": (SCORES, f"{SCORES}[:, :1]", r"GZSL scores of test_seen are \[\d+, 1\]; .*, 16\]"),
    "arrays of NumPy": (SCORES, f"{SCORES}.numpy()", "GZSL scores of test_seen are ndarray"),
    "positions for ids": ('("zsl_classes", train.unseen)', '("zsl_classes", torch.arange(len(train.unseen)))',
                          "zsl_classes lack class .* of test_unseen; needed are the class ids"),
    "seen classes alone": ("torch.cat([train.seen, train.unseen])", "train.seen", "gzsl_classes lack class .* of zsl_"),
    "no class of its own": ("torch.cat([train.seen, train.unseen])", "torch.cat([train.seen[1:], train.unseen])",
                            "gzsl_classes that are not zsl_classes lack class .* of test_seen"),
    "a class twice": ("train.seen, train.unseen]", "train.seen, train.unseen, train.seen[:1]]", "class ids .n., each"),
    "a tensor for a model": ("return NearestMean(train, torch.cat([means, inferred]))", "return means",
                             "the method returned a Tensor without gzsl_classes; needed is a ZeroShotModel"),
}  # fmt: skip


@pytest.mark.parametrize("gamma", ["auto", 0.5])
@pytest.mark.parametrize("breach", BREACHES)
def test_a_model_that_breaks_the_contract_is_not_scored(
    breach: str, gamma: Gamma, file: Path, experiment: Experiment, tmp_path: Path
) -> None:
    old, new, says = BREACHES[breach]
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(BrokenMethod, match=says if gamma == "auto" else None):
        experiment.run(own(file), tmp_path / "run", gamma=gamma)
    assert not (tmp_path / "run" / "results.json").exists()


def test_an_error_in_training_is_named_by_file_and_line_also_of_a_relative_path(
    file: Path, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    text = file.read_text()
    file.write_text(text.replace("    means = torch.stack", "    train.allocate()\n    means = torch.stack"))
    number = file.read_text().splitlines().index("    train.allocate()") + 1
    method = own(Path(file.name))
    with pytest.raises(BrokenMethod, match=f"^my_method.py:{number}: AttributeError: .* has no attribute 'allocate'; "):
        method.train(experiment.train, method.config, seed=0)
    file.write_text(file.read_text().replace("METHOD = Method(", "raise RuntimeError\nMETHOD = Method("))
    number = file.read_text().splitlines().index("raise RuntimeError") + 1
    with pytest.raises(ValueError, match=f"^my_method.py:{number}: RuntimeError"):
        own(Path(file.name))


@pytest.mark.parametrize("error", ["KeyError('x')", "ValueError('cannot allocate x')", "RuntimeError('x')"])
def test_an_error_in_scoring_is_named_by_file_and_line_and_costs_a_table_its_row_alone(
    error: str, file: Path, experiment: Experiment, tmp_path: Path
) -> None:
    file.write_text(file.read_text().replace(SCORES, f"raise {error}\n        {SCORES}"))
    number = file.read_text().splitlines().index(f"        raise {error}") + 1
    place = f"{file}:{number}: {error.partition('(')[0]}: "
    method = own(file)
    with pytest.raises(BrokenMethod, match=f"^{place}"):
        experiment.run(method, tmp_path / "run", gamma=0.5)
    failures: dict[str, str] = {}
    folds: Folds = dict(list(experiment.calibration.items())[:2])
    names = [f"{file}:METHOD", "eszsl"]
    results = run_methods(experiment, folds, names, start, tmp_path / "t", 0, failures=failures)
    assert list(results) == ["eszsl"]
    assert failures[NAME].startswith(f"BrokenMethod: {place}")


CHANGES = {
    "training data": ("    means = torch.stack", "    train.features.sub_(0.2).mul_(1.5)\n    means = torch.stack"),
    "attributes by NumPy": ("    attributes, centre", "    train.attributes.numpy()[:] += 1\n    attributes, centre"),
    "test data": (SCORES, f"features -= 0.2\n        {SCORES}"),
    "test data by NumPy": (SCORES, f"features.numpy()[:] -= 0.2\n        {SCORES}"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_what_it_changes_in_the_data_changes_no_other_training(
    what: str, file: Path, experiment: Experiment, tmp_path: Path
) -> None:
    data = experiment.train.features, experiment.train.attributes, experiment.test.seen.features
    before = [tensor.clone() for tensor in data]
    old, new = CHANGES[what]
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    results = experiment.run(own(file), tmp_path / "run", gamma=0.5)
    assert all(map(torch.equal, data, before))
    assert len({replace(entry, seed=0) for entry in results.seeds}) == 1  # a closed form has no seed


def test_what_it_changes_while_a_yardstick_of_gamma_is_made_changes_no_training(
    file: Path, experiment: Experiment
) -> None:
    """The yardstick of a fine-tuned backbone's γ is that of scores of training photos."""
    train = experiment.train
    before = train.features.clone()
    file.write_text(file.read_text().replace(*CHANGES["test data"], 1))
    gamma = TunedGamma(method=NAME, config_sha256="", unit="alg", value=1.0, folds=3, harmonic=0.0)
    tuned_gamma(gamma, own(file), own(file).config, experiment.table, train, Trainer())
    assert torch.equal(train.features, before)


TWO_STEPS = """
from dataclasses import dataclass, replace

import torch

from zsl.baselines.compatibility import ClassScorer
from zsl.training.method import Method, Step

@dataclass(kw_only=True)
class Config:
    net: int = 1
    head: int = 1

class Scorer(ClassScorer):
    def __init__(self, train, values):
        super().__init__(train)
        self.values = values

def net(train, _, config, seed, log):
    config.head = 5  # a configuration that is not frozen
    return RESULT

def head(train, before, config, seed, log):
    before["values"] += config.head  # the result of the step before, in place
    return Scorer(train, before["values"])

STEPS = Step(name="net", run=net, part=lambda config: replace(config, head=0)), Step(name="net", run=head)
METHOD = Method(name="two", steps=STEPS, config=Config())
"""


def two_steps(folder: Path, result: str = '{"values": torch.full((3,), 10.0 * config.net)}') -> Method:
    folder.mkdir(exist_ok=True)
    (folder / "two.py").write_text(TWO_STEPS.replace("RESULT", result))
    return own(folder / "two.py")


def test_what_a_step_changes_in_the_result_before_it_changes_no_other_configuration(
    tmp_path: Path, experiment: Experiment
) -> None:
    method, trainer = two_steps(tmp_path), Trainer()
    heads = [trainer.model(method, experiment.train, replace(method.config, head=head), seed=0) for head in (1, 2, 1)]
    assert [head.values.tolist() for head in heads] == [[11.0] * 3, [12.0] * 3, [11.0] * 3]
    assert (trainer.trainings, method.config.head) == (1, 1)


def test_a_result_that_cannot_be_copied_is_shared_and_a_warning_says_so(
    tmp_path: Path, experiment: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    method = two_steps(tmp_path, '{"values": 10.0 * torch.ones(3, requires_grad=True)}')
    for _ in range(2):
        assert method.train(experiment.train, method.config, seed=0).values.tolist() == [11.0] * 3
    (warning,) = caplog.messages
    assert warning.startswith(f"{tmp_path / 'two.py'}: step 'net' gets the one result of the step before")


def test_steps_of_one_name_in_two_files_are_not_confused(tmp_path: Path, experiment: Experiment) -> None:
    trainer, methods = Trainer(), [two_steps(tmp_path / "a"), two_steps(tmp_path / "b", '{"values": torch.zeros(3)}')]
    models = [trainer.model(method, experiment.train, method.config, seed=0) for method in methods]
    assert [model.values.tolist() for model in models] == [[11.0] * 3, [1.0] * 3]


def test_a_model_is_scored_without_its_dropout_on_folds_too(file: Path, experiment: Experiment) -> None:
    """The γ of its folds would be that of other scores."""
    plain = own(file)
    file.write_text(
        file.read_text().replace(
            "(features, self.means)", "(nn.functional.dropout(features, training=self.training), self.means)"
        )
    )
    train, test = next(iter(experiment.calibration.values()))
    scores = [evaluate(each.train(train, each.config, seed=0), test, lambda note: None) for each in (plain, own(file))]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_with_file_and_line(fault: str, file: Path) -> None:
    old, new, at, says = FAULTS[fault]
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    lines = file.read_text().splitlines()
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the message is what is looked at
        own(file)
    message = str(refused.value)
    assert any(word in message for word in says.split("|")), message
    assert "\n" not in message
    if at is None:
        assert message.startswith(f"{file} ")
    else:
        number = next(number for number, line in enumerate(lines, start=1) if line.lstrip().startswith(at))
        assert message.startswith(f"{file}:{number}: "), message


def test_a_fault_within_what_the_file_imports_is_named_by_the_files_line(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file.parent / "helper_of_mine.py").write_text("\n\n\n\nraise OSError('gone')\n")
    monkeypatch.syspath_prepend(file.parent)
    file.write_text(file.read_text().replace("import torch\n", "import helper_of_mine\n", 1))
    number = file.read_text().splitlines().index("import helper_of_mine") + 1
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the message is what is looked at
        own(file)
    assert str(refused.value) == f"{file}:{number}: OSError: gone"


@pytest.mark.parametrize("name", ["no/such.py:METHOD", "mine:METHOD", "my_method.py", "", ":", "my_method.py:"])
def test_a_file_that_is_not_there_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((FileNotFoundError, ValueError)) as refused:
        find_method(name, ALL_STAGES)
    file = name.rpartition(":")[0]
    if file.endswith(".py"):
        assert isinstance(refused.value, FileNotFoundError)
        assert str(refused.value).startswith(f"no file {file}; --method FILE.py:NAME names a Python file and a Method")
    else:  # it names no file
        assert str(refused.value).startswith(f"no method {name!r}; there are dcrgan, A, B")
        assert str(refused.value).endswith("your own as path/to/file.py:NAME")


def test_other_objects_of_the_file_are_methods_too(file: Path) -> None:
    file.write_text(file.read_text() + '\n\nOTHER: Method = METHOD.__class__(**{**vars(METHOD), "name": "other"})\n')
    assert (own(file).name, own(file, "OTHER").name) == (NAME, "other")
    with pytest.raises(ValueError, match="has no 'THIRD'; its methods are METHOD, OTHER: docs"):
        own(file, "THIRD")


def test_two_files_of_one_name_are_two_methods(file: Path, tmp_path: Path) -> None:
    other = tmp_path / file.name
    other.write_text(file.read_text().replace("ridge: Positive = 0.1", "ridge: Positive = 0.7"))
    first, second = own(file), own(other)
    assert (first.config.ridge, second.config.ridge) == (0.1, 0.7)
    assert first.version != second.version
    train, _ = toy_splits()
    trainer = Trainer()
    models = [trainer.model(method, train, method.config, seed=0) for method in (first, second)]
    assert not torch.equal(models[0].means, models[1].means)
