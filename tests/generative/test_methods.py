"""What single methods do: their hooks in the loop against autograd, and what their papers say of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from toy import toy_splits

from zsl.dcrgan.losses import gradient_penalty
from zsl.dcrgan.networks import Critic
from zsl.dcrgan.wgan import Extra, Game, start_generator
from zsl.features.split import TrainSplit
from zsl.generative.gazsl import GAZSLConfig, _Losses
from zsl.generative.lsrgan import LsrGANConfig, train_lsrgan
from zsl.generative.registry import GENERATIVE
from zsl.generative.wgan import WGANConfig
from zsl.training.log import silent


def centred(train: TrainSplit) -> TrainSplit:
    """The split with attributes minus their mean over the seen classes."""
    return replace(train, attributes=train.attributes - train.attributes[train.seen].mean(0))


def test_gazsls_critic_has_the_gradients_of_both_of_its_tasks() -> None:
    torch.manual_seed(0)
    train, config = centred(toy_splits()[0]), GAZSLConfig(gan=WGANConfig(hidden_dim=16, critic_sees="features"))
    critic = Critic(train.features.shape[1], 0, 16).requires_grad_(False)
    extra = _Losses(train, config, critic)
    game = Game(
        train=train, condition_of=train.attributes, critic_condition_of=train.attributes[:, :0],
        generator=start_generator(train, train.attributes, config.gan), critic=critic, extra=extra, config=config.gan,
    )  # fmt: skip
    rows, mix = torch.arange(0, 240, 10), torch.rand(24, 1)
    batch, nothing = game.batch(rows, torch.rand(24, train.features.shape[1])), train.attributes[rows * 0, :0]
    for _ in range(2):  # what the update before left in .grad must not count
        game.update(critic, batch.real, batch.fake, nothing, mix, 10.0)
        extra.critic_gradients(game, batch)
    learners = [critic.hidden.weight, critic.hidden.bias, critic.out.weight, *extra.head.parameters()]
    found = [learner.grad for learner in learners]
    critic.requires_grad_(True)
    loss = critic(batch.fake, nothing).mean() - critic(batch.real, nothing).mean()
    loss = loss + 10.0 * gradient_penalty(critic, torch.lerp(batch.fake, batch.real, mix), nothing)
    for features in (batch.real, batch.fake):
        units = torch.nn.functional.leaky_relu(critic.hidden(features), 0.2)
        loss = loss + cross_entropy(extra.head(units), torch.searchsorted(train.seen, batch.labels))
    for gradient, expected in zip(found, torch.autograd.grad(loss, learners), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def mismatch(train: TrainSplit, *, semantic_gradient: bool) -> float:
    """How far similarities of LsrGAN's unseen classes to seen ones are from those of their attributes."""
    config = LsrGANConfig(
        semantic_gradient=semantic_gradient, epsilon=0.0,
        gan=WGANConfig(hidden_dim=64, steps=100, batch_size=32, lr_generator=2e-3, lr_critic=2e-3),
    )  # fmt: skip
    synthesizer = train_lsrgan(train, config, seed=0)
    means = synthesizer.synthesize(train.unseen, 50).unflatten(0, (len(train.unseen), 50)).mean(1)
    seen = torch.stack([train.features[train.labels == label].mean(0) for label in train.seen])

    def cosine(one: Tensor, other: Tensor) -> Tensor:
        return normalize(one) @ normalize(other).T

    of_features = cosine(means - seen.mean(0), seen - seen.mean(0))
    return float((of_features - cosine(train.attributes[train.unseen], train.attributes[train.seen])).abs().mean())


def test_lsrgan_as_its_paper_writes_it_keeps_similarities_and_as_its_code_runs_it_does_not() -> None:
    train = centred(toy_splits()[0])
    assert mismatch(train, semantic_gradient=True) < 0.7 * mismatch(train, semantic_gradient=False)


def test_a_method_without_losses_of_its_own_adds_nothing() -> None:
    extra = Extra()
    assert not [*extra.parameters(), *extra.with_critic(), *extra.with_generator()]
    assert not extra.state_dict()


@pytest.mark.parametrize("name", [name for name, method in GENERATIVE.items() if hasattr(method.config, "unseen")])
def test_a_transductive_method_has_an_inductive_form(name: str) -> None:
    train, method = toy_splits()[0], GENERATIVE[name]
    gan = replace(method.config.gan, hidden_dim=16, steps=5, batch_size=8)
    config = replace(method.config, unseen=False, gan=gan)
    assert method.transductive(method.config)
    assert not method.transductive(config)
    changed = train.attributes.clone()
    changed[train.unseen] += 1
    one, other = (
        method.steps[0].run(split, None, config, 0, silent).generator.state_dict()
        for split in (train, replace(train, attributes=changed))
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
