"""The method as a whole, on a toy problem: it learns, repeats itself, and never depends on a test row."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tiny_configs import TINY, state
from torch import Tensor
from toy import UNSEEN, toy_splits, toy_table

from zsl.dcrgan.classifiers import ClassifierConfig
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.gan import GANConfig
from zsl.dcrgan.heads import SoftmaxHead
from zsl.dcrgan.losses import triplet_loss
from zsl.dcrgan.metric import MetricConfig, class_prototypes, rescale, train_metric
from zsl.dcrgan.networks import SRN, MetricNet
from zsl.dcrgan.regressors import RegressorConfig, train_regressors
from zsl.dcrgan.srn import SRNConfig, train_srn
from zsl.features.scaling import AttributeScaler
from zsl.features.split import TestSplit, TrainSplit, centre_attributes, split_features
from zsl.scores.evaluate import evaluate
from zsl.training.log import Watch, silent
from zsl.training.stage import penalised_adam

LEARNING = dataclasses.replace(
    TINY,
    metric=MetricConfig(representation_dim=4, steps=200, lr=1e-3),
    srn=SRNConfig(steps=500, lr=1e-3),
    gan=GANConfig(hidden_dim=128, steps=300, lr_critic=1e-3, lr_generator=1e-3),
    classifiers=ClassifierConfig(images_per_unseen_class=50, lr_vs=1e-2, lr_ss=1e-2),
)


def assert_same_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def test_unseen_classes_of_a_linear_problem_are_recognised_far_above_chance() -> None:
    train, test = toy_splits()
    scores = evaluate(train_dcrgan(train, LEARNING, seed=0), test)
    assert scores.acc_zsl > 2 / UNSEEN
    assert scores.acc_seen > 0.5
    assert scores.harmonic > 0.4


def test_equal_seeds_agree_bit_for_bit_and_others_differ() -> None:
    train, _ = toy_splits()
    torch.manual_seed(1)  # what happened before must not matter
    first = state(train_dcrgan(train, TINY, seed=0))
    torch.manual_seed(2)
    assert_same_state(first, state(train_dcrgan(train, TINY, seed=0)))
    other = state(train_dcrgan(train, TINY, seed=1))
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_training_is_the_same_whatever_the_test_rows_hold() -> None:
    table, splits = toy_table()
    clean, _ = split_features(table, splits)
    poisoned = table.features.copy()
    poisoned[np.concatenate([splits.test_seen_loc, splits.test_unseen_loc])] = np.float32(1e30)
    dirty, _ = split_features(dataclasses.replace(table, features=poisoned), splits)
    assert_same_state(
        state(train_dcrgan(clean, TINY, seed=0)),
        state(train_dcrgan(dirty, TINY, seed=0)),
    )


def test_training_networks_never_see_unseen_attributes() -> None:
    """Inductive: with other unseen attributes, all that is trained before synthesis is bit for bit the same."""
    train, _ = toy_splits()
    changed = train.attributes.clone()
    changed[train.unseen] = 7.0
    first, second = (
        state(
            train_dcrgan(split, TINY, seed=0).regressors
        )  # trained last, in the GAN's loop: all before flows into them
        for split in (train, dataclasses.replace(train, attributes=changed))
    )
    assert_same_state(first, second)


def test_a_train_split_holds_no_test_row_in_any_of_its_tensors() -> None:
    """The leak attempt: look for every test row's value in all memory behind a TrainSplit."""
    table, splits = toy_table()
    marked = table.features.copy()
    test_rows = np.concatenate([splits.test_seen_loc, splits.test_unseen_loc])
    marked[test_rows] = 12345.0 + np.arange(len(test_rows))[:, None]
    train, _ = split_features(dataclasses.replace(table, features=marked), splits)
    assert train.rows.tolist() == splits.trainval_loc.tolist()
    assert np.isin(train.labels.numpy(), splits.seen).all()
    for value in everything_reachable(train):
        if isinstance(value, Tensor):
            memory = torch.frombuffer(bytearray(bytes(value.untyped_storage())), dtype=value.dtype)
            assert memory.double().abs().max() < 12345.0
        else:
            assert not isinstance(value, TestSplit | np.ndarray), type(value)


def everything_reachable(value: Any) -> list[Any]:
    if dataclasses.is_dataclass(value):
        return [x for field in dataclasses.fields(value) for x in everything_reachable(getattr(value, field.name))]
    return [value]


@pytest.mark.parametrize("stage", [train_metric, train_srn, train_regressors])
def test_a_stage_refuses_a_test_split(stage: Any) -> None:
    _, test = toy_splits()
    with pytest.raises(TypeError, match="takes a TrainSplit; a TestSplit"):
        stage(test, seed=0)


def test_the_scaler_is_fitted_on_trainval_rows_only() -> None:
    table, splits = toy_table()
    train, test = split_features(table, splits)
    trainval = table.features[splits.trainval_loc]
    expected = (table.features[splits.test_unseen_loc] - trainval.min(0)) / (trainval.max(0) - trainval.min(0))
    np.testing.assert_allclose(test.unseen.features.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert train.features.min() == 0
    assert train.features.max() == 1
    assert test.unseen.features.max() > 1  # other rows are not squeezed


def test_both_parts_are_dealt_to_the_device_that_is_asked_for() -> None:
    train, test = split_features(*toy_table(), torch.device("meta"))
    of_train = (train.features, train.labels, train.attributes, train.seen, train.rows, train.scaler.low)
    of_test = (test.seen.features, test.seen.labels, test.unseen.features, test.unseen.labels)
    assert {part.device.type for part in (*of_train, *of_test)} == {"meta"}


def test_centred_attributes_depend_on_seen_classes_only() -> None:
    train, _ = toy_splits()
    centred = centre_attributes(train, norm=3.0)
    assert centred.attributes[train.seen].mean(0).abs().max() < 1e-6
    assert centred.attributes[train.seen].norm(dim=1).mean().item() == pytest.approx(3.0)
    changed = train.attributes.clone()
    changed[train.unseen] += 5
    moved = centre_attributes(dataclasses.replace(train, attributes=changed), norm=3.0)
    assert torch.equal(moved.attributes[train.seen], centred.attributes[train.seen])


def test_powers_of_features_and_attributes_reach_the_networks_and_the_answers() -> None:
    train, test = toy_splits()
    config = dataclasses.replace(TINY, feature_power=0.5, attribute_power=0.5)
    rooted = dataclasses.replace(train, features=train.features.sqrt(), attributes=train.attributes.abs().sqrt())
    signs = dataclasses.replace(rooted, attributes=train.attributes.sign() * rooted.attributes)
    model, by_hand = train_dcrgan(train, config, seed=0), train_dcrgan(signs, TINY, seed=0)
    features = test.unseen.features.clamp(min=0)
    torch.testing.assert_close(model.gzsl_scores(features), by_hand.gzsl_scores(features.sqrt()))
    torch.testing.assert_close(model.zsl_scores(features), by_hand.zsl_scores(features.sqrt()))
    scaler = AttributeScaler.fit(train.attributes[train.seen], 3.0, 0.5)
    torch.testing.assert_close(scaler.undo(scaler(train.attributes)), train.attributes)


def test_seen_classes_of_equal_attributes_have_no_scale() -> None:
    with pytest.raises(ValueError, match=r"the attributes of the 1 seen classes do not differ.*attribute-norm None"):
        AttributeScaler.fit(torch.rand(1, 5), 1.0)
    assert torch.equal(AttributeScaler.fit(torch.ones(1, 5), None)(torch.ones(2, 5)), torch.ones(2, 5))


def test_what_the_heads_see_is_computed_once_for_each_part_of_the_test() -> None:
    train, test = toy_splits()
    model = train_dcrgan(train, TINY, seed=0)
    expected = evaluate(model, test)
    model.remembered = {}
    assert [evaluate(model, test) for _ in range(3)] == [expected] * 3
    assert len(model.remembered) == 2  # test_seen and test_unseen


def test_prototypes_are_the_class_means_of_the_metric_network() -> None:
    train, _ = toy_splits()
    metric = train_metric(train, TINY.metric, seed=0)
    prototypes = class_prototypes(metric, train, batch_size=7)
    for position, class_id in enumerate(train.seen.tolist()):
        own = train.labels == class_id
        with torch.no_grad():
            expected = metric(train.features[own], train.attributes[class_id].expand(int(own.sum()), -1)).mean(0)
        torch.testing.assert_close(prototypes[position], expected)


def test_rescaled_prototypes_keep_ratios_of_distances() -> None:
    prototypes = torch.randn(5, 3) * 9 + 4
    scaled = rescale(prototypes, 0.1)
    ratio = torch.pdist(scaled) / torch.pdist(prototypes)
    torch.testing.assert_close(ratio, ratio[0].expand_as(ratio))
    assert scaled.std().item() == pytest.approx(0.1)


def test_metric_training_separates_the_classes() -> None:
    train, _ = toy_splits()
    untrained = train_metric(train, dataclasses.replace(LEARNING.metric, steps=0), seed=0)
    trained = train_metric(train, LEARNING.metric, seed=0)

    def loss(metric: MetricNet) -> float:
        with torch.no_grad():
            return triplet_loss(
                metric(train.features[::3], train.attributes[train.labels[::3]]), train.labels[::3], 1.0
            ).item()

    assert loss(trained) < 0.8 * loss(untrained)


def test_srn_learns_the_prototypes_of_seen_classes() -> None:
    train, _ = toy_splits()
    prototypes = torch.randn(len(train.seen), 4)
    srn = train_srn(train, prototypes, SRNConfig(steps=3000, lr=1e-2, weight_decay=0.0), seed=0)
    with torch.no_grad():
        error = (srn(train.attributes[train.seen]) - prototypes).square().mean()
    assert error < 0.05 * prototypes.square().mean()


def test_the_penalised_optimizer_takes_the_step_of_the_written_out_penalty() -> None:
    torch.manual_seed(0)
    written, built_in = SRN(3, 2), SRN(3, 2)
    built_in.load_state_dict(written.state_dict())
    x = torch.randn(8, 3)
    plain = torch.optim.Adam(written.parameters(), lr=0.1, betas=(0.5, 0.9))
    ours = penalised_adam(built_in, 0.01, lr=0.1, betas=(0.5, 0.9))
    for _ in range(5):
        plain.zero_grad()
        penalty = sum((p.square().sum() for p in written.parameters() if p.dim() > 1), torch.zeros(()))
        (written(x).square().mean() + 0.01 * penalty).backward()
        plain.step()
        ours.zero_grad()
        built_in(x).square().mean().backward()
        ours.step()
    for one, other in zip(written.parameters(), built_in.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_frozen_regressors_are_not_trained_in_the_loop() -> None:
    train, _ = toy_splits()
    config = dataclasses.replace(TINY, regressors=RegressorConfig(hidden_dim=16, pretrain_epochs=2, frozen=True))
    pretrained: dict[str, Tensor] = {}
    assert config.attribute_norm is not None
    assert config.prototype_std is not None
    centred = centre_attributes(train, config.attribute_norm)
    metric = train_metric(centred, config.metric, seed=0)
    srn = train_srn(centred, rescale(class_prototypes(metric, centred), config.prototype_std), config.srn, seed=0)
    pretrained = state(train_regressors(centred, srn(centred.attributes).detach(), config.regressors, seed=0))
    assert_same_state(pretrained, state(train_dcrgan(train, config, seed=0).regressors))


def test_a_loss_that_is_not_finite_names_stage_step_and_term() -> None:
    watch = Watch(silent, "GAN", steps=8, every=100, device=torch.device("cpu"))
    with pytest.raises(FloatingPointError, match=r"GAN stage, step 7: 'critic' is not finite"):
        watch(7, {"fine": torch.tensor(1.0), "critic": torch.tensor(float("nan"))})


def test_a_dimension_that_is_always_zero_in_synthetic_features_does_not_drown_the_others() -> None:
    real = torch.randn(200, 3) + 1
    head = SoftmaxHead(real, 2)
    assert head.standardise(torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 5.0]])).abs().max() < 10
    constant = SoftmaxHead(torch.ones(5, 3), 2)
    assert torch.isfinite(constant(torch.rand(4, 3))).all()


def test_fusion_is_the_weighted_sum_of_log_probabilities() -> None:
    train, test = toy_splits()
    assert isinstance(train, TrainSplit)
    config = dataclasses.replace(TINY, classifiers=dataclasses.replace(TINY.classifiers, weight_ss=0.7, weight_srs=0.2))
    model = train_dcrgan(train, config, seed=0)
    x = test.unseen.features
    logs = [
        head(inputs)
        for head, inputs in (
            (model.gzsl.visual, x),
            (model.gzsl.semantic, model.regressors.attributes(x)),
            (model.gzsl.representation, model.regressors.representations(x)),
        )
    ]
    for log in logs:
        torch.testing.assert_close(log.exp().sum(1), torch.ones(len(x)))
    torch.testing.assert_close(model.gzsl_scores(x), logs[0] + 0.7 * logs[1] + 0.2 * logs[2])
