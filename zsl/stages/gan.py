"""Stage 3: the feature GAN (eq. 5 to 9), and synthesis with its generator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from zsl.compute import compiled
from zsl.features import TrainSplit
from zsl.losses import class_means, critic_gradients, kept_gradients, reconstruction_loss
from zsl.networks import Critic, Generator
from zsl.stages import Log, Watch, silent, stage
from zsl.stages.regressors import Regressors


@dataclass(frozen=True, kw_only=True)
class GANConfig:
    """The conditional WGAN-GP; one step is `critic_steps` updates of the critic and one of the generator.

    The defaults are L_DCRGAN (eq. 9).  Variant A of Table III is L_WGAN + λ1 L_F1 with x = G(a, z), variant B
    L_WGAN + λ1 L_F1 + λ2 L_F2 with x = G(a, R(a), z); both have eq. 5's classification loss.
    """

    hidden_dim: int = 1024
    steps: int = 450
    batch_size: int = 64
    critic_steps: int = 5
    critic_layers: int = 1  # hidden ones; more than one needs autograd's second derivatives, and takes much longer
    penalty_weight: float = 10.0  # λ
    generator_sees: Literal["attributes", "all"] = "all"  # G(a, z) or G(a, R(a), z)
    critic_sees: Literal["features", "attributes", "all"] = "all"  # D(x) of eq. 5, D(x, a), or D(x, a, R(a)) of eq. 6
    shortcut_ridge: float | None = None  # G's linear shortcut starts as the ridge regression of the class means
    classification: Literal["none", "joint", "pretrained"] = "none"  # eq. 5's; pretrained: as in f-CLSWGAN
    classification_weight: float = 0.01
    cycle_attributes: float = 1.0  # λ1
    cycle_representations: float = 1.0  # λ2
    cycle_loss: Literal["l1", "mse"] = "l1"  # eq. 7 and 8, or the reference code's
    seen_cycle_images: int | None = None  # generated a step for each seen class (reference code); None: the batch
    semantic_transductive: bool = False  # let the cycle losses see unseen classes' attributes (the reference code does)
    unseen_cycle_attributes: float = 1.0
    unseen_cycle_representations: float = 1.0
    unseen_cycle_images: int = 5  # generated a step for each unseen class
    lr_critic: float = 5e-4
    lr_generator: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.999)


@stage
def train_gan(
    train: TrainSplit,
    representations: Tensor,
    regressors: Regressors,
    config: GANConfig,
    *,
    compiles: bool = False,
    log: Log = silent,
) -> tuple[Generator, Regressors]:
    """Train G against D; F1 and F2 learn along on generated features unless frozen.

    representations: R(a) of all classes [C, R].  Every batch is of seen classes, so unseen attributes play no part
    unless `semantic_transductive` says so.  Returns G and the regressors as they are at the end.

    Raises:
        ValueError: D is to be compiled (`compiles`) and has more than one hidden layer.
    """
    if compiles and config.critic_layers > 1:
        raise ValueError(
            f"--config.compile: a critic of {config.critic_layers} hidden layers needs second derivatives, which "
            "torch.compile does not do; leave it out, or have --config.gan.critic-layers 1"
        )
    update_critic = compiled(critic_gradients) if compiles else critic_gradients
    regressors = copy.deepcopy(regressors)
    attributes = train.attributes
    condition_of = generator_condition(attributes, representations, config)  # [C, A] or [C, A + R]
    critic_condition_of = {
        "features": attributes[:, :0],
        "attributes": attributes,
        "all": torch.cat([attributes, representations], dim=1),
    }[config.critic_sees]
    noise_dim, feature_dim = attributes.shape[1], train.features.shape[1]
    generator = Generator(
        condition_of.shape[1], noise_dim, config.hidden_dim, feature_dim, shortcut=config.shortcut_ridge is not None
    ).to(train.device)
    if config.shortcut_ridge is not None:
        _start_from_class_means(generator, train, condition_of, config.shortcut_ridge)
    critic = (
        Critic(feature_dim, critic_condition_of.shape[1], config.hidden_dim, layers=config.critic_layers)
        .to(train.device)
        .requires_grad_(False)
    )
    classifier = nn.Linear(feature_dim, len(train.seen)).to(train.device)
    if config.classification == "pretrained":
        _fit_classifier(classifier, train, log)
    critic_learners = [*critic.parameters(), *(classifier.parameters() if config.classification == "joint" else [])]
    critic_optimizer = torch.optim.Adam(critic_learners, lr=config.lr_critic, betas=config.betas, fused=True)
    learners = [*generator.parameters(), *(p for p in regressors.parameters() if p.requires_grad)]
    generator_optimizer = torch.optim.Adam(learners, lr=config.lr_generator, betas=config.betas, fused=True)
    seen_labels = train.seen_labels

    def draw() -> tuple[Tensor, Tensor]:
        batch = torch.randint(len(train.features), (config.batch_size,), device=train.device)
        return batch, torch.randn(config.batch_size, noise_dim, device=train.device)

    reconstruct: Callable[[Tensor, Tensor], Tensor] = reconstruction_loss if config.cycle_loss == "l1" else mse_loss

    def made_of(classes: Tensor, per_class: int) -> tuple[Tensor, Tensor]:
        labels = classes.repeat_interleave(per_class)
        return generator(condition_of[labels], torch.randn(len(labels), noise_dim, device=train.device)), labels

    def cycle(fake: Tensor, labels: Tensor, of_attributes: float, of_representations: float) -> dict[str, Tensor]:
        terms = {}
        if of_attributes:
            terms["attributes"] = of_attributes * reconstruct(regressors.attributes(fake), attributes[labels])
        if of_representations:
            made = regressors.representations(fake)
            terms["representations"] = of_representations * reconstruct(made, representations[labels])
        return terms

    watch = Watch(log, "DCR-GAN", steps=config.steps, every=20, device=train.device)
    state = {
        "generator": generator, "critic": critic, "classifier": classifier, "regressors": regressors, "watch": watch
    }  # fmt: skip
    optimizers = {"generator": generator_optimizer, "critic": critic_optimizer}
    with kept_gradients(generator, regressors):
        for step in log.steps("DCR-GAN", config.steps, state, optimizers):
            # G is fixed while D learns, so it makes the features for all of D's updates at once.
            draws = [
                (*draw(), torch.rand(config.batch_size, 1, device=train.device)) for _ in range(config.critic_steps)
            ]
            batches, noises, mixes = (torch.stack(drawn) for drawn in zip(*draws, strict=True))
            with torch.no_grad():
                fakes = generator(condition_of[train.labels[batches.flatten()]], noises.flatten(0, 1))
            for batch, mix, fake in zip(batches, mixes, fakes.split(config.batch_size), strict=True):
                real, condition = train.features[batch], critic_condition_of[train.labels[batch]]
                loss = update_critic(critic, real, fake, condition, mix, config.penalty_weight)
                if config.classification == "joint":
                    classifier.zero_grad()
                    of_classes = cross_entropy(classifier(real), seen_labels[batch])
                    of_classes.backward()
                    loss = loss + of_classes
                critic_optimizer.step()
            batch, noise = draw()
            labels = train.labels[batch]
            fake = generator(condition_of[labels], noise)
            terms = {"critic": -critic(fake, critic_condition_of[labels]).mean()}
            of_seen = (fake, labels)
            if config.seen_cycle_images is not None:
                of_seen = made_of(train.seen, config.seen_cycle_images)
            terms |= cycle(*of_seen, config.cycle_attributes, config.cycle_representations)
            if config.classification != "none":
                terms["classification"] = config.classification_weight * cross_entropy(
                    classifier(fake), seen_labels[batch]
                )
            if config.semantic_transductive:
                made = made_of(train.unseen, config.unseen_cycle_images)
                of_unseen = cycle(*made, config.unseen_cycle_attributes, config.unseen_cycle_representations)
                terms |= {f"unseen {name}": term for name, term in of_unseen.items()}
            generator_optimizer.zero_grad()
            sum(terms.values()).backward()
            generator_optimizer.step()
            watch(step, {"critic loss": loss} | terms)
    return generator.eval(), regressors.eval().requires_grad_(False)


def generator_condition(attributes: Tensor, representations: Tensor, config: GANConfig) -> Tensor:
    """What G takes beside its noise for each class: [C, A] or [C, A + R]."""
    return attributes if config.generator_sees == "attributes" else torch.cat([attributes, representations], dim=1)


@torch.no_grad()
def _start_from_class_means(generator: Generator, train: TrainSplit, condition_of: Tensor, ridge: float) -> None:
    """Let G's shortcut be the ridge regression of the seen classes' mean features [S, D] on their conditions [S, K]."""
    conditions = condition_of[train.seen]
    means = class_means(train.features, train.seen_labels, len(train.seen))
    centre = conditions.mean(0)
    left = (conditions - centre).T @ (conditions - centre)
    left += ridge * torch.eye(len(left), device=left.device)
    weight = torch.linalg.solve(left, (conditions - centre).T @ (means - means.mean(0)))  # [K, D]
    assert generator.shortcut is not None
    generator.shortcut.weight.copy_(weight.T)
    generator.shortcut.bias.copy_(means.mean(0) - centre @ weight)


def _fit_classifier(classifier: nn.Linear, train: TrainSplit, log: Log, *, steps: int = 100) -> None:
    """Softmax classifier of the seen classes on real features, full batches; then fixed, as f-CLSWGAN has it."""
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-2, fused=True)
    labels, name = train.seen_labels, "classifier"
    watch = Watch(log, name, steps=steps, every=20, device=train.device)
    for step in log.steps(name, steps, {"classifier": classifier, "watch": watch}, {"classifier": optimizer}):
        loss = cross_entropy(classifier(train.features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch(step, {"cross entropy": loss})
    classifier.requires_grad_(False)


@torch.no_grad()
def synthesize(generator: Generator, condition: Tensor, per_class: int) -> tuple[Tensor, Tensor]:
    """Features [U * per_class, D], `per_class` of each row of condition [U, A + R], and their rows [U * per_class]."""
    which = torch.arange(len(condition), device=condition.device).repeat_interleave(per_class)
    noise = torch.randn(len(which), generator.noise_dim, device=condition.device)
    return generator(condition[which], noise), which
