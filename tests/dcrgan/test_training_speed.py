"""What makes training fast changes none of its results: fast forms against plain ones, from equal seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from toy import SEEN, UNSEEN, toy_splits

from zsl.common.compute import compiled
from zsl.common.determinism import seeded
from zsl.dcrgan.classifiers import ClassifierConfig
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import train_synthesizer
from zsl.dcrgan.fitting import fit_head
from zsl.dcrgan.gan import GANConfig, train_gan
from zsl.dcrgan.heads import SoftmaxHead
from zsl.dcrgan.losses import gradient_penalty
from zsl.dcrgan.networks import Critic, Generator
from zsl.dcrgan.regressors import RegressorConfig, Regressors, train_regressors
from zsl.features.split import TrainSplit


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Rounding cannot grow into a difference."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def double_toy() -> TrainSplit:
    train, _ = toy_splits()
    return dataclasses.replace(train, features=train.features.double(), attributes=train.attributes.double())


def plain_gan(
    train: TrainSplit, representations: Tensor, regressors: Regressors, config: GANConfig
) -> tuple[Generator, Regressors]:
    """Eq. 6 to 9 as one writes them down: a batch at a time, autograd's penalty, default Adam."""
    conditions = torch.cat([train.attributes, representations], dim=1)
    noise_dim, feature_dim = train.attributes.shape[1], train.features.shape[1]
    generator = Generator(conditions.shape[1], noise_dim, config.hidden_dim, feature_dim)
    critic = Critic(feature_dim, conditions.shape[1], config.hidden_dim, layers=config.critic_layers)
    classifier = nn.Linear(feature_dim, len(train.seen))
    of_critic = torch.optim.Adam(
        [*critic.parameters(), *classifier.parameters()], lr=config.lr_critic, betas=config.betas
    )
    of_generator = torch.optim.Adam(
        [*generator.parameters(), *regressors.parameters()], lr=config.lr_generator, betas=config.betas
    )
    for _ in range(config.steps):
        for _ in range(config.critic_steps):
            batch = torch.randint(len(train.features), (config.batch_size,))
            noise, mix = torch.randn(config.batch_size, noise_dim), torch.rand(config.batch_size, 1)
            real, condition = train.features[batch], conditions[train.labels[batch]]
            fake = generator(condition, noise).detach()
            loss = critic(fake, condition).mean() - critic(real, condition).mean()
            loss = loss + config.penalty_weight * gradient_penalty(critic, mix * real + (1 - mix) * fake, condition)
            loss = loss + cross_entropy(classifier(real), train.seen_labels[batch])
            of_critic.zero_grad()
            loss.backward()
            of_critic.step()
        batch = torch.randint(len(train.features), (config.batch_size,))
        labels = train.labels[batch]
        fake = generator(conditions[labels], torch.randn(config.batch_size, noise_dim))
        loss = -critic(fake, conditions[labels]).mean()
        loss = loss + config.classification_weight * cross_entropy(classifier(fake), train.seen_labels[batch])
        loss = loss + (regressors.attributes(fake) - train.attributes[labels]).abs().mean()
        loss = loss + (regressors.representations(fake) - representations[labels]).abs().mean()
        of_generator.zero_grad()
        loss.backward()
        of_generator.step()
    return generator, regressors


@pytest.mark.parametrize("critic_layers", [1, 2])
def test_the_gan_learns_what_a_plain_loop_over_its_equations_learns(critic_layers: int) -> None:
    train = double_toy()
    representations = torch.randn(len(train.attributes), 3)
    regressors = train_regressors(train, representations, RegressorConfig(hidden_dim=9), seed=0)
    config = GANConfig(
        hidden_dim=16, steps=4, batch_size=8, critic_steps=3, critic_layers=critic_layers, classification="joint"
    )
    fast = train_gan(train, representations, regressors, config, seed=0)
    with seeded(0, "train_gan", train.device):
        plain = plain_gan(train, representations, regressors, config)
    for one, other in zip(fast, plain, strict=True):
        expected = other.state_dict()
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("count", "batches"), [(31, 31), (320, 32), (3200, 40)])
def test_a_head_takes_at_least_32_steps_an_epoch_if_there_are_as_many_inputs(count: int, batches: int) -> None:
    inputs, taken = torch.rand(count, 2), []
    head = SoftmaxHead(inputs, 3)
    head.linear.register_forward_hook(lambda *call: taken.append(len(call[1][0])))
    fit_head("VS", head, inputs, torch.zeros(count, dtype=torch.long), 0.1, ClassifierConfig(epochs=1, batch_size=80))
    assert len(taken) == batches
    assert sum(taken) == count


def test_a_head_learns_what_a_plain_loop_with_a_falling_learning_rate_learns() -> None:
    train, config = double_toy(), ClassifierConfig(epochs=3, batch_size=7)
    labels = train.seen_labels
    torch.manual_seed(0)
    head = SoftmaxHead(train.features, len(train.seen))
    inputs = head.standardise(train.features)
    weights = [torch.zeros_like(parameter).requires_grad_() for parameter in head.linear.parameters()]
    torch.manual_seed(1)
    fit_head("VS", head, inputs, labels, 0.1, config)

    torch.manual_seed(1)
    optimizer = torch.optim.Adam(weights, lr=0.1, betas=config.betas)
    batches = [batch for _ in range(3) for batch in torch.randperm(len(labels)).split(7)]
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=len(batches))
    for batch in batches:
        loss = cross_entropy(inputs[batch] @ weights[0].T + weights[1], labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    for parameter, expected in zip(head.linear.parameters(), weights, strict=True):
        torch.testing.assert_close(parameter.detach(), expected.detach(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("precision", "inside"), [("no", "highest"), ("bf16", "medium")])
def test_precision_reaches_the_networks_and_nothing_else(
    precision: Literal["no", "bf16"], inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Exception):
        pass

    def look(*_: object, **__: object) -> None:
        assert torch.get_float32_matmul_precision() == inside
        raise Interrupted

    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr("zsl.dcrgan.dcrgan.train_metric", look)
    with pytest.raises(Interrupted):
        train_synthesizer(double_toy(), DCRGANConfig(precision=precision), seed=0)
    assert torch.get_float32_matmul_precision() == before


def test_a_compiled_critic_learns_what_a_plain_one_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for any compiler; that of the default backend takes a minute to make the same."""
    train, representations = double_toy(), torch.randn(SEEN + UNSEEN, 3)
    monkeypatch.setattr("zsl.dcrgan.gan.compiled", partial(compiled, backend="aot_eager"))
    config = GANConfig(hidden_dim=16, steps=2, batch_size=8, critic_steps=2)
    regressors = train_regressors(train, representations, RegressorConfig(hidden_dim=9), seed=0)
    plain, fast = (
        train_gan(train, representations, regressors, config, compiles=compiles, seed=0)[0].state_dict()
        for compiles in (False, True)
    )
    for name, value in plain.items():
        torch.testing.assert_close(fast[name], value, rtol=1e-8, atol=1e-12)


def test_a_deep_critic_that_is_to_be_compiled_is_refused_before_any_training() -> None:
    with pytest.raises(ValueError, match="a critic of 2 hidden layers needs second derivatives"):
        DCRGANConfig(compile=True, gan=GANConfig(critic_layers=2))


def test_where_nothing_compiles_the_plain_function_is_used(caplog: pytest.LogCaptureFixture) -> None:
    add = compiled(torch.add, backend="no such backend")
    assert add(torch.tensor(1.0), torch.tensor(2.0)) == add(torch.tensor(2.0), torch.tensor(1.0)) == 3
    assert [record.message for record in caplog.records if "torch.compile does not work here" in record.message]
    assert len(caplog.records) == 1
