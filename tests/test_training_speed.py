"""What makes training fast changes none of its results: fast forms against plain ones, from equal seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from toy import toy_splits

from zsl.determinism import seeded
from zsl.features import TrainSplit
from zsl.losses import gradient_penalty
from zsl.networks import Critic, Generator
from zsl.stages.gan import GANConfig, train_gan
from zsl.stages.regressors import RegressorConfig, Regressors, train_regressors


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
    critic = Critic(feature_dim, conditions.shape[1], config.hidden_dim)
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


def test_the_gan_learns_what_a_plain_loop_over_its_equations_learns() -> None:
    train = double_toy()
    representations = torch.randn(len(train.attributes), 3)
    regressors = train_regressors(train, representations, RegressorConfig(hidden_dim=9), seed=0)
    config = GANConfig(hidden_dim=16, steps=4, batch_size=8, critic_steps=3, classification="joint")
    fast = train_gan(train, representations, regressors, config, seed=0)
    with seeded(0, "train_gan", train.device):
        plain = plain_gan(train, representations, regressors, config)
    for one, other in zip(fast, plain, strict=True):
        expected = other.state_dict()
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=1e-8, atol=1e-12)
