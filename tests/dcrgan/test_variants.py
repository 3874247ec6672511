"""Variants of the method are configurations that do what they say; each part against a plain form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from tiny_configs import ALL_STAGES, TINY, state
from toy import toy_splits

from zsl.common.config import override
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.gan import train_gan
from zsl.dcrgan.heads import discriminant
from zsl.dcrgan.losses import batch_hard_triplet_loss
from zsl.dcrgan.networks import MetricNet
from zsl.dcrgan.recipes import find_recipe, paper_form
from zsl.dcrgan.regressors import train_regressors
from zsl.dcrgan.srn import sample_linearly
from zsl.dcrgan.variants import PAPER, PLUS, RIDGE, VARIANTS
from zsl.experiments.methods import find_method
from zsl.features.class_statistics import class_means
from zsl.scores.evaluate import evaluate
from zsl.scores.model import Calibrated

# Table III and its kin: which classifiers vote, and which of F1 and F2 learn in the GAN's loop.
VOTES = {
    "A": {"VS"},
    "B": {"VS"},
    "C-1": {"VS"},
    "C-2": {"SS"},
    "C-3": {"SRS"},
    "C-4": {"VS", "SRS"},
    "f-CLSWGAN": {"VS"},
}
LEARNERS: dict[str, set[str]] = {"A": {"attributes"}, "f-CLSWGAN": set(), "frozen": set()}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_votes_and_learns_with_the_parts_it_has(name: str) -> None:
    train, test = toy_splits()
    method = find_method(name, ALL_STAGES)
    config = method.configured(method.config)
    model = train_dcrgan(train, config, seed=0)
    votes = model.votes(test.unseen.features)
    assert all(vote.isfinite().all() for vote in votes)
    given = {space for space, vote in zip(("VS", "SS", "SRS"), votes, strict=True) if vote.any()}
    base = name.removesuffix("+")
    assert given == VOTES.get(base, {"VS", "SS", "SRS"})
    before = train_dcrgan(train, override(config, {"gan.steps": 0}), seed=0).regressors.state_dict()
    moved = {key.split(".")[0] for key, value in model.regressors.state_dict().items() if (value != before[key]).any()}
    assert moved == LEARNERS.get(base, {"attributes", "representations"})
    assert method.transductive(config) is (base == "transductive")
    assert (config.classifiers.fit, config.gan.shortcut_ridge is None) == (
        ("discriminant", False) if name.endswith("+") else ("softmax", True)
    )


def test_one_mechanism_makes_the_plus_form_of_every_variant() -> None:
    names = [name for name in VARIANTS if not name.endswith("+")]
    assert list(VARIANTS) == [*names, *(f"{name}+" for name in names)]
    for name in names:
        paper, plus = dict(VARIANTS[name].settings), dict(VARIANTS[f"{name}+"].settings)
        assert paper.pop("gan.shortcut_ridge") is None
        assert (paper.pop("classifiers.fit"), plus.pop("classifiers.fit")) == ("softmax", "discriminant")
        assert paper == plus
        assert find_method(name, ALL_STAGES).form == PAPER.text
        assert find_method(f"{name}+", ALL_STAGES).form == PLUS.text


def test_the_plus_form_starts_in_closed_form_on_any_recipe() -> None:
    paper = find_recipe("cub", "paper-cub-gzsl").config
    assert paper.gan.shortcut_ridge is None
    made = find_method("dcrgan+", paper)
    assert made.configured(made.config).gan.shortcut_ridge == RIDGE


def test_variants_do_not_train_on_unseen_attributes_unless_they_say_so() -> None:
    train, _ = toy_splits()
    other = train.attributes.clone()
    other[train.unseen] += 1
    for name in ("A", "B", "TL", "f-CLSWGAN", "transductive"):
        config = find_method(name, ALL_STAGES).configured(ALL_STAGES)
        made = []
        for attributes in (train.attributes, other):
            own = replace(train, attributes=attributes)
            representations = torch.zeros(len(attributes), 3)
            regressors = train_regressors(own, representations, config.regressors, seed=0)
            made.append(train_gan(own, representations, regressors, config.gan, seed=0)[0].state_dict())
        equal = all(torch.equal(made[0][key], made[1][key]) for key in made[0])
        assert equal is (name != "transductive"), name


@pytest.mark.parametrize("name", VARIANTS)
def test_representations_that_nothing_uses_are_not_trained_and_the_model_is_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = toy_splits()
    config = find_method(name, TINY).configured(TINY)
    lean = name.removesuffix("+") in ("A", "f-CLSWGAN")
    assert config.uses_representations is not lean
    assert override(config, {"regressors.pretrain_epochs_representations": 1}).uses_representations
    if lean:
        models = [train_dcrgan(replace(train, reads=[]), config, seed=0)]
        monkeypatch.setattr(DCRGANConfig, "uses_representations", True)
        models.append(train_dcrgan(replace(train, reads=[]), config, seed=0))
        stages = [{read.stage for read in model.synthesizer.train.reads} for model in models]
        assert stages[1] - stages[0] == {"train_metric", "train_srn"}
        states = [state(model) for model in models]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_an_override_names_a_field_that_there_is() -> None:
    assert override(ALL_STAGES, {"gan.steps": 7, "attribute_norm": None}).gan.steps == 7
    assert override(ALL_STAGES, {"classifiers.betas": [0.1, 0.2]}).classifiers.betas == (0.1, 0.2)
    with pytest.raises(ValueError, match=r"no field 'gan\.stepz' in the configuration; there are hidden_dim"):
        override(ALL_STAGES, {"gan.stepz": 7})
    with pytest.raises(ValueError, match=r"no method 'dcgan'; did you mean 'dcrgan'\?; there are dcrgan, A, B"):
        find_method("dcgan", ALL_STAGES)


@pytest.mark.parametrize("margin", [0.1, 1.0, 5.0])
def test_batch_hard_loss_is_a_plain_loop(margin: float) -> None:
    torch.manual_seed(0)
    points, labels = torch.randn(12, 3), torch.tensor([0, 0, 1, 1, 1, 2, 2, 3, 4, 4, 4, 4])  # class 3 has no positive
    terms = []
    for anchor in range(12):
        distance = (points[anchor] - points).norm(dim=1)
        positives = [distance[i] for i in range(12) if labels[i] == labels[anchor] and i != anchor]
        negatives = [distance[i] for i in range(12) if labels[i] != labels[anchor]]
        if positives and (violation := max(positives) - min(negatives) + margin) > 0:
            terms.append(violation)
    expected = torch.stack(terms).mean() if terms else torch.tensor(0.0)
    torch.testing.assert_close(batch_hard_triplet_loss(points, labels, margin), expected)


def test_batch_hard_loss_has_a_finite_gradient() -> None:
    points = torch.randn(6, 3, requires_grad=True)
    batch_hard_triplet_loss(points, torch.tensor([0, 0, 1, 1, 2, 3]), 1.0).backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()


def test_the_traditional_metric_network_does_not_see_attributes() -> None:
    metric, features = MetricNet(5, 0, 3), torch.randn(4, 5)
    assert torch.equal(metric(features, torch.zeros(4, 7)), metric(features, torch.ones(4, 7)))


def test_linear_sampling_is_a_ridge_regression_of_unseen_attributes_on_seen_ones() -> None:
    train, _ = toy_splits()
    prototypes = torch.randn(len(train.seen), 4)
    made = sample_linearly(train, prototypes, ridge=0.01)
    assert torch.equal(made[train.seen], prototypes)
    seen, unseen = train.attributes[train.seen].double().numpy(), train.attributes[train.unseen].double().numpy()
    rows = np.vstack([seen.T, 0.1 * np.eye(len(seen))])  # ridge = 0.1 squared
    weights = np.stack([np.linalg.lstsq(rows, np.append(a, np.zeros(len(seen))), rcond=None)[0] for a in unseen])
    np.testing.assert_allclose(made[train.unseen].numpy(), weights @ prototypes.double().numpy(), atol=1e-3)


@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 0.9])
def test_the_discriminant_is_scikit_learns(shrinkage: float) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 30)
    inputs = rng.normal(size=(4, 6))[labels] * 2 + rng.normal(size=(120, 6)) @ rng.normal(size=(6, 6))
    # scikit-learn standardises before it shrinks and scales back after: on inputs of unit spread that is the same.
    within = inputs - np.stack([inputs[labels == c].mean(0) for c in range(4)])[labels]
    inputs /= within.std(0)
    values, targets = torch.from_numpy(inputs), torch.from_numpy(labels)
    means = class_means(values, targets, 4)
    weight, bias = discriminant(means, values - means[targets], shrinkage)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[0.25] * 4).fit(inputs, labels)
    ours = (values @ weight.T + bias).log_softmax(1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_log_proba(inputs), atol=1e-5)


def test_one_image_a_class_gives_no_covariance_and_that_is_said() -> None:
    means = torch.randn(4, 6)
    for within in (torch.zeros(4, 6), torch.zeros(12, 6)):  # one image a class, or three that are equal
        with pytest.raises(ValueError, match=r"two training images that differ.*the method without \+ in its name"):
            discriminant(means, within, 0.5)


def test_discriminant_heads_recognise_the_toy_problem() -> None:
    train, test = toy_splits()
    config = override(
        ALL_STAGES,
        {"classifiers.fit": "discriminant", "gan.shortcut_ridge": 0.1, "gan.steps": 40, "gan.classification": "none"},
    )
    scores = evaluate(train_dcrgan(train, config, seed=0), test, lambda note: None)
    assert scores.acc_zsl > 0.6  # chance is 0.25


def test_an_unknown_recipe_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no recipe 'sun'; there are shapes, cub, reference-cub-gzsl"):
        find_recipe("sun", "sun")
    assert find_recipe("sun").config == paper_form().config
    assert find_recipe("sun", form=PLUS) == find_recipe("cub", form=PLUS)
    assert find_recipe("sun").gamma_for("sun", "resnet101.tv_in1k", DCRGANConfig()) is None


def test_gamma_is_taken_off_the_seen_columns() -> None:
    train, test = toy_splits()
    model = train_dcrgan(train, ALL_STAGES, seed=0)
    plain = model.gzsl_scores(test.unseen.features)
    calibrated = Calibrated(model, 2.5, train.seen)
    seen = len(train.seen)
    shifted = calibrated.gzsl_scores(test.unseen.features)
    torch.testing.assert_close(shifted[:, :seen], plain[:, :seen] - 2.5)
    assert torch.equal(shifted[:, seen:], plain[:, seen:])
    assert torch.equal(calibrated.zsl_scores(test.unseen.features), model.zsl_scores(test.unseen.features))
    assert torch.equal(model.gzsl_scores(test.unseen.features), plain)  # the model itself has none


LEFT: tuple[tuple[str, set[str]], ...] = (
    ("A", {"attributes"}), ("A+", {"attributes"}), ("f-CLSWGAN", set()), ("f-CLSWGAN+", set()),
)  # fmt: skip


@pytest.mark.parametrize("recipe", ["cub", "reference-cub-gzsl"])
def test_on_any_recipe_a_variant_leaves_out_what_it_is_defined_without(recipe: str) -> None:
    config = find_recipe("cub", recipe).config
    for name, regressors in LEFT:
        gan = find_method(name, config).configured(config).gan
        weights = {
            "attributes": (gan.cycle_attributes, gan.semantic_transductive and gan.unseen_cycle_attributes),
            "representations": (gan.cycle_representations, gan.unseen_cycle_representations),
        }
        assert {space for space, of_space in weights.items() if any(of_space)} == regressors, name


def test_gamma_of_a_recipe_is_not_taken_off_scores_of_another_configuration() -> None:
    recipe = find_recipe("cub", form=PLUS)
    assert all(gamma > 0 for gamma in recipe.gammas.values())
    for name in VARIANTS:
        method = find_method(name, recipe.config, variant_start=False)
        own = name not in ("dcrgan+", "C-5+")  # the recipe itself; any other has scores for which γ was not found
        for (benchmark, backbone), found in recipe.gammas.items():
            gamma = recipe.gamma_for(benchmark, backbone, method.configured(method.config))
            assert gamma == (None if own else found), name
            assert recipe.gamma_for("awa1", backbone, recipe.config) is None
        assert recipe.gamma_for("cub", "resnet101.tv_in1k", recipe.config) is None
