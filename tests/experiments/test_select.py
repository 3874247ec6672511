"""Selection: on validation folds alone, resumable, sparing what is known; and the table and protocols built on it."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from command_line import load_script
from numpy.linalg import LinAlgError
from tiny_configs import ALL_STAGES
from torch import Tensor
from toy import toy_manifest, toy_splits
from toy_runs import toy_experiment

from zsl.common.config import flatten, override
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.variants import VARIANTS
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.published import LABEL
from zsl.experiments.search import Diverged, select
from zsl.experiments.selection import Selection, read_selection
from zsl.experiments.table import (
    answers_of,
    finished_methods,
    left_out_text,
    read_costs,
    run_methods,
    scores_table,
)
from zsl.experiments.trainer import Trainer
from zsl.features.manifest import Imported
from zsl.features.split import TestSplit, TrainSplit
from zsl.scores.evaluate import evaluate
from zsl.scores.model import Calibrated, DivergedMethod
from zsl.training.journal import Journal
from zsl.training.method import Method

Folds = dict[int, tuple[TrainSplit, TestSplit]]
MANIFEST = toy_manifest(precision="no")
IMPORTED = Imported(file="res101.mat", sha256="f")


@pytest.fixture
def folds() -> Folds:
    return {1: toy_splits(seed=1), 2: toy_splits(seed=2)}


def method(*rounds: tuple[dict[str, Any], ...]) -> Method:
    return replace(find_method("dcrgan", ALL_STAGES), rounds=rounds)


def search(made: Method, folds: Folds, folder: Path, budget: int = 10, trainer: Trainer | None = None) -> Selection:
    return select(made, folds, folder, manifest=MANIFEST, goal="harmonic", seed=0, budget=budget, trainer=trainer)


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
    assert chosen.best.scores.harmonic == max(trial["scores"]["harmonic"] for trial in lines[1:])
    config = chosen.config(method())
    shares = []
    for train, test in folds.values():  # the definition: train anew, take γ off the seen columns, average
        model = train_dcrgan(train, config, seed=0)
        shares.append(evaluate(Shifted(model, chosen.gamma, train.seen), test, lambda note: None).harmonic)
    assert chosen.gamma == chosen.best.scores.gamma
    assert chosen.best.scores.harmonic == pytest.approx(sum(shares) / len(shares), abs=1e-6)


def test_fusion_weights_and_more_steps_cost_no_training_of_their_own(folds: Folds, tmp_path: Path) -> None:
    trainer = Trainer()
    search(method(WEIGHTS), folds, tmp_path, trainer=trainer)
    assert trainer.trainings == len(folds)
    search(
        replace(method(WEIGHTS), name="C-1", settings={**method().settings, "classifiers.weight_srs": 0.0}),
        folds,
        tmp_path / "c",
        trainer=trainer,
    )
    assert trainer.trainings == len(folds)


@pytest.mark.parametrize(
    "error", [FloatingPointError("not finite"), LinAlgError("singular"), DivergedMethod("own.py:7: singular")], ids=str
)
def test_settings_with_which_a_training_diverges_are_not_chosen(
    error: Exception, folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = Trainer.model

    def diverge(self: Trainer, made: Method, train: TrainSplit, config: Any, **more: Any) -> Any:
        if config.gan.steps == diverging:
            raise error
        return model(self, made, train, config, **more)

    monkeypatch.setattr(Trainer, "model", diverge)
    diverging = 4
    assert search(method(STEPS), folds, tmp_path / "s").best == search(method(STEPS[1:]), folds, tmp_path / "t").best
    assert caplog.messages == [f"dcrgan with {{'gan.steps': 4}} is not chosen: {error}"]
    (tmp_path / "s" / "selection.json").unlink()
    trainer = Trainer()
    search(method(STEPS), folds, tmp_path / "s", trainer=trainer)
    assert trainer.trainings == 0  # nor is that training done again
    diverging = ALL_STAGES.gan.steps  # that of the start
    with pytest.raises(Diverged, match=str(error)):
        search(method(STEPS), folds, tmp_path / "u")


def test_without_budget_only_what_needs_no_training_is_tried(folds: Folds, tmp_path: Path) -> None:
    trainer = Trainer()
    assert search(method(STEPS, WEIGHTS), folds, tmp_path, budget=0, trainer=trainer).trials == 3
    assert trainer.trainings == len(folds)


def killed_search(
    made: Method, folds: Folds, folder: Path, monkeypatch: pytest.MonkeyPatch, *, models: int, budget: int = 10
) -> None:
    """A search whose process ends when it wants its last of so many models."""
    calls, model = 0, Trainer.model

    def die(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == models:
            raise KeyboardInterrupt
        return model(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "model", die)
        with pytest.raises(KeyboardInterrupt):
            search(made, folds, folder, budget)


def test_folds_of_their_own_choose_gamma_and_nothing_else(folds: Folds, tmp_path: Path) -> None:
    def search_with(folder: str, calibration: Folds | None) -> Selection:
        return select(
            method(STEPS), folds, tmp_path / folder, manifest=MANIFEST, goal="harmonic", seed=0, budget=10,
            calibration=calibration,
        )  # fmt: skip

    plain, calibrated = search_with("plain", None), search_with("calibrated", {7: toy_splits(seed=7)})
    assert calibrated.best == plain.best
    assert plain.gamma == plain.best.scores.gamma
    train, test = toy_splits(seed=7)
    model = train_dcrgan(train, calibrated.config(method()), seed=0)
    tried = torch.linspace(-20, 20, 401).tolist()
    scores = [evaluate(Shifted(model, gamma, train.seen), test, lambda note: None).harmonic for gamma in tried]
    own = evaluate(Shifted(model, calibrated.gamma, train.seen), test, lambda note: None).harmonic
    assert own >= max(scores) - 1e-9
    assert calibrated.calibration is not None
    assert calibrated.calibration.scores.harmonic == pytest.approx(own, abs=1e-6)
    assert read_selection(tmp_path / "calibrated", method(), MANIFEST, folds[1][0].attributes) == calibrated


def test_a_killed_search_goes_on_and_ends_at_the_same_choice(
    folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(method(STEPS, WEIGHTS), folds, tmp_path / "whole")
    killed_search(method(STEPS, WEIGHTS), folds, tmp_path / "killed", monkeypatch, models=5)
    assert len((tmp_path / "killed" / "trials.jsonl").read_text().splitlines()) == 3  # facts and two trials
    assert search(method(STEPS, WEIGHTS), folds, tmp_path / "killed") == whole


def test_what_was_trained_before_a_kill_counts_towards_the_budget(
    folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(method(STEPS, WEIGHTS), folds, tmp_path / "whole", budget=2)
    killed_search(method(STEPS, WEIGHTS), folds, tmp_path / "killed", monkeypatch, models=5, budget=2)
    assert search(method(STEPS, WEIGHTS), folds, tmp_path / "killed", budget=2) == whole
    assert whole.trials == 4  # the recipe (8 steps), 4 steps, and two fusion weights; not 2 steps


def test_a_shorter_search_does_not_replace_the_choice_of_a_longer_one(folds: Folds, tmp_path: Path) -> None:
    longer = search(method(STEPS, WEIGHTS), folds, tmp_path)
    with pytest.raises(ValueError, match=rf"best of {longer.trials} trials, and this budget allows 3.*another --name"):
        search(method(STEPS, WEIGHTS), folds, tmp_path, budget=0)
    assert search(method(STEPS, WEIGHTS), folds, tmp_path) == longer


@pytest.mark.parametrize("torn", ["", '{"method": "dcr', None])
def test_a_file_of_trials_that_was_cut_short_is_gone_on_with(folds: Folds, tmp_path: Path, torn: str | None) -> None:
    whole = search(method(STEPS), folds, tmp_path)
    path = tmp_path / "trials.jsonl"
    lines = path.read_text()
    path.write_text(lines[: len(lines) - 40] if torn is None else torn)
    trainer = Trainer()
    assert search(method(STEPS), folds, tmp_path, trainer=trainer) == whole
    assert trainer.trainings == len(folds) * (1 if torn is None else 3)
    assert path.read_text() == lines


@pytest.mark.parametrize("rounds", [(), (WEIGHTS,)])
def test_gamma_is_all_that_is_taken_off(folds: Folds, tmp_path: Path, rounds: tuple[Any, ...]) -> None:
    chosen = search(method(*rounds), folds, tmp_path)
    assert chosen.gamma != 0
    models = {fold: train_dcrgan(train, chosen.config(method()), seed=0) for fold, (train, _) in folds.items()}
    plain = [evaluate(models[fold], test, lambda note: None) for fold, (_, test) in folds.items()]
    shifted = [
        evaluate(Shifted(models[fold], chosen.gamma, train.seen), test, lambda note: None)
        for fold, (train, test) in folds.items()
    ]
    scores = chosen.best.scores  # acc_seen is without any γ, H is at the chosen one, and T1 knows of none
    assert scores.acc_seen == pytest.approx(sum(one.acc_seen for one in plain) / len(plain))
    assert scores.acc_zsl == pytest.approx(sum(one.acc_zsl for one in plain) / len(plain))
    assert scores.harmonic == pytest.approx(sum(one.harmonic for one in shifted) / len(shifted))


def test_a_selection_is_read_back_and_refused_for_other_features_and_methods(folds: Folds, tmp_path: Path) -> None:
    chosen, attributes = search(method(STEPS), folds, tmp_path), folds[1][0].attributes
    assert read_selection(tmp_path, method(), MANIFEST, attributes) == chosen
    assert read_selection(tmp_path, find_method("LDF", ALL_STAGES), MANIFEST, attributes) == chosen
    for changed, message in (
        ({"backbone": "other"}, "chosen on other backbone .backbone: 'b' there, 'other' now"),
        ({"precision": "bf16"}, r"chosen on other features .features\.precision: 'no' there, 'bf16' now"),
        ({"imported": IMPORTED}, r"chosen on other features .features\.imported_sha256: None there, 'f' now"),
    ):
        with pytest.raises(ValueError, match=message):
            read_selection(tmp_path, method(), replace(MANIFEST, **changed), attributes)
    with pytest.raises(ValueError, match=r"was chosen on other attributes .attributes_hash: "):
        read_selection(tmp_path, method(), MANIFEST, attributes + 1)
    with pytest.raises(ValueError, match="was chosen for dcrgan, this run is of eszsl"):
        read_selection(tmp_path, find_method("eszsl", ALL_STAGES), MANIFEST, attributes)
    with pytest.raises(ValueError, match=r"this run is of f-CLSWGAN; it takes .* of f-CLSWGAN$"):
        read_selection(tmp_path, find_method("f-CLSWGAN", ALL_STAGES), MANIFEST, attributes)
    with pytest.raises(FileNotFoundError, match=r"no selection .*scripts/choose\.py makes it"):
        read_selection(tmp_path / "nowhere", method(), MANIFEST, attributes)
    path = tmp_path / "selection.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"method_version": 0}))
    with pytest.raises(ValueError, match="was chosen by another version of this program"):
        read_selection(tmp_path, method(), MANIFEST, attributes)


def test_a_variant_takes_the_configuration_of_dcrgans_search_and_a_gamma_of_its_own(
    folds: Folds, tmp_path: Path
) -> None:
    search(method(({"gan.steps": 4},)), {1: folds[1]}, tmp_path)
    for name in VARIANTS:
        variant = find_method(name, ALL_STAGES)
        if name == "f-CLSWGAN" or name.endswith("+"):
            assert variant.selected_as == (name if name == "f-CLSWGAN" else "dcrgan+")  # searches of their own
            continue
        chosen = read_selection(tmp_path, variant, MANIFEST, folds[1][0].attributes)
        config = variant.configured(chosen.config(variant))
        as_file = json.loads(json.dumps(asdict(config)))
        assert flatten(as_file) == flatten(chosen.best.config) | dict(variant.settings), name
        assert chosen.is_of(variant, config) is (name in ("dcrgan", "C-5")), name  # whose γ the search's folds chose


def test_a_search_that_has_ended_leaves_its_trials_and_no_checkpoints(folds: Folds, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        killed_search(method(STEPS), folds, tmp_path, patch, models=4)
    assert list(tmp_path.glob("steps-*/checkpoints/*"))
    search(method(STEPS), folds, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["progress.jsonl", "selection.json", "trials.jsonl"]
    eszsl, own = find_method("eszsl", ALL_STAGES), {7: toy_splits(7)}
    select(eszsl, folds, tmp_path / "e", manifest=MANIFEST, goal="acc_zsl", seed=0, budget=None, calibration=own)
    names = ["calibration.jsonl", "progress.jsonl", "selection.json", "trials.jsonl"]
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == names


def test_trials_on_other_folds_or_other_values_of_their_features_are_not_reused(folds: Folds, tmp_path: Path) -> None:
    search(method(), folds, tmp_path)
    with pytest.raises(ValueError, match="holds a search with other folds"):
        search(method(), {1: folds[1]}, tmp_path)
    train, test = folds[2]
    rounded = replace(train, features=train.features.bfloat16().float())
    with pytest.raises(ValueError, match="holds a search with other folds"):
        search(method(), {1: folds[1], 2: (rounded, test)}, tmp_path)


@pytest.mark.parametrize("differs", [{"classifiers.weight_ss": 0.0}, {"classifiers.images_per_unseen_class": 7}])
def test_a_variant_that_shares_a_generator_has_the_log_of_one_that_trains_its_own(
    folds: Folds, tmp_path: Path, differs: dict[str, Any]
) -> None:
    train, trainer = folds[1][0], Trainer()
    trainer.model(method(), train, ALL_STAGES, seed=0, log=Journal(tmp_path / "first" / "metrics.jsonl", run="r"))
    logs = []
    for name, of_name in (("shared", trainer), ("alone", Trainer())):
        journal = Journal(tmp_path / name / "metrics.jsonl", run="r")
        of_name.model(method(), train, override(ALL_STAGES, differs), seed=0, log=journal)
        logs.append(journal.path.read_text())
    assert logs[0] == logs[1] != ""
    assert trainer.trainings == 1


def start(name: str) -> DCRGANConfig:
    """Where the search for a method starts, in either form."""
    return find_method(name, ALL_STAGES).config if name in VARIANTS else ALL_STAGES


@pytest.fixture
def experiment(accelerator: Accelerator) -> Experiment:
    return toy_experiment(accelerator)


def test_a_run_without_all_its_answers_is_not_ranked(
    experiment: Experiment, folds: Folds, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A table of finished runs was lost with it, or the run was ranked by the seeds that were left."""
    results = run_methods(experiment, folds, ["eszsl", "sae", "exem"], start, tmp_path, 0)
    answers = answers_of(tmp_path, results)
    assert {name: list(seeds) for name, seeds in answers.items()} == {name: [0, 1] for name in results}
    (tmp_path / "eszsl" / "seed-1" / "details.safetensors").unlink()
    (tmp_path / "sae" / "seed-0" / "details.safetensors").write_bytes(b"damaged")
    assert list(answers_of(tmp_path, results)) == ["exem"]
    assert "eszsl has no answers of seed 1; train it anew" in caplog.text
    assert "details.safetensors is not a whole file of test details" in caplog.text


def test_the_table_has_a_line_a_method_and_is_not_made_twice(
    experiment: Experiment, folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["eszsl", "C-1", "C-5", "published"]
    given = experiment, folds, names, start, tmp_path, 0, 4
    results = run_methods(*given)
    costs = read_costs(tmp_path, results)
    assert all(cost.seconds > 0 for cost in costs.values())
    lines = scores_table(results).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["method", "---", *names]
    only = run_methods(experiment, folds, ["C-1"], start, tmp_path, 0)
    earlier = finished_methods(tmp_path, only)  # an earlier call's, too, as its file has them
    assert earlier == results | only
    assert scores_table(earlier).splitlines() == lines
    chosen = tmp_path / "dcrgan-selection" / "selection.json"
    of_search = json.loads(chosen.read_text())
    of_search["best"]["config"]["gan"]["steps"] += 1  # as if a later search had chosen another configuration
    chosen.write_text(json.dumps(of_search))
    assert list(finished_methods(tmp_path, only)) == ["eszsl", "C-1"]
    damaged = tmp_path / "eszsl" / "results.json"
    whole = damaged.read_text()
    damaged.write_text("{}")
    assert list(finished_methods(tmp_path, only)) == ["C-1"]  # and the rows that are whole are not lost
    damaged.write_text(whole)
    of_one_seed = {"C-1": replace(only["C-1"], seeds=only["C-1"].seeds[:1])}
    left_out: dict[str, str] = {}
    assert list(finished_methods(tmp_path, of_one_seed, left_out)) == ["C-1"]
    assert left_out_text(left_out) == "Not in this table, for other seeds (0 1): eszsl, C-5, published.\n"
    with pytest.raises(ValueError, match="--every 4 is for the row published, which --methods does not name"):
        run_methods(experiment, folds, ["C-1"], start, tmp_path, 0, 4)
    assert results["C-1"].config["classifiers"]["weight_ss"] == 0.0
    assert results["published"].protocol == LABEL
    assert results["published"].rows_read == results["C-5"].rows_read
    assert results["C-1"].protocol.startswith("honest: chosen on validation folds")
    assert set(results["C-1"].rows_read) >= {"train_metric", "train_gan", "train_classifiers"}

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "model", never)
    monkeypatch.setattr("zsl.experiments.experiment.train_published", never)
    assert run_methods(*given) == results
    assert read_costs(tmp_path, results) == costs  # nothing was trained in that call


def test_a_method_that_fails_is_a_row_that_says_so(
    experiment: Experiment, folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise FloatingPointError("gan stage, step 3: 'critic' is not finite")

    monkeypatch.setattr("zsl.dcrgan.method.train_synthesizer", fail)
    given = experiment, folds, ["C-1", "eszsl"], start, tmp_path, 0
    failures: dict[str, str] = {}
    results = run_methods(*given, failures=failures)
    assert list(results) == ["eszsl"]
    assert "gan stage, step 3" in scores_table(results, failures=failures).splitlines()[-1]
    with pytest.raises(FloatingPointError):
        run_methods(*given)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["C-1", "eszl"], r"no method 'eszl'; did you mean 'eszsl'\?; there are dcrgan, A"),
        (["C-1", "C-1"], "--methods C-1 C-1: name one or several, each once"),
        ([], "--methods without any: name one or several"),
    ],
)
def test_names_are_checked_before_anything_is_trained(
    names: list[str], message: str, experiment: Experiment, folds: Folds, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run_methods(experiment, folds, names, start, tmp_path, 0)
    with pytest.raises(ValueError, match="--seeds 0 0: a seed that occurs twice"):
        run_methods(replace(experiment, seeds=(0, 0)), folds, ["eszsl"], start, tmp_path, 0)
    assert not list(tmp_path.iterdir())


def test_the_published_protocol_is_never_below_any_of_its_looks(
    experiment: Experiment, folds: Folds, tmp_path: Path
) -> None:
    results = run_methods(experiment, folds, ["published"], start, tmp_path, 0, 4)["published"]
    for entry in results.seeds:
        for steps in (4, 8):
            config = override(ALL_STAGES, flatten(results.config) | {"gan.steps": steps})
            model = train_dcrgan(experiment.train, config, seed=entry.seed)
            calibrated = Calibrated(model, results.gamma.value, experiment.train.seen)
            scores = evaluate(calibrated, experiment.test, lambda note: None)
            assert entry.harmonic >= scores.harmonic
            assert entry.acc_zsl >= scores.acc_zsl
    opened = (tmp_path / "published" / "test_access.jsonl").read_text().splitlines()
    assert len(opened) == 2 * 2  # seeds and looks


def test_a_run_of_another_feature_table_is_refused_in_words(experiment: Experiment, tmp_path: Path) -> None:
    eszsl = find_method("eszsl", ALL_STAGES)
    experiment.honest(eszsl, eszsl.config, tmp_path, trainer=Trainer())
    manifest = replace(experiment.table.manifest, precision="bf16")
    other = replace(experiment, table=replace(experiment.table, manifest=manifest))
    with pytest.raises(ValueError, match=r"run with other features .features\.precision: 'x' there, 'bf16' now"):
        other.honest(eszsl, eszsl.config, tmp_path, trainer=Trainer())
    splits = replace(experiment.splits, attributes=experiment.splits.attributes + 1)
    with pytest.raises(ValueError, match="run with other attributes_hash"):
        replace(experiment, splits=splits).honest(eszsl, eszsl.config, tmp_path, trainer=Trainer())
    imported = replace(experiment.table, manifest=replace(experiment.table.manifest, imported=IMPORTED))
    with pytest.raises(ValueError, match=r"run with other features .features\.imported_sha256: None there, 'f' now"):
        replace(experiment, table=imported).honest(eszsl, eszsl.config, tmp_path, trainer=Trainer())
    by_engine = replace(experiment.table, manifest=replace(experiment.table.manifest, engine="openvino"))
    with pytest.raises(ValueError, match=r"run with other features .features\.engine: None there, 'openvino' now"):
        replace(experiment, table=by_engine).honest(eszsl, eszsl.config, tmp_path, trainer=Trainer())
    killed = tmp_path / "killed"  # a seed's checkpoints without the folder's config.json
    method = find_method("dcrgan", ALL_STAGES)
    with pytest.raises(KeyboardInterrupt):
        experiment.honest(method, ALL_STAGES, killed, gamma=0.0, trainer=Interrupted())
    (killed / "config.json").unlink()
    with pytest.raises(ValueError, match=r"metric\.safetensors is of another run .another .*features, or another seed"):
        other.honest(method, ALL_STAGES, killed, gamma=0.0, trainer=Trainer())


class Interrupted(Trainer):
    """Ends the process once a model is trained."""

    def model(self, *args: Any, **kwargs: Any) -> Any:
        super().model(*args, **kwargs)
        raise KeyboardInterrupt


@pytest.mark.parametrize(("method", "goal"), [("supervised", "acc_seen"), ("eszsl", "ausuc")])
def test_choosing_goes_by_what_the_method_is_good_for(
    tiny_features: Path,
    tmp_path: Path,
    method: str,
    goal: str,
    accelerator: Accelerator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose = load_script("choose.py")
    monkeypatch.setattr(choose, "make_accelerator", lambda precision: accelerator)
    choose.main(choose.Args(features=tiny_features, data=tiny_features.parents[2], runs=tmp_path, method=method))
    chosen = json.loads((tmp_path / f"shapes-{method}-selection" / "selection.json").read_text())
    trials = [json.loads(line) for line in (tmp_path / f"shapes-{method}-selection" / "trials.jsonl").open()][1:]
    assert chosen["goal"] == goal
    assert chosen["best"]["scores"][goal] == max(trial["scores"][goal] for trial in trials)
    assert chosen["features"]["precision"] == "no"
