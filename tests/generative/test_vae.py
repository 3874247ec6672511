"""The methods with VAEs and CE-GZSL: their losses against loops and SciPy, and whether their networks do their work."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.linear_model import Ridge
from small_configs import small
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import leaky_relu, normalize
from toy import toy_splits

from zsl.common.config import override
from zsl.dcrgan.gradients import critic_gradients
from zsl.dcrgan.losses import gradient_penalty
from zsl.dcrgan.networks import Critic
from zsl.dcrgan.wgan import Game, GameConfig, start_generator
from zsl.features.class_statistics import class_means
from zsl.generative import vae
from zsl.generative.attribute_decoder import attribute_loss
from zsl.generative.cada_vae import AlignedVAEs, AlignmentConfig
from zsl.generative.embedding import Compatibility, instance_loss
from zsl.generative.f_vaegan import FVAEGANConfig
from zsl.generative.free import centre_loss
from zsl.generative.gdan import train_gdan
from zsl.generative.losses import another_class
from zsl.generative.registry import GENERATIVE
from zsl.generative.tf_vaegan import FeedbackGenerator
from zsl.generative.vae import Gaussians
from zsl.generative.vaegan import SigmoidGenerator, VAEGANLosses, next_penalty_weight, vae_loss
from zsl.training.log import silent


def some_gaussians(seed: int = 0, rows: int = 6) -> Gaussians:
    draw = torch.Generator().manual_seed(seed)
    return Gaussians(torch.randn(rows, 4, generator=draw), torch.randn(rows, 4, generator=draw))


@cache
def synthesizer(name: str, **changes: Any) -> Any:
    """The networks of a method after a short training on the toy problem, in the form of its paper."""
    config = override(small(name), dict(changes))
    return GENERATIVE[name].steps[0].run(toy_splits()[0], None, config, 0, silent)


def scaled_attributes(of: Any) -> Tensor:
    """The attributes of all classes [C, A] as the networks of `of` took them."""
    return of.condition_of


# Closed forms


def test_the_divergence_is_that_of_torchs_distributions() -> None:
    latents = some_gaussians()
    expected = kl_divergence(Normal(latents.mean, latents.std), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(vae.kl_divergence(latents), expected)


def test_the_wasserstein_distance_is_that_of_any_two_gaussians() -> None:
    one, other = some_gaussians(0), some_gaussians(1)
    for row, distance in enumerate(vae.wasserstein_distance(one, other).tolist()):
        first, second = (np.diag(g.log_variance[row].double().exp().numpy()) for g in (one, other))
        root = scipy.linalg.sqrtm(second)
        cross = scipy.linalg.sqrtm(root @ first @ root)
        square = np.trace(first + second - 2 * cross) + (one.mean[row] - other.mean[row]).square().sum().item()
        assert distance == pytest.approx(math.sqrt(square), rel=1e-4)
    assert vae.wasserstein_distance(one, one).tolist() == [0.0] * 6


def test_draws_have_mean_and_deviation_and_lead_gradients_to_both() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.tensor([[1.0, -2.0]], requires_grad=True), torch.tensor([[0.0, 2.0]], requires_grad=True)
    draws = vae.reparametrise(Gaussians(mean.expand(20_000, 2), log_variance.expand(20_000, 2)))
    torch.testing.assert_close(draws.mean(0), mean[0], atol=0.1, rtol=0.0)
    torch.testing.assert_close(draws.std(0), torch.tensor([1.0, math.e]), atol=0.1, rtol=0.0)
    draws.square().sum().backward()
    assert mean.grad is not None
    torch.testing.assert_close(mean.grad[0], 2 * draws.sum(0).detach())
    assert log_variance.grad is not None
    assert bool((log_variance.grad > 0).all())


def test_a_warm_up_is_a_line_between_two_shares_of_the_training() -> None:
    factors = [vae.linear_warm_up(progress, 0.2, 0.6) for progress in (0.0, 0.2, 0.3, 0.4, 0.6, 1.0)]
    assert factors == pytest.approx([0.0, 0.0, 0.25, 0.5, 1.0, 1.0])


@pytest.mark.parametrize("name", ["kl_warm_up", "cross_warm_up", "distance_warm_up"])
def test_a_warm_up_that_ends_where_it_starts_is_refused_before_any_training(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0.6 0.6; its end must be after its start"):
        override(AlignmentConfig(), {name: (0.6, 0.6)})


# CADA-VAE


def test_the_terms_of_cada_vae_are_sums_over_dimensions_with_the_other_kinds_latents_in_the_cross_term() -> None:
    torch.manual_seed(0)
    config = AlignmentConfig(latent_dim=3, hidden_dim=7, attribute_hidden_dim=5)
    vaes, x, a = AlignedVAEs(6, 4, config), torch.rand(5, 6), torch.rand(5, 4)
    torch.manual_seed(1)
    terms = vaes.terms(x, a)
    torch.manual_seed(1)
    (m_x, v_x), (m_a, v_a) = vaes.feature_encoder(x), vaes.attribute_encoder(a)
    z_x, z_a = (m + (v / 2).exp() * torch.randn(5, 3) for m, v in ((m_x, v_x), (m_a, v_a)))
    expected = dict.fromkeys(terms, 0.0)
    for row in range(5):
        for decoder, target, own, other in ((0, x, z_x, z_a), (1, a, z_a, z_x)):
            decode = (vaes.feature_decoder, vaes.attribute_decoder)[decoder]
            for name, latents in (("reconstruction", own), ("cross", other)):
                expected[name] += sum(abs(d) for d in (decode(latents[row]) - target[row]).tolist()) / 5
        for mean, log_variance in ((m_x, v_x), (m_a, v_a)):
            for m, v in zip(mean[row].tolist(), log_variance[row].tolist(), strict=True):
                expected["KL"] += (m * m + math.exp(v) - v - 1) / 2 / 5
        of_means = sum(d * d for d in (m_x - m_a)[row].tolist())
        of_deviations = sum(d * d for d in ((v_x / 2).exp() - (v_a / 2).exp())[row].tolist())
        expected["distance"] += math.sqrt(of_means + of_deviations) / 5
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-4)


def test_the_weights_of_cada_vae_rise_one_after_the_other_to_the_papers() -> None:
    config = AlignmentConfig(steps=100)
    start, early, late = (config.weights(step) for step in (0, 15, 99))
    assert start == {"reconstruction": 1.0, "KL": 0.0, "cross": 0.0, "distance": 0.0}
    assert 0 < early["distance"] < 8.13
    assert early["cross"] == 0
    assert late == pytest.approx({"reconstruction": 1.0, "KL": 0.25, "cross": 2.37, "distance": 8.13})


def test_cada_vae_puts_an_image_nearest_to_the_attributes_of_its_class() -> None:
    _, test = toy_splits()
    trained = synthesizer("CADA-VAE")
    for part, classes, share in ((test.seen, trained.gzsl_classes[:-4], 0.6), (test.unseen, trained.zsl_classes, 0.5)):
        places = trained.attribute_encoder(scaled_attributes(trained)[classes]).mean
        nearest = classes[torch.cdist(trained.prepare(part.features), places).argmin(dim=1)]
        assert (nearest == part.labels).double().mean().item() > share


# f-VAEGAN-D2


def test_the_loss_of_the_vae_is_the_cross_entropy_of_each_dimension() -> None:
    torch.manual_seed(0)
    decoded, x, divergence = torch.rand(4, 6), torch.rand(4, 6), torch.rand(4)
    expected = sum(divergence.tolist()) / 4
    for p, target in zip(decoded.flatten().tolist(), x.flatten().tolist(), strict=True):
        expected -= (target * math.log(p) + (1 - target) * math.log(1 - p)) / 4
    assert vae_loss(decoded, x, divergence).item() == pytest.approx(expected, rel=1e-5)


def test_the_critics_penalty_is_noted_and_its_weight_follows() -> None:
    train, _ = toy_splits()
    losses = VAEGANLosses(train, override(FVAEGANConfig(), {"gan.hidden_dim": 8, "gan.penalty_weight": 3.0}))
    torch.manual_seed(0)
    critic, real, fake, condition, mix = (
        Critic(5, 2, 8),
        torch.rand(9, 5),
        torch.rand(9, 5),
        torch.rand(9, 2),
        torch.rand(9, 1),
    )
    loss = losses.update_critic(critic, real, fake, condition, mix, weight=77.0)
    gradient = critic.hidden.weight.grad
    assert loss.item() == pytest.approx(critic_gradients(critic, real, fake, condition, mix, 3.0).item())
    assert gradient is not None
    assert critic.hidden.weight.grad is not None
    torch.testing.assert_close(gradient, critic.hidden.weight.grad)
    penalty = gradient_penalty(critic, torch.lerp(fake, real, mix), condition)
    assert losses.penalty.total.item() == pytest.approx(penalty.item(), rel=1e-3)
    for mean_penalty, expected in ((1.2, 3.3), (1.02, 3.0), (0.4, 3 / 1.1)):
        assert next_penalty_weight(torch.tensor(3.0), torch.tensor(mean_penalty)).item() == pytest.approx(expected)


def test_the_sigmoid_generators_closed_form_start_is_a_ridge_regression_of_logits() -> None:
    train, _ = toy_splits()
    config = GameConfig(hidden_dim=8, shortcut_ridge=0.3)
    generator = start_generator(train, train.attributes, config, SigmoidGenerator)
    last = generator.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    means = class_means(train.features, train.seen_labels, len(train.seen)).clamp(1e-3, 1 - 1e-3)
    regression = Ridge(alpha=0.3).fit(train.attributes[train.seen].numpy(), torch.logit(means).numpy())
    expected = 1 / (1 + np.exp(-regression.predict(train.attributes.numpy())))
    features = generator(train.attributes, torch.randn(len(train.attributes), generator.noise_dim))
    np.testing.assert_allclose(features.detach().numpy(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["f-VAEGAN-D2", "TF-VAEGAN", "FREE"])
def test_the_noise_of_d_s_and_g_s_features_is_the_encoder_s_if_it_is_encoded(name: str) -> None:
    def play(**changes: Any) -> nn.Module:
        torch.manual_seed(0)
        return synthesizer(name, **{"gan.steps": 3, **changes}).generator

    def same(one: nn.Module, other: nn.Module) -> bool:
        return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))

    assert same(play(), play(encoded_noise=False))
    assert not same(play(), play(encoded_noise=True))


def test_encoded_noise_gives_d_the_features_of_the_vae() -> None:
    train, _ = toy_splits()
    config = override(FVAEGANConfig(), {"gan.hidden_dim": 8, "vae_weight": 0.7})
    losses = VAEGANLosses(train, config, encoded_noise=True)
    generator = start_generator(train, train.attributes, config.gan, SigmoidGenerator)
    critic = Critic(train.features.shape[1], train.attributes.shape[1], 8)
    game = Game(
        train=train, condition_of=train.attributes, critic_condition_of=train.attributes, generator=generator,
        critic=critic, extra=losses, config=config.gan,
    )  # fmt: skip
    rows, noise = torch.tensor([3, 50, 7]), torch.randn(3, generator.noise_dim)
    x, a = train.features[rows].clamp(0, 1), train.attributes[train.labels[rows]]
    game.train.features[rows] = x
    fake, mean, log_variance = losses.make(game, rows, noise)
    of_encoder = losses.encoder(torch.cat([x, a], dim=1))
    torch.testing.assert_close((mean, log_variance), tuple(of_encoder))
    torch.testing.assert_close(fake, generator(a, mean + (log_variance / 2).exp() * noise))
    term = losses.terms(game, game.batch(rows, fake, mean, log_variance))["VAE"]
    entropy = -(x * fake.log() + (1 - x) * (1 - fake).log()).sum() / 3
    divergence = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum() / 3
    assert term.item() == pytest.approx(0.7 * (entropy + divergence).item(), rel=1e-4)


# TF-VAEGAN


def test_the_decoders_loss_weighs_large_errors_more() -> None:
    torch.manual_seed(0)
    decoded, attributes = normalize(torch.randn(5, 4)), normalize(torch.randn(5, 4))
    expected = 0.0
    for row in (decoded - attributes).tolist():
        norm = math.sqrt(sum(d * d for d in row))
        expected += sum(abs(d) * (d * d / norm) for d in row) / 5
    assert attribute_loss(decoded, attributes).item() == pytest.approx(expected, rel=1e-5)
    same = decoded.clone().requires_grad_()
    attribute_loss(same, decoded).backward()
    assert same.grad is not None
    assert bool(same.grad.isfinite().all())


def test_feedback_reaches_every_other_row_in_training_and_all_rows_in_synthesis() -> None:
    torch.manual_seed(0)
    generator = FeedbackGenerator(3, 3, 16, 5, shortcut=False, in_training=50.0, in_synthesis=20.0)
    a, z = torch.rand(6, 3), torch.randn(6, 3)
    hidden = generator.layers[:-1](torch.cat([a, z], dim=1))
    first = (hidden @ generator.layers[-1].weight.T + generator.layers[-1].bias).sigmoid()
    h = leaky_relu(first @ generator.decoder.first.weight.T + generator.decoder.first.bias, 0.2)
    second = {s: (generator.layers[-1](hidden + s * generator.feedback(h))).sigmoid() for s in (20.0, 50.0)}
    in_training = generator.train()(a, z)
    torch.testing.assert_close(in_training[0::2], first[0::2])
    torch.testing.assert_close(in_training[1::2], second[50.0][1::2])
    torch.testing.assert_close(generator.eval()(a, z), second[20.0])
    assert not torch.allclose(first, second[20.0], atol=1e-3)
    in_training.sum().backward()
    assert all(p.grad is None for p in generator.decoder.parameters())
    assert all(p.grad is not None for p in generator.feedback.parameters())


def test_the_decoder_of_tf_vaegan_finds_the_attributes_of_an_image() -> None:
    _, test = toy_splits()
    trained = synthesizer("TF-VAEGAN")
    decoded, attributes = trained.prepare.decoder(test.seen.features), normalize(scaled_attributes(trained))
    own = (decoded * attributes[test.seen.labels]).sum(dim=1)
    assert own.mean().item() > 0.8 > (decoded @ attributes.T).mean().item()
    inputs = trained.prepare(test.seen.features)
    torch.testing.assert_close(inputs[:, : test.seen.features.shape[1]], test.seen.features)
    torch.testing.assert_close(inputs[:, -attributes.shape[1] :], decoded)


# FREE


def test_the_centre_loss_is_its_definition_in_a_loop() -> None:
    torch.manual_seed(0)
    points, centres = torch.randn(8, 4), torch.randn(3, 4)
    own = torch.arange(8) % 3
    other, expected = another_class(own, 3), 0.0
    assert not bool((own == other).any())
    for point, y, o in zip(points.tolist(), own.tolist(), other.tolist(), strict=True):
        near, far = (sum((p - c) ** 2 for p, c in zip(point, centres[which].tolist(), strict=True)) for which in (y, o))
        expected += max(0.0, 1.0 + 0.3 * near - 0.7 * far) / 8
    assert expected > 0
    assert centre_loss(points, centres, own, other, 1.0, 0.3).item() == pytest.approx(expected, rel=1e-5)


def test_every_other_class_is_drawn_and_a_single_class_is_no_error() -> None:
    torch.manual_seed(0)
    drawn = another_class(torch.full((200,), 2), 4)
    assert set(drawn.tolist()) == {0, 1, 3}
    assert another_class(torch.zeros(3, dtype=torch.long), 1).tolist() == [0, 0, 0]
    train, _ = toy_splits()
    alone = train.labels == train.seen[0]
    features, labels, rows = (values[alone] for values in (train.features, train.labels, train.rows))
    single = replace(train, features=features, labels=labels, rows=rows, seen=train.seen[:1])
    train_gdan(single, small("GDAN"), seed=0)  # it trains on pairs of an image and another class


def test_free_brings_images_nearest_to_the_centre_of_their_class() -> None:
    train, test = toy_splits()
    trained = synthesizer("FREE", centre_weight=1.0, **{"gan.steps": 1000})
    latents = trained.prepare.encoder(test.seen.features).mean
    nearest = train.seen[torch.cdist(latents, trained.prepare.centres).argmin(dim=1)]
    assert (nearest == test.seen.labels).double().mean().item() > 0.3  # chance is 1/16


# CE-GZSL


def test_the_instance_loss_is_its_definition_in_a_loop() -> None:
    torch.manual_seed(0)
    v, labels = normalize(torch.randn(7, 4)), torch.tensor([0, 0, 1, 1, 1, 2, 0])  # the row of class 2 has no positive
    of_anchors = []
    for i in range(7):
        shares = {k: math.exp((v[i] @ v[k]).item() / 0.2) for k in range(7) if k != i}
        positives = [k for k in shares if labels[k] == labels[i]]
        if positives:
            of_anchors.append(-sum(math.log(shares[p] / sum(shares.values())) for p in positives) / len(positives))
    assert len(of_anchors) == 6
    assert instance_loss(v, labels, 0.2).item() == pytest.approx(sum(of_anchors) / 6, rel=1e-4)


def test_a_batch_without_positives_has_no_instance_loss() -> None:
    single = torch.ones(1, 4, requires_grad=True)
    loss = instance_loss(single, torch.tensor([3]), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert single.grad is not None
    assert single.grad.tolist() == [[0.0] * 4]


def test_compatibility_is_a_network_of_an_embedding_beside_attributes() -> None:
    torch.manual_seed(0)
    compatibility, h, a = Compatibility(5, 3, 8), torch.randn(4, 5), torch.randn(6, 3)
    weight = torch.cat([compatibility.of_embedding.weight, compatibility.of_attributes.weight], dim=1)
    bias = compatibility.of_embedding.bias + compatibility.of_attributes.bias
    scores = compatibility(h, a)
    assert scores.shape == (4, 6)
    for row, of_row in enumerate(scores):
        for column, score in enumerate(of_row):
            hidden = leaky_relu(weight @ torch.cat([h[row], a[column]]) + bias, 0.2)
            torch.testing.assert_close(compatibility.out(hidden)[0], score)


def test_ce_gzsl_embeds_images_of_one_class_close_together() -> None:
    _, test = toy_splits()
    trained = synthesizer("CE-GZSL")
    projected = trained.prepare.projected(trained.prepare(test.seen.features))
    cosines, labels = projected @ projected.T, test.seen.labels
    same = labels[:, None] == labels[None, :]
    assert cosines[same].mean().item() > 0.5 + cosines[~same].mean().item()
