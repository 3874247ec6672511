"""The sweep: scores of models that were trained on folds, a table and a figure of them, resume, refusals."""

import json
import math
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from command_line import assert_refused
from command_line import run as run_command
from tiny_configs import ALL_STAGES
from toy import toy_manifest, toy_splits

from zsl.common.config import override
from zsl.common.lanes import Lanes
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.experiments.methods import find_method
from zsl.experiments.sweep import Point, read_values, sweep, write_sweep
from zsl.experiments.trainer import Trainer
from zsl.experiments.workers import dumps
from zsl.features.split import TrainSplit
from zsl.scores.curves import choose_gamma
from zsl.scores.evaluate import evaluate_details
from zsl.scores.summary import curve_of
from zsl.training.method import Method

FOLDS = {1: toy_splits(seed=1), 2: toy_splits(seed=2)}
MANIFEST = toy_manifest(precision="no")
FIELD = "metric.representation_dim"


def run(folder: Path, *names: str, field: str = FIELD, seeds: tuple[int, ...] = (0, 1)) -> list[Point]:
    methods = [find_method(name, ALL_STAGES) for name in names or ("C-5", "C-3")]
    return sweep(methods, field, [2, 5], FOLDS, folder, manifest=MANIFEST, seeds=seeds)


def test_a_point_has_the_scores_of_models_trained_with_its_value(tmp_path: Path) -> None:
    points = run(tmp_path)
    assert [(point.method, point.value) for point in points] == [("C-5", 2), ("C-3", 2), ("C-5", 5), ("C-3", 5)]
    config = override(find_method("C-3", ALL_STAGES).configured(ALL_STAGES), {FIELD: 5})
    curves = [  # the definition: train anew, one γ for both folds
        curve_of(evaluate_details(train_dcrgan(train, config, seed=1), test, lambda note: None))
        for train, test in FOLDS.values()
    ]
    gamma = choose_gamma(curves)
    assert points[3].harmonic[1] == pytest.approx(fmean(curve.harmonic_at(gamma) for curve in curves), abs=1e-6)


def test_folds_that_are_trained_at_once_have_the_same_scores(tmp_path: Path) -> None:
    lanes = Lanes(2, 2, dumps=dumps)
    try:
        methods = [find_method("C-5", ALL_STAGES)]
        given = methods, FIELD, [2, 5], FOLDS
        together = sweep(*given, tmp_path / "two", manifest=MANIFEST, seeds=(0,), trainer=Trainer(lanes=lanes))
    finally:
        lanes.end()
    for one, two in zip(sweep(*given, tmp_path / "one", manifest=MANIFEST, seeds=(0,)), together, strict=True):
        assert (one.method, one.value) == (two.method, two.value)
        assert one.harmonic == pytest.approx(two.harmonic, abs=0.05)  # other threads, other last bits


def test_variants_of_equal_networks_share_them_and_a_killed_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Trainer] = []

    class Counting(Trainer):
        def __init__(self) -> None:
            super().__init__()
            trained.append(self)

    monkeypatch.setattr("zsl.experiments.sweep.Trainer", Counting)
    whole = run(tmp_path / "whole")
    assert trained[-1].trainings == 2 * 2 * len(FOLDS)  # seeds x values x folds, not x methods
    run(tmp_path / "killed", seeds=(0,))  # ends after the first seed
    assert run(tmp_path / "killed") == whole
    assert trained[-1].trainings == 2 * len(FOLDS)  # only the second seed's
    assert run(tmp_path / "killed") == whole
    assert trained[-1].trainings == 0


def test_a_value_whose_training_diverges_ends_nothing_and_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, asked = Trainer.model, []

    def diverge(self: Trainer, made: Method, train: TrainSplit, config: Any, *, seed: int, **more: Any) -> Any:
        asked.append(seed)
        if config.metric.representation_dim == 5 and (seed or both):
            raise FloatingPointError("not finite")
        return model(self, made, train, config, seed=seed, **more)

    monkeypatch.setattr(Trainer, "model", diverge)
    both = False
    sound, half = run(tmp_path / "one", "C-5")
    assert (len(sound.ausuc), len(half.ausuc), half.diverged) == (2, 1, 1)
    assert "(1 of 2 seeds diverged)" in write_sweep([sound, half], FIELD, tmp_path)
    assert caplog.messages == [f"C-5 with {FIELD} = 5 and seed 1 diverges: not finite"]
    asked.clear()
    assert run(tmp_path / "one", "C-5") == [sound, half]
    assert not asked
    both = True
    _, never = run(tmp_path / "both", "C-5")
    assert not never.ausuc
    text = write_sweep([sound, never], FIELD, tmp_path)
    assert text.splitlines()[3] == "| 5 | diverges | diverges | diverges |"
    assert (tmp_path / "sweep.svg").is_file()


def test_table_file_and_figure_show_every_point(tmp_path: Path) -> None:
    points = [
        Point(method="C-5", value=10, acc_zsl=[0.5, 0.6], harmonic=[0.4, 0.5], ausuc=[0.3, 0.4]),
        Point(method="C-5", value=20, acc_zsl=[0.7, 0.7], harmonic=[0.6, 0.6], ausuc=[0.5, 0.5]),
    ]
    text = write_sweep(points, FIELD, tmp_path)
    spread = f"{100 * stdev([0.5, 0.6]):.1f}"
    assert [line.split(" | ") for line in text.splitlines()] == [
        [f"| `{FIELD}`", "C-5: T1", "C-5: H", "C-5: AUSUC |"],
        ["| ---", "---", "---", "--- |"],
        ["| 10", f"55.0 ± {spread}", f"45.0 ± {spread}", f"35.0 ± {spread} |"],
        ["| 20", "70.0 ± 0.0", "60.0 ± 0.0", "50.0 ± 0.0 |"],
    ]
    assert (tmp_path / "sweep.md").read_text() == text
    content = json.loads((tmp_path / "sweep.json").read_text())
    of_first = {"acc_zsl": [0.5, 0.6], "harmonic": [0.4, 0.5], "ausuc": [0.3, 0.4]}
    assert content["points"][0] == {"method": "C-5", "value": 10, "diverged": 0} | of_first
    figure = (tmp_path / "sweep.svg").read_text()
    assert all(f">{word}</text>" in figure for word in ("10", "20", "C-5", FIELD))
    assert (tmp_path / "sweep.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("field", "words", "values"),
    [
        (FIELD, ("10", "20"), [10, 20]),
        ("gan.shortcut_ridge", ("None", "0.3"), [None, 0.3]),
        ("classifiers.shrinkage", ("0.8 0.2 0.5",), [(0.8, 0.2, 0.5)]),
        ("regressors.frozen", ("True", "False"), [True, False]),
        ("metric.mining", ("hard",), ["hard"]),
        ("srn.lr", ("1",), [1.0]),
    ],
)
def test_values_are_words_of_the_command_line(field: str, words: tuple[str, ...], values: list[Any]) -> None:
    read = read_values(field, words, ALL_STAGES)
    assert read == values
    assert [type(value) for value in read] == [type(value) for value in values]


@pytest.mark.parametrize("word", ["ten", "1.5", ""])
def test_what_is_no_value_of_the_field_ends_the_program(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_values(FIELD, (word,), ALL_STAGES)
    assert "--metric.representation-dim" in capsys.readouterr().err


def test_fields_that_cannot_be_swept_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no field 'metric\.dim' in the configuration; there are"):
        read_values("metric.dim", ("1",), ALL_STAGES)
    with pytest.raises(ValueError, match=r"no field 'classifiers\.gamma' in the configuration"):  # folds choose γ
        read_values("classifiers.gamma", ("1",), ALL_STAGES)
    with pytest.raises(ValueError, match=r"classifiers\.weight_ss of A is always 0\.0; sweep another method"):
        run(tmp_path, "A", field="classifiers.weight_ss")
    with pytest.raises(ValueError, match=r"^eszsl with metric\.representation_dim = 2: no field .*; there are gamma"):
        run(tmp_path, "C-5", "eszsl")
    with pytest.raises(ValueError, match=r"^C-1 with classifiers\.weight_vs = 0: the fusion weights .* are all 0"):
        sweep(
            [find_method("C-1", ALL_STAGES)], "classifiers.weight_vs", [1, 0], FOLDS, tmp_path, manifest=MANIFEST,
            seeds=(0,),
        )  # fmt: skip
    assert not list(tmp_path.iterdir())  # all configurations are checked before one is trained
    with pytest.raises(ValueError, match="--seeds 0 0: name one or several, each once"):
        run(tmp_path, seeds=(0, 0))
    with pytest.raises(ValueError, match="--methods C-3 C-3: name one or several"):
        run(tmp_path, "C-3", "C-3")
    run(tmp_path, "C-3", seeds=(0,))
    assert not list(tmp_path.glob("steps-*"))
    with pytest.raises(ValueError, match="holds a search with other folds; use another --name"):
        sweep([find_method("C-3", ALL_STAGES)], FIELD, [2], {1: FOLDS[1]}, tmp_path, manifest=MANIFEST, seeds=(0,))
    assert not math.isnan(run(tmp_path, "C-3", seeds=(0,))[0].harmonic[0])


def test_a_recipe_for_methods_that_have_none_is_refused(tiny_features: Path, tmp_path: Path) -> None:
    words = ("--features", tiny_features, "--data", tiny_features.parents[2], "--runs", tmp_path)
    done = run_command("sweep.py", *words, "--methods", "eszsl", "--recipe", "paper-sun-gzsl", "--field", "lam")
    assert_refused(done, "--recipe paper-sun-gzsl is for variants of DCR-GAN; eszsl has none")
