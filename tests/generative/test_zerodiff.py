"""ZeroDiff: its diffusion against the chain's own definition, its losses against loops and autograd."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, sigmoid
from toy import toy_splits

from zsl.dcrgan.losses import gradient_penalty
from zsl.dcrgan.networks import Critic
from zsl.dcrgan.wgan import Batch, Game, start_generator
from zsl.generative.diffusion import DenoisingGenerator, Diffusion
from zsl.generative.losses import mutual_loss
from zsl.generative.wgan import WGANConfig
from zsl.generative.zerodiff import ZeroDiffConfig, ZeroDiffLosses

TRAIN = toy_splits()[0]
DIM, ATTRIBUTES = TRAIN.features.shape[1], TRAIN.attributes.shape[1]
CONFIG = ZeroDiffConfig(gan=WGANConfig(hidden_dim=16, penalty_weight=3.0), mutual_weight=0.4, mutual_power=1.5)


def betas(steps: int) -> list[float]:
    """The share of noise that each step adds, from the variance that the time of a state has."""

    def variance(state: int) -> float:
        time = state / steps * (1 - 1e-3) + 1e-3
        return 1 - math.exp(2 * (-0.25 * time**2 * (20 - 0.1) - 0.5 * time * 0.1))

    return [1 - (1 - variance(state + 1)) / (1 - variance(state)) for state in range(steps)]


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_what_is_kept_of_a_feature_is_what_all_steps_leave(steps: int) -> None:
    expected = [1.0]
    for beta in betas(steps):
        expected.append(expected[-1] * (1 - beta))
    np.testing.assert_allclose(Diffusion(steps).kept.numpy(), expected, rtol=1e-5)
    assert expected[-1] < 1e-4


def test_the_posterior_is_the_joint_normal_of_two_states_under_the_condition_of_the_later_one() -> None:
    diffusion, beta = Diffusion(4), betas(4)
    x, later = torch.rand(4, 3), torch.randn(4, 3)
    mean, variance = diffusion.posterior(x, later, torch.arange(4))
    for t in range(4):
        kept = math.prod(1 - b for b in beta[:t])
        to_later = math.sqrt(1 - beta[t])
        of_earlier, covariance = 1 - kept, to_later * (1 - kept)  # x_{t+1} = to_later x_t + noise
        of_later = to_later**2 * of_earlier + beta[t]
        gain = covariance / of_later
        expected = math.sqrt(kept) * x[t] + gain * (later[t] - to_later * math.sqrt(kept) * x[t])
        torch.testing.assert_close(mean[t], expected, rtol=1e-4, atol=1e-5)
        assert variance[t].item() == pytest.approx(of_earlier - gain * covariance, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("t", [0, 1, 3])
def test_noise_and_a_step_back_give_pairs_of_states_as_the_chain_does(t: int) -> None:
    torch.manual_seed(0)
    diffusion, beta, steps = Diffusion(4), betas(4), torch.full((40_000,), t)
    x = torch.full((40_000, 1), 0.7)
    later = diffusion.noised(x, steps, torch.randn_like(x))
    found = torch.cat([diffusion.step_back(x, later, steps), later], dim=1).numpy()
    states = [x.numpy()]
    for b in beta[: t + 1]:
        states.append(
            math.sqrt(1 - b) * states[-1] + math.sqrt(b) * np.random.default_rng(len(states)).normal(size=x.shape)
        )
    expected = np.concatenate(states[-2:], axis=1)
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(np.cov(found.T), np.cov(expected.T), atol=0.03)


def test_the_first_step_back_ends_at_the_feature() -> None:
    x = torch.rand(5, 3)
    torch.testing.assert_close(Diffusion(4).step_back(x, torch.randn(5, 3), torch.zeros(5, dtype=torch.long)), x)


def test_each_critic_learns_from_the_other_which_is_a_constant_for_it() -> None:
    torch.manual_seed(0)
    one, other, weights = torch.randn(6, requires_grad=True), torch.randn(6, requires_grad=True), torch.rand(6)
    loss = mutual_loss(one, other, weights)
    loss.backward()
    expected = 0.0
    for i, (w, v, factor) in enumerate(zip(one.tolist(), other.tolist(), weights.tolist(), strict=True)):
        expected += factor * ((w - v) ** 2 + (v - w) ** 2) / 6
        assert one.grad is not None
        assert other.grad is not None
        assert one.grad[i].item() == pytest.approx(factor * 2 * (w - v) / 6, rel=1e-4)
        assert other.grad[i].item() == pytest.approx(factor * 2 * (v - w) / 6, rel=1e-4)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def generator(steps: int = 4, *, progressive: bool = False) -> DenoisingGenerator:
    torch.manual_seed(3)
    return DenoisingGenerator(2, 3, 8, 5, shortcut=False, steps=steps, progressive=progressive)


def test_unseen_features_are_denoised_at_once_from_noise_or_step_by_step() -> None:
    a, noise = torch.rand(6, 2), torch.randn(6, 8)
    at_once = generator()(a, noise)
    first, last = generator().layers[0], generator().layers[-1]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    hidden = torch.cat([a, noise, torch.tensor([[0.0, 0.0, 0.0, 1.0]]).repeat(6, 1)], dim=1) @ first.weight.T
    expected = sigmoid(torch.where(hidden > 0, hidden, 0.2 * hidden) @ last.weight.T)
    torch.testing.assert_close(at_once, expected)
    asked: list[int] = []
    step_by_step = generator(progressive=True)
    step_by_step.encoded = lambda steps: (asked.append(int(steps[0])), generator().encoded(steps))[1]  # type: ignore[method-assign, func-returns-value]
    assert not torch.equal(step_by_step(a, noise), at_once)
    assert asked == [3, 2, 1, 0]
    assert torch.equal(generator(1, progressive=True)(a, noise), generator(1)(a, noise))


def played() -> tuple[ZeroDiffLosses, Game, Batch]:
    """The losses, a game with them, and a batch of it."""
    torch.manual_seed(1)
    losses = ZeroDiffLosses(TRAIN, CONFIG)
    critic = Critic(DIM, ATTRIBUTES, 16).requires_grad_(False)
    for judge in (critic, losses.step_critic):  # large scores, so that the mutual loss is no small term
        nn.init.normal_(judge.out.weight)
    game = Game(
        train=TRAIN, condition_of=TRAIN.attributes, critic_condition_of=TRAIN.attributes, extra=losses, critic=critic,
        generator=start_generator(
            TRAIN, TRAIN.attributes, CONFIG.gan, partial(DenoisingGenerator, steps=4, progressive=False)
        ),
        config=CONFIG.gan, update=losses.update_critic,
    )  # fmt: skip
    rows = torch.arange(0, len(TRAIN.features), 9)
    return losses, game, game.batch(rows, *losses.make(game, rows, game.noise(len(rows))))


def judged(batch: Batch) -> Tensor:
    """What the second critic sees beside x_t."""
    noised, steps, *_ = batch.beside
    return torch.cat([noised, TRAIN.attributes[batch.labels], torch.eye(4)[steps]], dim=1)


def test_g_denoises_images_with_the_encoders_latents() -> None:
    losses, game, _ = played()
    rows = torch.tensor([5, 40, 77, 140, 200])
    noise = game.noise(5)
    fake, noised, steps, mean, log_variance = losses.make(game, rows, noise)
    x, a, of_z, of_x = TRAIN.features[rows], TRAIN.attributes[TRAIN.labels[rows]], noise[:, :-DIM], noise[:, -DIM:]
    assert isinstance(game.generator, DenoisingGenerator)
    kept = game.generator.diffusion.kept[steps + 1, None]
    torch.testing.assert_close(noised, kept.sqrt() * x + (1 - kept).sqrt() * of_x)
    torch.testing.assert_close((mean, log_variance), tuple(losses.encoder(torch.cat([x, a], dim=1))))
    z = mean + (log_variance / 2).exp() * of_z
    inputs = torch.cat([a, z, noised, torch.eye(4)[steps]], dim=1)
    torch.testing.assert_close(fake, game.generator.layers(inputs).sigmoid())


def test_both_critics_and_the_decoder_have_the_gradients_of_their_losses() -> None:
    with torch.no_grad():
        losses, game, batch = played()
    fake, a, (noised, steps, *_) = batch.fake, TRAIN.attributes[batch.labels], batch.beside
    judges, mix = (game.critic, losses.step_critic), torch.rand(len(fake), 1)
    learners = [p for judge in judges for p in judge.parameters() if p is not judge.out.bias]
    learners += losses.decoder.parameters()
    for _ in range(2):  # what the update before left in .grad must not count
        found_loss = game.update(game.critic, batch.real, fake, a, mix, 0.0)
        torch.manual_seed(7)
        found_loss = found_loss + losses.critic_gradients(game, batch)
    found = [learner.grad for learner in learners]
    assert all(judge.out.bias.grad is None for judge in judges)
    torch.manual_seed(7)
    diffusion = Diffusion(4)
    before, of_fake = (diffusion.step_back(x, noised, steps) for x in (batch.real, fake))
    mix_of_steps = torch.rand(len(fake), 1)
    for learner in learners:
        learner.requires_grad_(True)
    loss, differences = torch.zeros(()), []
    for judge, x, y, condition, at in (
        (game.critic, batch.real, fake, a, mix), (losses.step_critic, before, of_fake, judged(batch), mix_of_steps),
    ):  # fmt: skip
        differences.append(judge(x, condition) - judge(y, condition))
        loss = loss - differences[-1].mean() + 3.0 * gradient_penalty(judge, torch.lerp(y, x, at), condition)
    weights = 0.4 * diffusion.kept[steps].sqrt() ** 1.5
    mutual = (weights * (differences[0] - differences[1].detach()) ** 2).mean()
    mutual = mutual + (weights * (differences[1] - differences[0].detach()) ** 2).mean()
    assert mutual.item() > 1e-3
    d = losses.decoder(batch.real) - normalize(a)
    decoding = (d.abs() ** 3 / d.norm(dim=1, keepdim=True)).sum(dim=1).mean()
    for gradient, expected in zip(found, torch.autograd.grad(loss + mutual + decoding, learners), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)
    assert found_loss.item() == pytest.approx((loss + mutual + decoding).item(), rel=1e-4)


def test_g_learns_from_both_critics_the_vae_and_the_decoder() -> None:
    losses, game, batch = played()
    torch.manual_seed(7)
    terms = losses.terms(game, batch)
    torch.manual_seed(7)
    noised, steps, mean, log_variance = batch.beside
    scores = losses.step_critic(Diffusion(4).step_back(batch.fake, noised, steps), judged(batch))
    d = losses.decoder(batch.fake) - normalize(TRAIN.attributes[batch.labels])
    made, x = batch.fake.detach().double().numpy(), batch.real.double().numpy()
    cross = -(x * np.log(made) + (1 - x) * np.log(1 - made)).sum(axis=1).mean()
    divergence = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(dim=1).mean().item()
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {
            "step critic": -scores.mean().item(),
            "VAE": 0.1 * (cross + divergence),
            "attributes": 0.1 * (d.abs() ** 3 / d.norm(dim=1, keepdim=True)).sum(dim=1).mean().item(),
        },
        rel=1e-4,
    )
    sum(terms.values()).backward()  # type: ignore[union-attr]  # the sum of tensors
    for network in (game.generator.layers, losses.encoder):
        assert all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
    assert all(p.grad is None for network in (losses.step_critic, losses.decoder) for p in network.parameters())


def test_both_critics_penalties_move_the_weight_together() -> None:
    with torch.no_grad():
        losses, game, batch = played()
    game.update(
        game.critic, batch.real, batch.fake, TRAIN.attributes[batch.labels], torch.rand(len(batch.real), 1), 0.0
    )
    of_features = losses.penalty.total.clone()
    losses.critic_gradients(game, batch)
    assert losses.penalty.total.item() > of_features.item() > 0
