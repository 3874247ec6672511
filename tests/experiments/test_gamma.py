"""Where a run's γ comes from, that it is the one which a plain scan finds, and that its search outlives a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from tiny_configs import TINY
from torch import Tensor
from toy_runs import toy_experiment

from backbones.tuned import Rows, TunedFacts, TunedGamma
from zsl.common.config import override
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.recipes import LITE0, PUBLISHED, Recipe, find_recipe
from zsl.dcrgan.variants import PLUS
from zsl.experiments.calibration import config_sha256
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.results import protocol_text, read_results
from zsl.experiments.search import select
from zsl.experiments.trainer import Folds, Trainer
from zsl.features.join import join_tables
from zsl.features.manifest import TransformFacts
from zsl.features.split import LabelledFeatures
from zsl.training.journal import Journal
from zsl.training.method import Method

DCRGAN = find_method("dcrgan", TINY)
ESZSL = find_method("eszsl", TINY)
RECIPE = Recipe(config=TINY, gammas={("toy", "b"): 2.25, ("toy", "other"): -1.5})
COUNT = 5  # calibration folds of 16 seen and 4 unseen classes


@pytest.fixture
def experiment(accelerator: Accelerator) -> Experiment:
    return toy_experiment(accelerator)


# --- a plain scan ----------------------------------------------------------------------------------------------------


def harmonic_at(model: Any, gamma: float, folds: Any) -> float:
    """H of one fold, written out: γ off the seen columns, arg max, accuracy a class, mean of them."""
    train, test = folds
    classes, seen = model.gzsl_classes.tolist(), set(train.seen.tolist())

    def accuracy(part: LabelledFeatures) -> float:
        hits: dict[int, list[bool]] = {}
        for scores, label in zip(model.gzsl_scores(part.features).tolist(), part.labels.tolist(), strict=True):
            lowered = [score - gamma if c in seen else score for score, c in zip(scores, classes, strict=True)]
            hits.setdefault(label, []).append(classes[int(np.argmax(lowered))] == label)
        return float(np.mean([np.mean(of_class) for of_class in hits.values()]))

    s, u = accuracy(test.seen), accuracy(test.unseen)
    return 2 * s * u / (s + u) if s + u else 0.0


def assert_best_of_a_scan(method: Method, gamma: float, harmonic: float, folds: Folds, scan: Tensor) -> None:
    models = {number: method.train(train, method.config, seed=0) for number, (train, _) in folds.items()}

    def mean(tried: float) -> float:
        return float(np.mean([harmonic_at(models[number], tried, fold) for number, fold in folds.items()]))

    assert mean(gamma) == pytest.approx(harmonic, abs=1e-6)
    scanned = [mean(tried) for tried in scan.tolist()]
    assert harmonic >= max(scanned) - 1e-6
    assert harmonic > min(scanned)  # γ makes a difference here


def test_gamma_of_calibration_folds_is_that_of_a_plain_scan(experiment: Experiment, tmp_path: Path) -> None:
    gamma = experiment.honest(ESZSL, ESZSL.config, tmp_path).gamma
    assert len(experiment.calibration) == COUNT
    assert gamma.source == f"of {COUNT} folds within trainval"
    assert gamma.value != 0
    assert gamma.harmonic_on_folds is not None
    scan = torch.linspace(-2, 2, 41)
    assert_best_of_a_scan(ESZSL, gamma.value, gamma.harmonic_on_folds, experiment.calibration, scan)
    assert_calibrated_by(tmp_path, ESZSL, gamma.value, experiment)


def assert_calibrated_by(folder: Path, method: Method, gamma: float, experiment: Experiment) -> None:
    """The results state γ and where it is from; H is at it, and H at γ = 0 is that of the uncalibrated model."""
    results = read_results(folder / "results.json")
    assert results.gamma.value == gamma
    assert f"γ {gamma:.4g}" in protocol_text(results)
    for entry in results.seeds:
        model = method.train(experiment.train, method.config, seed=entry.seed)
        fold = experiment.train, experiment.test
        assert entry.harmonic == pytest.approx(harmonic_at(model, gamma, fold), abs=1e-6)
        assert entry.harmonic_uncalibrated == pytest.approx(harmonic_at(model, 0.0, fold), abs=1e-6)


# --- where it comes from ---------------------------------------------------------------------------------------------


def test_a_fitting_recipes_gamma_is_taken_and_nothing_is_trained_for_it(experiment: Experiment, tmp_path: Path) -> None:
    results = experiment.honest(DCRGAN, TINY, tmp_path, recipe=RECIPE)
    assert asdict(results.gamma) == {"value": 2.25, "source": "of the recipe", "harmonic_on_folds": None}
    assert results.gamma_asked == "auto"
    assert not (tmp_path / "calibration.jsonl").exists()
    assert_calibrated_by(tmp_path, DCRGAN, 2.25, experiment)


def test_a_recipes_gamma_is_for_its_benchmark_its_features_and_its_configuration() -> None:
    assert RECIPE.gamma_for("toy", "b", TINY) == 2.25
    assert RECIPE.gamma_for("toy", "other", TINY) == -1.5
    computed_otherwise = replace(TINY, precision="bf16", compile=True)  # rounding is no other configuration
    assert RECIPE.gamma_for("toy", "b", computed_otherwise) == 2.25
    assert RECIPE.gamma_for("cub", "b", TINY) is None
    assert RECIPE.gamma_for("toy", "c", TINY) is None
    for changed in ({"gan.steps": 6}, {"classifiers.weight_ss": 0.0}, {"feature_power": 0.5}):
        assert RECIPE.gamma_for("toy", "b", override(TINY, changed)) is None
    assert RECIPE.gamma_for("toy", "b", ESZSL.config) is None
    cub = find_recipe("sun", "cub", form=PLUS)  # `--recipe cub` on another benchmark
    assert cub.gamma_for("cub", f"{LITE0}-288px", cub.config) == 32.0
    assert cub.gamma_for("sun", LITE0, cub.config) is None
    assert cub.gamma_for("cub", "resnet101.tv_in1k", cub.config) is None
    assert cub.gamma_for("cub", LITE0, cub.config, 1837) == 29.7  # CUB's first 50 classes
    assert cub.gamma_for("cub", LITE0, cub.config, 7057) is None  # all of CUB
    shapes = find_recipe("shapes")
    assert shapes.gamma_for("shapes", LITE0, shapes.config, 7) == 0.0
    assert shapes.gamma_for("shapes", LITE0, shapes.config) == 0.0
    assert shapes.gamma_for("shapes", "test_vit", shapes.config) is None


@pytest.mark.parametrize("name", PUBLISHED)
def test_neither_the_paper_nor_its_code_calibrates_on_any_benchmark(name: str) -> None:
    recipe = find_recipe("sun", name)
    assert recipe.gamma_for("sun", "any", recipe.config) == recipe.gamma_for("own", LITE0, recipe.config) == 0.0


@pytest.mark.parametrize(
    "recipe",
    [replace(RECIPE, gammas={("cub", "b"): 2.25}), replace(RECIPE, gammas={("toy", "c"): 2.25}),
     replace(RECIPE, gammas={}), None, replace(RECIPE, config=override(TINY, {"gan.steps": 6}))],
    ids=["of another benchmark", "of other features", "without", "none", "of another configuration"],
)  # fmt: skip
def test_where_a_recipe_does_not_fit_calibration_folds_choose(
    recipe: Recipe | None, experiment: Experiment, tmp_path: Path
) -> None:
    gamma = replace(experiment, seeds=(0,)).honest(DCRGAN, TINY, tmp_path, recipe=recipe).gamma
    assert gamma.source == f"of {COUNT} folds within trainval"
    assert gamma.harmonic_on_folds is not None
    if recipe is None:
        scan = torch.linspace(-12, 12, 25)
        assert_best_of_a_scan(DCRGAN, gamma.value, gamma.harmonic_on_folds, experiment.calibration, scan)


def test_a_number_wins_and_is_part_of_what_the_run_is(experiment: Experiment, tmp_path: Path) -> None:
    results = experiment.honest(DCRGAN, TINY, tmp_path, recipe=RECIPE, gamma=1.5)
    assert asdict(results.gamma) == {"value": 1.5, "source": "--gamma", "harmonic_on_folds": None}
    assert results.gamma_asked == 1.5
    assert_calibrated_by(tmp_path, DCRGAN, 1.5, experiment)
    with pytest.raises(ValueError, match=r"run with other gamma_asked .gamma_asked: 1\.5 there, 'auto' now"):
        experiment.honest(DCRGAN, TINY, tmp_path, recipe=RECIPE)


def test_a_recipes_gamma_is_for_the_attributes_that_it_was_chosen_on(experiment: Experiment, tmp_path: Path) -> None:
    other = replace(experiment, splits=replace(experiment.splits, attribute_kind="original_att"))
    assert other.honest(DCRGAN, TINY, tmp_path / "a", recipe=RECIPE).gamma.source == f"of {COUNT} folds within trainval"
    without = replace(RECIPE, calibrated=False)  # as the paper, which has γ 0 whatever the attributes
    assert other.honest(DCRGAN, TINY, tmp_path / "b", recipe=without).gamma.source == "of the recipe"


def test_a_selections_gamma_is_for_its_configuration_alone(experiment: Experiment, tmp_path: Path) -> None:
    chosen = select(
        replace(DCRGAN, rounds=()), experiment.calibration, tmp_path / "s", manifest=experiment.table.manifest,
        goal="harmonic", seed=0, budget=None,
    )  # fmt: skip
    own = experiment.run(DCRGAN, tmp_path / "own", selection=tmp_path / "s")
    assert (own.gamma.value, own.gamma.source) == (chosen.gamma, "of the selection's folds")
    assert own.gamma.harmonic_on_folds == chosen.best.scores.harmonic
    semantic = find_method("C-2", TINY)  # whose scores are on another scale
    of_variant = experiment.run(semantic, tmp_path / "C-2", selection=tmp_path / "s").gamma
    assert of_variant.source == f"of {COUNT} folds within trainval"
    assert of_variant.value != chosen.gamma
    assert of_variant.harmonic_on_folds is not None
    configured = replace(semantic, config=semantic.configured(TINY))
    scan = torch.linspace(-12, 12, 25)
    assert_best_of_a_scan(configured, of_variant.value, of_variant.harmonic_on_folds, experiment.calibration, scan)
    of_its_own = select(
        replace(semantic, rounds=()), experiment.calibration, tmp_path / "s-2", manifest=experiment.table.manifest,
        goal="harmonic", seed=0, budget=None,
    )  # fmt: skip
    assert of_its_own.is_of(semantic, configured.config)
    with_number = experiment.run(DCRGAN, tmp_path / "number", selection=tmp_path / "s", gamma=1.5)
    assert with_number.gamma.value == 1.5


def test_where_nothing_may_be_chosen_gamma_is_0_and_the_results_say_why(
    experiment: Experiment, accelerator: Accelerator, tmp_path: Path
) -> None:
    tuned = TunedFacts(
        benchmark="elsewhere",
        fold=None,
        trainval=Rows(count=1, hash="a"),
        split_hashes=(),
        classes=(),
        started_from=None,
    )
    taught = replace(tuned, classes=(experiment.splits.class_names[experiment.splits.seen[0]],))
    of_tuned = toy_experiment(accelerator, finetuned=replace(tuned, started_from=taught))
    gamma = of_tuned.honest(ESZSL, ESZSL.config, tmp_path / "tuned").gamma
    assert gamma.value == 0
    assert gamma.source.startswith("none: a fine-tuned backbone knows the classes of calibration folds; --gamma NUMBER")
    validation = {1: next(iter(experiment.calibration.values()))}  # official folds that its encoder does not know
    with_folds = replace(of_tuned, validation=validation)
    assert with_folds.honest(ESZSL, ESZSL.config, tmp_path / "folds").gamma.source == "of 1 folds within trainval"
    of_others = toy_experiment(accelerator, finetuned=replace(tuned, classes=("a class of elsewhere",)))
    of_frozen = experiment.honest(ESZSL, ESZSL.config, tmp_path / "frozen").gamma
    assert of_others.honest(ESZSL, ESZSL.config, tmp_path / "others").gamma == of_frozen
    few = replace(experiment.splits, seen=experiment.splits.seen[:2])
    few = replace(few, trainval_loc=few.trainval_loc[few.trainval_loc < 40])
    too_few = replace(experiment, splits=few)
    gamma = too_few.honest(ESZSL, ESZSL.config, tmp_path / "few").gamma
    assert (gamma.value, gamma.source.split(";")[0]) == (0, "none: too few classes for calibration folds")


def tuned_experiment(accelerator: Accelerator, unit: str, value: float) -> Experiment:
    """Features of a backbone that was tuned on 14 of each 15 trainval photos, with a γ of its class folds."""
    gamma = TunedGamma(
        method="eszsl", config_sha256=config_sha256(ESZSL.config), unit=unit, value=value, folds=4, harmonic=0.7
    )
    facts = TunedFacts(
        benchmark="toy", fold=None, trainval=Rows(count=1, hash="a"), split_hashes=(), classes=(),
        started_from=None, gamma=gamma,
    )  # fmt: skip
    experiment = toy_experiment(accelerator, finetuned=facts)
    rows = experiment.train.rows.numpy()
    return replace(experiment, table=replace(experiment.table, tuned_rows=rows[rows % 20 != 3]))


def test_seeds_that_were_tested_at_another_gamma_are_no_part_of_a_run(accelerator: Accelerator, tmp_path: Path) -> None:
    first = tuned_experiment(accelerator, "raw", 0.5)
    before = first.honest(ESZSL, ESZSL.config, tmp_path / "run")
    written = (tmp_path / "run" / "results.json").read_bytes()
    other = tuned_experiment(accelerator, "raw", 0.8)  # the features of equal weights, with γ of other class folds
    with pytest.raises(ValueError, match=r"seed 0 in .*run was tested at γ = 0\.5, and now γ is 0\.8, of the fine-tun"):
        other.honest(ESZSL, ESZSL.config, tmp_path / "run")
    assert (tmp_path / "run" / "results.json").read_bytes() == written
    assert replace(first, seeds=(0, 1, 2)).honest(ESZSL, ESZSL.config, tmp_path / "run").gamma == before.gamma


@pytest.mark.parametrize(("unit", "value"), [("raw", -0.3), ("spread", 0.4), ("share", 0.25), ("alg", 0.8)])
def test_the_gamma_of_a_fine_tuning_s_class_folds_is_measured_on_the_run_s_own_model(
    accelerator: Accelerator, tmp_path: Path, unit: str, value: float
) -> None:
    experiment = tuned_experiment(accelerator, unit, value)
    gamma = experiment.honest(ESZSL, ESZSL.config, tmp_path / "run").gamma
    train = experiment.train
    known = train.rows % 20 != 3
    fitted = replace(train, features=train.features[known], labels=train.labels[known], rows=train.rows[known])
    model = ESZSL.train(train if unit == "alg" else fitted, ESZSL.config, seed=0)
    seen, classes = set(train.seen.tolist()), model.gzsl_classes.tolist()

    def by_part(scores: list[float], leave_out: int | None) -> tuple[list[float], list[float]]:
        both = [(c in seen, score) for c, score in zip(classes, scores, strict=True) if c != leave_out]
        return [score for is_seen, score in both if is_seen], [score for is_seen, score in both if not is_seen]

    margins = [
        max(of_seen) - max(of_unseen)
        for of_seen, of_unseen in (by_part(s, None) for s in model.gzsl_scores(train.features[~known]).tolist())
    ]
    gaps = [
        np.mean(of_seen) - np.mean(of_unseen)
        for of_seen, of_unseen in (
            by_part(scores, label)
            for scores, label in zip(model.gzsl_scores(train.features).tolist(), train.labels.tolist(), strict=True)
        )
    ]
    expected = {
        "raw": value,
        "spread": value * np.std(margins, ddof=1),
        "share": np.quantile(margins, max(value, 0)),
        "alg": value * abs(np.mean(gaps)),
    }
    assert gamma.value == pytest.approx(expected[unit], rel=1e-4)
    assert gamma.source == f"of the fine-tuning's 4 class folds, in the unit {unit}"
    assert gamma.harmonic_on_folds == 0.7


def of_size(pixels: int) -> TransformFacts:
    """What was done to whole photos of this size."""
    return TransformFacts(size=(pixels, pixels), mean=(0, 0, 0), std=(1, 1, 1), interpolation="bicubic")


def test_the_gamma_of_a_fine_tuning_is_for_its_method_and_its_photos_alone(
    accelerator: Accelerator, tmp_path: Path
) -> None:
    experiment = tuned_experiment(accelerator, "share", 0.2)
    other = override(ESZSL.config, {"gamma": 7.0})
    assert experiment.honest(ESZSL, other, tmp_path / "other").gamma.source.startswith("none: a fine-tuned backbone")
    tuned = experiment.table.manifest.finetuned
    assert tuned is not None
    assert tuned.gamma is not None
    for changed in ({"size": (288, 288)}, {"attributes_hash": "of others"}):
        facts = replace(tuned, gamma=replace(tuned.gamma, **changed))
        manifest = replace(experiment.table.manifest, finetuned=facts, transform=of_size(224))
        of_others = replace(experiment, table=replace(experiment.table, manifest=manifest))
        source = of_others.honest(ESZSL, ESZSL.config, tmp_path / str(changed)).gamma.source
        assert source.startswith("none: a fine-tuned backbone")
    other_part = replace(experiment.table, manifest=replace(experiment.table.manifest, backbone="b", finetuned=None))
    for parts in ((experiment.table, other_part), (other_part, experiment.table)):
        joined = join_tables([replace(part, tuned_rows=None) for part in parts])
        settled = replace(experiment, table=joined).honest(ESZSL, ESZSL.config, tmp_path / joined.manifest.backbone)
        assert settled.gamma.source.startswith("none: a fine-tuned backbone")
    all_known = replace(experiment, table=replace(experiment.table, tuned_rows=None))
    with pytest.raises(ValueError, match="needs photos that the backbone was not tuned on"):
        all_known.honest(ESZSL, ESZSL.config, tmp_path / "none")


def test_the_published_protocol_has_the_honest_ones_gamma(experiment: Experiment, tmp_path: Path) -> None:
    one_seed = replace(experiment, seeds=(0,))
    honest = one_seed.run(DCRGAN, tmp_path / "honest")
    published = one_seed.run(DCRGAN, tmp_path / "published", protocol="published", every=5)
    assert published.gamma == honest.gamma
    assert published.selected_on_test[0]["ladder"]["γ"] == honest.seeds[0].harmonic  # one look, at the end
    assert not published.is_honest


# --- after a kill ----------------------------------------------------------------------------------------------------


class Killed(Exception):
    """The process ends here."""


def files(folder: Path) -> dict[str, bytes]:
    """All files of a run but those that tell when something was done."""
    timed = ("starts.jsonl", "progress.jsonl", "test_access.jsonl")
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in timed]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_killed_calibration_goes_on_and_ends_equal(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has 25 steps of a GAN; as it gets at most 7 of them at a time, it ends only if it goes on where it was."""
    whole = experiment.honest(DCRGAN, TINY, tmp_path / "whole")
    left = [0]

    class Killing(Journal):
        def __init__(self, path: Path, run: str) -> None:
            super().__init__(path, run, seconds=0.0)

        def steps(self, stage: str, *args: Any) -> Iterator[int]:
            for step in super().steps(stage, *args):
                if stage == "DCR-GAN":
                    if left[0] == 0:
                        raise Killed
                    left[0] -= 1
                yield step

    kills = 0
    with monkeypatch.context() as patch:
        patch.setattr("zsl.experiments.trainer.Journal", Killing)
        while True:
            left[0] = 7
            try:
                killed = experiment.honest(DCRGAN, TINY, tmp_path / "killed")
                break
            except Killed:
                kills += 1
                assert kills < 20
    assert kills >= 3
    assert killed == whole
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert not list(tmp_path.rglob("steps-*"))


def test_a_run_that_is_killed_after_its_calibration_does_not_calibrate_again(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = experiment.honest(ESZSL, ESZSL.config, tmp_path / "whole")

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("zsl.experiments.experiment.run_seeds", die)
        with pytest.raises(Killed):
            experiment.honest(ESZSL, ESZSL.config, tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "on_folds", die)
        assert experiment.honest(ESZSL, ESZSL.config, tmp_path / "killed") == whole


@pytest.mark.parametrize("protocol", ["honest", "published"])
def test_a_finished_run_that_is_started_again_trains_nothing(
    protocol: Any, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = DCRGAN if protocol == "published" else ESZSL
    whole = experiment.run(method, tmp_path, protocol=protocol)
    before, opened = files(tmp_path), (tmp_path / "test_access.jsonl").read_text()

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "model", never)
    monkeypatch.setattr("zsl.experiments.experiment.train_published", never)
    assert experiment.run(method, tmp_path, protocol=protocol) == whole
    assert files(tmp_path) == before
    assert (tmp_path / "test_access.jsonl").read_text() == opened


def test_calibration_on_other_folds_is_not_taken(experiment: Experiment, tmp_path: Path) -> None:
    """`config.json` does not tell trainval rows apart that are as many; the file of trials does."""
    experiment.honest(ESZSL, ESZSL.config, tmp_path)
    lines = (tmp_path / "calibration.jsonl").read_text().splitlines()
    facts = json.loads(lines[0])
    facts["folds"]["1"]["features"] = "0" * 12
    (tmp_path / "calibration.jsonl").write_text("\n".join([json.dumps(facts), *lines[1:]]) + "\n")
    with pytest.raises(ValueError, match="holds a search with other folds"):
        experiment.honest(ESZSL, ESZSL.config, tmp_path)


def test_what_was_trained_for_gamma_is_a_plain_training_of_each_fold(experiment: Experiment, tmp_path: Path) -> None:
    """Sharing and checkpoints change no bit: the trial has the scores of models that are trained anew."""
    one_seed = replace(experiment, seeds=(0,))
    one_seed.honest(DCRGAN, TINY, tmp_path)
    _, trial = [json.loads(line) for line in (tmp_path / "calibration.jsonl").read_text().splitlines()]
    plain = [
        harmonic_at(train_dcrgan(train, TINY, seed=0), trial["scores"]["gamma"], (train, test))
        for train, test in experiment.calibration.values()
    ]
    assert trial["scores"]["harmonic"] == pytest.approx(np.mean(plain), abs=1e-6)
    assert trial["config"] == json.loads(json.dumps(asdict(TINY)))
