"""The terms that a method adds to G's loss, from its formulas on NumPy arrays; and which networks they reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor, nn
from toy import toy_splits

from zsl.dcrgan.losses import gradient_penalty
from zsl.dcrgan.networks import Critic
from zsl.dcrgan.wgan import Batch, Extra, Game, start_generator
from zsl.generative import cycle_clswgan, dascn, gazsl, lisgan, srgan
from zsl.generative.attribute_decoder import attribute_loss
from zsl.generative.free import FREEConfig, FREELosses, centre_loss
from zsl.generative.losses import another_class
from zsl.generative.method import AdversarialConfig
from zsl.generative.regressor import RegressionConfig
from zsl.generative.wgan import SeenClassification, WGANConfig
from zsl.training.log import silent

TRAIN = replace(toy_splits()[0])
GAN = WGANConfig(hidden_dim=16)


def numbers(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.detach().double().numpy() for tensor in tensors)


def played(extra: Extra, config: AdversarialConfig, critic: Critic) -> tuple[Game, Batch]:
    """A game with these losses, and a batch of it."""
    torch.manual_seed(1)
    game = Game(
        train=TRAIN, condition_of=TRAIN.attributes, critic_condition_of=TRAIN.attributes, extra=extra, critic=critic,
        generator=start_generator(TRAIN, TRAIN.attributes, config.gan), config=config.gan,
    )  # fmt: skip
    rows = torch.arange(0, len(TRAIN.features), 9)
    return game, game.batch(rows, torch.rand(len(rows), TRAIN.features.shape[1]))


def critic() -> Critic:
    return Critic(TRAIN.features.shape[1], TRAIN.attributes.shape[1], 16)


def linear(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    weight, bias = numbers(layer.get_parameter("weight"), layer.get_parameter("bias"))
    return x @ weight.T + bias


def classification(losses: SeenClassification, batch: Batch, weight: float) -> float:
    """`weight` times the cross entropy of G's features."""
    (fake,) = numbers(batch.fake)
    of_targets = log_softmax(linear(losses.classifier, fake), axis=1)[np.arange(len(fake)), batch.targets.numpy()]
    return -weight * of_targets.mean()


def squared(one: np.ndarray, other: np.ndarray) -> float:
    """Mean of ‖one - other‖² over the rows."""
    return float(((one - other) ** 2).sum(axis=1).mean())


def check(found: dict[str, Tensor], expected: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=1e-4, abs=1e-6), name
        assert abs(value) > 1e-4, name  # a term of 0 would hide a weight or a sign


@contextmanager
def drawn_again() -> Iterator[None]:
    """What is drawn in the block is what the next block draws."""
    torch.manual_seed(7)
    yield


def test_cycle_clswgan_adds_the_way_back_to_the_attributes() -> None:
    config = cycle_clswgan.CycleConfig(
        gan=GAN, classification_weight=0.3, cycle_weight=0.7, regression=RegressionConfig(steps=5)
    )
    losses = cycle_clswgan._Losses(TRAIN, config, silent)
    game, batch = played(losses, config, critic())
    fake, attributes = numbers(batch.fake, TRAIN.attributes[batch.labels])
    expected = {
        "classification": classification(losses, batch, 0.3),
        "cycle": 0.7 * squared(linear(losses.regressor, fake), attributes),
    }
    check(losses.terms(game, batch), expected)
    assert not [p for p in losses.parameters() if p.requires_grad]  # both networks are frozen


def test_lisgan_pulls_features_and_class_means_to_their_nearest_souls() -> None:
    config = lisgan.LisGANConfig(
        gan=GAN, classification_weight=0.3, soul_weight=0.2, centre_weight=0.5, images_per_mean=4
    )
    losses = lisgan._Losses(TRAIN, config, silent)
    game, batch = played(losses, config, critic())
    with drawn_again():
        features, labels = game.generate(TRAIN.seen, 4)
    fake, souls, generated = numbers(batch.fake, losses.souls, features)
    near = [min(((x - soul) ** 2).sum() for soul in souls[k]) for x, k in zip(fake, batch.targets, strict=True)]
    means = [generated[labels.numpy() == label].mean(axis=0) for label in TRAIN.seen.tolist()]
    of_means = [min(((mean - soul) ** 2).sum() for soul in souls[k]) for k, mean in enumerate(means)]
    expected = {
        "classification": classification(losses, batch, 0.3),
        "souls": 0.2 * float(np.mean(near)),
        "centres": 0.5 * float(np.mean(of_means)),
    }
    with drawn_again():
        check(losses.terms(game, batch), expected)


def test_dascn_adds_the_dual_gan_the_class_means_and_the_way_back() -> None:
    weights: dict[str, Any] = {"centroid_weight": 0.4, "dual_weight": 0.6, "consistency_weight": 0.8}
    config = dascn.DASCNConfig(gan=GAN, classification_weight=0.3, **weights)
    losses = dascn._Losses(TRAIN, config, silent)
    game, batch = played(losses, config, critic())
    with torch.no_grad(), drawn_again():
        to_attributes = losses.dual(batch.real), losses.dual(batch.fake)
        again = game.generator(to_attributes[1], game.noise(len(batch.fake)))
        judged = losses.dual_critic(to_attributes[0], batch.real), losses.dual_critic(to_attributes[1], batch.fake)
    fake, real, back, *scores = numbers(batch.fake, TRAIN.features, again, *judged)
    occur = sorted(set(batch.labels.tolist()))
    means = np.stack([fake[batch.labels.numpy() == label].mean(axis=0) for label in occur])
    of_real = np.stack([real[TRAIN.labels.numpy() == label].mean(axis=0) for label in occur])
    expected = {
        "classification": classification(losses, batch, 0.3),
        "dual critic": -0.6 * (scores[0].mean() + scores[1].mean()),
        "centroid": 0.4 * squared(means, of_real),
        "consistency": 0.8 * squared(back, fake),
    }
    with drawn_again():
        check(losses.terms(game, batch), expected)


def test_dascns_dual_critic_learns_from_attributes_beside_their_feature() -> None:
    config = dascn.DASCNConfig(gan=GAN, classification_weight=0.0)
    losses = dascn._Losses(TRAIN, config, silent)
    game, batch = played(losses, config, critic())
    with drawn_again():
        losses.critic_gradients(game, batch)
    judge, attributes = losses.dual_critic, TRAIN.attributes[batch.labels]
    learners = {name: p for name, p in judge.named_parameters() if name != "out.bias"}  # it has no gradient
    found = {name: p.grad for name, p in learners.items()}
    with drawn_again():
        mix = torch.rand(len(batch.real), 1)
    made = losses.dual(batch.real).detach()
    judge.requires_grad_(True)
    loss = judge(made, batch.real).mean() - judge(attributes, batch.real).mean()
    loss = loss + 10.0 * gradient_penalty(judge, torch.lerp(made, attributes, mix), batch.real)
    for name, gradient in zip(learners, torch.autograd.grad(loss, list(learners.values())), strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_srgan_reconstructs_attributes_from_gs_features() -> None:
    config = srgan.SRGANConfig(gan=GAN, classification_weight=0.3, reconstruction_weight=0.7)
    losses = srgan._Losses(TRAIN, config, silent)
    game, batch = played(losses, config, critic())
    with torch.no_grad():
        back, attributes = numbers(losses.regressor(batch.fake), TRAIN.attributes[batch.labels])
    expected = {
        "classification": classification(losses, batch, 0.3),
        "reconstruction": 0.7 * squared(back, attributes),
    }
    check(losses.terms(game, batch), expected)


def test_gazsls_generator_has_half_the_class_loss_and_a_penalty_of_all_its_weights() -> None:
    config = gazsl.GAZSLConfig(gan=GAN, classification_weight=0.6, centroid_weight=0.0, weight_penalty=0.01)
    judge = critic()
    losses = gazsl._Losses(TRAIN, config, judge)
    game, batch = played(losses, config, judge)
    with torch.no_grad():
        (hidden,) = numbers(judge.hidden_units(batch.fake, TRAIN.attributes[batch.labels]))
    of_targets = log_softmax(linear(losses.head, hidden), axis=1)[np.arange(len(hidden)), batch.targets.numpy()]
    weights = [value for name, value in game.generator.named_parameters() if name.endswith("weight")]
    assert len(weights) == 2
    found = losses.terms(game, batch)
    assert found["classification"].item() == pytest.approx(-0.3 * of_targets.mean(), rel=1e-4)
    assert found["weights"].item() == pytest.approx(0.01 * sum((w**2).sum() for w in numbers(*weights)), rel=1e-4)


def test_frees_centres_learn_from_real_features_alone() -> None:
    config = FREEConfig(gan=GAN, centre_weight=0.3, attribute_weight=0.7, balance=0.8, margin=5.0)
    losses = FREELosses(TRAIN, config)
    game, batch = played(losses, config, critic())
    encoder, centres, weights = losses.refinement.encoder, losses.refinement.centres, (0.3, 0.7)

    def of_attributes(features: Tensor) -> Tensor:
        mean, log_variance = encoder(features)
        latents = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return attribute_loss(latents, TRAIN.attributes[batch.labels])

    with drawn_again():  # `terms` computes this part first
        expected = weights[1] * of_attributes(batch.fake)
    with drawn_again():
        term = losses.terms(game, batch)["refinement"]
    assert term.item() == pytest.approx(expected.item(), rel=1e-5)
    term.backward()
    assert centres.grad is None
    with drawn_again():
        other = another_class(batch.targets, len(TRAIN.seen))
        of_centres = centre_loss(encoder(batch.real).mean, centres, batch.targets, other, 5.0, 0.8)
        on_real = weights[0] * of_centres + weights[1] * of_attributes(batch.real)
    with drawn_again():
        assert losses.critic_gradients(game, batch).item() == pytest.approx(on_real.item(), rel=1e-5)
    assert centres.grad is not None
    assert bool(centres.grad.any())


def test_frees_centres_have_the_same_gradient_in_any_number_of_threads() -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    points, own, other = torch.randn(128, 1024), torch.randint(40, (128,)), torch.randint(40, (128,))
    start, gradients = torch.randn(40, 1024), []
    try:
        torch.set_num_threads(2)
        for _ in range(6):
            centres = start.clone().requires_grad_()
            centre_loss(points, centres, own, other, margin=200.0, balance=0.5).backward()
            gradients.append(centres.grad)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradients[0], again) for again in gradients[1:])  # type: ignore[arg-type]
