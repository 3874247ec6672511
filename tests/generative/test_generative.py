"""What all generative methods have in common, in both forms, on a toy problem; a new method is covered by its name."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_trainings import train_through_kills
from small_configs import small, tiny
from torch import Tensor
from toy import UNSEEN, toy_splits

from zsl.common.config import flatten, override
from zsl.dcrgan.config import DCRGANConfig
from zsl.experiments.methods import find_method
from zsl.experiments.trainer import Trainer
from zsl.features.split import TrainSplit
from zsl.generative.registry import GENERATIVE
from zsl.scores.evaluate import evaluate
from zsl.training.journal import Journal
from zsl.training.log import silent

ALL = list(GENERATIVE)
PAPER = [name for name in ALL if not name.endswith("+")]


def trained(name: str, train: TrainSplit, config: Any, seed: int = 0) -> Any:
    return GENERATIVE[name].train(train, config, seed=seed)


def state(module: Any) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ALL)
def test_unseen_classes_of_a_linear_problem_are_recognised_far_above_chance(name: str) -> None:
    train, test = toy_splits()
    scores = evaluate(trained(name, train, small(name)), test)
    assert scores.acc_zsl > 2 / UNSEEN
    assert scores.ausuc > 0.4


@pytest.mark.parametrize("name", ALL)
def test_equal_seeds_agree_bit_for_bit_and_others_do_not(name: str) -> None:
    train, _ = toy_splits()
    torch.manual_seed(1)  # what happened before must not matter
    first = state(trained(name, train, tiny(name)))
    torch.manual_seed(2)
    assert same(first, state(trained(name, train, tiny(name))))
    assert not same(first, state(trained(name, train, tiny(name), seed=1)))


# Left out for most methods, because it is the same in all and takes many steps.
FEW = {"classification_weight": 0.0, "heads.fit": "discriminant", "heads.neighbours": None}


@pytest.mark.parametrize("name", PAPER)
def test_kills_at_random_moments_leave_the_same_model_and_log(name: str, tmp_path: Path) -> None:
    known = flatten(asdict(tiny(name)))
    config = override(tiny(name), {path: value for path, value in FEW.items() if path in known})
    check_kills(name, config, tmp_path, most=2)


def test_kills_of_all_stages_leave_the_same_model_and_log(tmp_path: Path) -> None:
    """The classifier of seen classes, which judges G's features, and softmax heads are trained, too."""
    check_kills("LsrGAN", tiny("LsrGAN"), tmp_path, most=50)


def check_kills(name: str, config: Any, folder: Path, *, most: int) -> None:
    train, _ = toy_splits()
    whole = Journal(folder / "whole" / "metrics.jsonl", run="r", seconds=1e9)
    expected = state(GENERATIVE[name].train(train, config, seed=3, log=whole))
    path = folder / "killed" / "metrics.jsonl"
    model, kills = train_through_kills(
        lambda log: GENERATIVE[name].train(train, config, seed=3, log=log), path, most=most
    )
    assert kills >= 2
    assert same(state(model), expected)
    assert path.read_text() == whole.path.read_text()


@pytest.mark.parametrize("name", ALL)
def test_training_uses_unseen_attributes_exactly_where_the_method_says_so(name: str) -> None:
    """The step before the classifiers, but for the synthesizer's own copy of the attributes."""
    train, _ = toy_splits()
    changed = train.attributes.clone()
    changed[train.unseen] = torch.rand(changed[train.unseen].shape, generator=torch.Generator().manual_seed(0))
    states = []
    for split in (train, replace(train, attributes=changed)):
        content = state(GENERATIVE[name].steps[0].run(split, None, tiny(name), 0, silent))
        states.append({key: value for key, value in content.items() if "condition_of" not in key})
    assert same(*states) is not GENERATIVE[name].transductive(tiny(name))


@pytest.mark.parametrize("name", ALL)
def test_a_test_split_is_refused_and_reads_are_noted(name: str) -> None:
    train, test = toy_splits()
    with pytest.raises(TypeError, match="takes a TrainSplit; a TestSplit"):
        trained(name, test, tiny(name))  # type: ignore[arg-type]  # that is the point
    trained(name, train, tiny(name))
    assert len(train.reads) == 2
    assert all(read.rows.tolist() == train.rows.tolist() for read in train.reads)


@pytest.mark.parametrize("what", ["features", "attributes"])
@pytest.mark.parametrize("name", PAPER)
def test_data_that_are_not_finite_are_refused_by_name(name: str, what: str) -> None:
    train, _ = toy_splits()
    values = getattr(train, what).clone()
    values[5, 3] = torch.nan
    where = f"features of row {int(train.rows[5])}" if what == "features" else "attributes of class class 5"
    with pytest.raises(FloatingPointError, match=f": the {where} are not finite"):
        trained(name, replace(train, **{what: values}), tiny(name))


@pytest.mark.parametrize("name", ALL)
def test_a_model_scores_every_class_once_and_is_frozen(name: str) -> None:
    train, test = toy_splits()
    model = trained(name, train, tiny(name))
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    x = test.unseen.features
    gzsl, zsl = model.gzsl_scores(x), model.zsl_scores(x)
    assert model.gzsl_classes.tolist() == [*train.seen.tolist(), *train.unseen.tolist()]
    assert model.zsl_classes.tolist() == train.unseen.tolist()
    assert gzsl.shape == (len(x), len(train.seen) + len(train.unseen))
    assert zsl.shape == (len(x), len(train.unseen))
    assert bool(gzsl.isfinite().all())
    assert bool(zsl.isfinite().all())
    one = torch.cat([model.gzsl_scores(row) for row in x[:5].split(1)])  # no image changes the scores of another
    torch.testing.assert_close(one, gzsl[:5], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PAPER)
def test_both_forms_are_one_method_with_other_settings(name: str) -> None:
    paper, plus = GENERATIVE[name], GENERATIVE[f"{name}+"]
    assert (paper.steps, paper.citation, paper.transductive) == (plus.steps, plus.citation, plus.transductive)
    assert type(paper.config) is type(plus.config)
    assert plus.config.heads.fit == "discriminant"
    assert plus.config.heads.neighbours is None
    assert plus.config.feature_power == plus.config.attribute_power == 0.5
    assert paper.config.feature_power == paper.config.attribute_power == 1.0
    if "gan.shortcut_ridge" in flatten(asdict(paper.config)):
        assert paper.config.gan.shortcut_ridge is None
        assert plus.config.gan.shortcut_ridge is not None
    assert paper.form != plus.form


@pytest.mark.parametrize("name", ALL)
def test_a_method_is_found_by_its_name_and_its_rounds_fit_its_configuration(name: str) -> None:
    method = find_method(name, DCRGANConfig())
    assert method is GENERATIVE[name]
    assert method.goal == "ausuc"
    assert method.configured(method.config) == method.config
    json.dumps(asdict(method.config))
    for tried in method.rounds:
        assert any(override(method.config, overrides) != method.config for overrides in tried)
        assert not {path for overrides in tried for path in overrides} & set(method.settings)


@pytest.mark.parametrize("name", ALL)
def test_the_budget_reaches_every_value_of_the_method_s_own_weights(name: str) -> None:
    method = GENERATIVE[name]
    own = [
        overrides
        for tried in method.rounds
        for overrides in tried
        if override(method.config, overrides) != method.config
        and not any(p.startswith(("heads.", "gan.")) for p in overrides)
    ]
    assert method.budget is not None
    assert 1 + len(own) <= method.budget


@pytest.mark.parametrize("name", PAPER)
def test_other_heads_need_no_other_networks(name: str) -> None:
    train, trainer = toy_splits()[0], Trainer()
    config = tiny(name)
    for heads in (config.heads, dataclasses.replace(config.heads, images_per_unseen_class=7)):
        trainer.model(GENERATIVE[name], train, replace(config, heads=heads), seed=0)
    assert trainer.trainings == 1
