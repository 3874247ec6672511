"""Stage 3: the feature GAN (eq. 5 to 9), and the synthesis of features with its generator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import Adam

from zsl.common.compute import compiled
from zsl.common.ranges import Count, Decay, NotNegative, Positive, Whole, check_ranges
from zsl.dcrgan.gradients import critic_gradients, gradient_memory
from zsl.dcrgan.losses import class_means, reconstruction_loss
from zsl.dcrgan.networks import Critic, Generator
from zsl.dcrgan.regressors import Regressors
from zsl.features.split import TrainSplit
from zsl.training.log import Log, Watch, silent
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class GANConfig:
    """The settings of the conditional WGAN-GP.

    One step is `critic_steps` updates of the critic and one update of the generator.  The defaults are L_DCRGAN
    (eq. 9).  Variant A of Table III is L_WGAN + λ1 L_F1 with x = G(a, z).  Variant B is L_WGAN + λ1 L_F1 + λ2 L_F2 with
    x = G(a, R(a), z).  Both have the classification loss of eq. 5.
    """

    hidden_dim: Count = 1024
    steps: Whole = 450
    batch_size: Count = 64
    critic_steps: Count = 5
    critic_layers: Count = 1  # hidden layers; more than one needs autograd's second derivatives, and takes much longer
    penalty_weight: NotNegative = 10.0  # λ
    generator_sees: Literal["attributes", "all"] = "all"  # G(a, z) or G(a, R(a), z)
    critic_sees: Literal["features", "attributes", "all"] = "all"  # D(x) of eq. 5, D(x, a), or D(x, a, R(a)) of eq. 6
    shortcut_ridge: Positive | None = None  # of the regression where G's linear shortcut starts; None: no shortcut
    classification: Literal["none", "joint", "pretrained"] = "none"  # the loss of eq. 5; pretrained: as in f-CLSWGAN
    classification_weight: NotNegative = 0.01
    cycle_attributes: NotNegative = 1.0  # λ1
    cycle_representations: NotNegative = 1.0  # λ2
    cycle_loss: Literal["l1", "mse"] = "l1"  # l1: eq. 7 and 8; mse: the reference code
    seen_cycle_images: Count | None = None  # generated in a step for each seen class (reference code); None: the batch
    semantic_transductive: bool = False  # whether cycle losses use unseen classes' attributes, as in the reference code
    unseen_cycle_attributes: NotNegative = 1.0
    unseen_cycle_representations: NotNegative = 1.0
    unseen_cycle_images: Count = 5  # generated in a step for each unseen class
    lr_critic: Positive = 5e-4
    lr_generator: Positive = 5e-4
    betas: tuple[Decay, Decay] = (0.5, 0.999)

    def __post_init__(self) -> None:
        check_ranges(self)


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
    """Train G against D, and return G and the regressors after the last step.

    F1 and F2 learn from generated features at the same time, unless they are frozen.  Every batch is of seen classes.
    So attributes of unseen classes are used only if `semantic_transductive` is set.

    representations: R(a) of all classes [C, R].

    Raises:
        ValueError: D is to be compiled (`compiles`) and has more than one hidden layer.
    """
    if compiles and config.critic_layers > 1:
        raise ValueError(
            f"--config.compile: a critic of {config.critic_layers} hidden layers needs second derivatives, which "
            "torch.compile does not do; leave it out, or have --config.gan.critic-layers 1"
        )
    update = compiled(critic_gradients) if compiles else critic_gradients
    game = _Game.start(train, representations, copy.deepcopy(regressors), config, log)
    critic_optimizer, generator_optimizer = game.optimizers()
    watch = Watch(log, "DCR-GAN", steps=config.steps, every=20, device=train.device)
    state = game.networks | {"watch": watch}
    optimizers = {"generator": generator_optimizer, "critic": critic_optimizer}
    with gradient_memory(game.generator, game.regressors):
        for step in log.steps("DCR-GAN", config.steps, state, optimizers):
            critic_loss = game.update_critic(critic_optimizer, update)
            terms = game.generator_terms()
            generator_optimizer.zero_grad()
            reduce(torch.add, terms.values()).backward()
            generator_optimizer.step()
            watch(step, {"critic loss": critic_loss} | terms)
    return game.generator.eval(), game.regressors.eval().requires_grad_(False)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Game:
    """The networks of the game of G against D, and their data."""

    train: TrainSplit
    representations: Tensor  # [C, R]
    condition_of: Tensor  # G's input beside noise, for each class [C, A] or [C, A + R]
    critic_condition_of: Tensor  # D's input beside a feature, for each class [C, 0], [C, A] or [C, A + R]
    seen_labels: Tensor  # [N] positions in `train.seen`
    generator: Generator
    critic: Critic
    classifier: nn.Linear
    regressors: Regressors
    config: GANConfig

    @classmethod
    def start(
        cls, train: TrainSplit, representations: Tensor, regressors: Regressors, config: GANConfig, log: Log
    ) -> _Game:
        """Make the networks for the first step."""
        attributes, feature_dim = train.attributes, train.features.shape[1]
        condition_of = generator_condition(attributes, representations, config)
        critic_condition_of = {
            "features": attributes[:, :0],
            "attributes": attributes,
            "all": torch.cat([attributes, representations], dim=1),
        }[config.critic_sees]
        sizes = condition_of.shape[1], attributes.shape[1], config.hidden_dim, feature_dim
        generator = Generator(*sizes, shortcut=config.shortcut_ridge is not None).to(train.device)
        if config.shortcut_ridge is not None:
            _start_from_class_means(generator, train, condition_of, config.shortcut_ridge)
        critic = Critic(feature_dim, critic_condition_of.shape[1], config.hidden_dim, layers=config.critic_layers)
        critic = critic.to(train.device).requires_grad_(False)
        classifier = nn.Linear(feature_dim, len(train.seen)).to(train.device)
        if config.classification == "pretrained":
            _fit_classifier(classifier, train, log)
        return cls(
            train=train, representations=representations, condition_of=condition_of,
            critic_condition_of=critic_condition_of, seen_labels=train.seen_labels, generator=generator, critic=critic,
            classifier=classifier, regressors=regressors, config=config,
        )  # fmt: skip

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that learn, by name."""
        names = ("generator", "critic", "classifier", "regressors")
        return {name: getattr(self, name) for name in names}

    def optimizers(self) -> tuple[Adam, Adam]:
        """Make D's optimizer, with the classifier of `joint`, and G's, with the regressors that are not frozen."""
        critic_learners = [*self.critic.parameters()]
        if self.config.classification == "joint":
            critic_learners += self.classifier.parameters()
        learners = [*self.generator.parameters(), *(p for p in self.regressors.parameters() if p.requires_grad)]
        betas = self.config.betas
        return (
            Adam(critic_learners, lr=self.config.lr_critic, betas=betas, fused=True),
            Adam(learners, lr=self.config.lr_generator, betas=betas, fused=True),
        )

    def draw(self) -> tuple[Tensor, Tensor]:
        """Draw the positions of a batch of trainval features [B], and noise [B, Z]."""
        size, device = self.config.batch_size, self.train.device
        return torch.randint(len(self.train.features), (size,), device=device), self.noise(size)

    def noise(self, count: int) -> Tensor:
        """Draw noise [count, Z]."""
        return torch.randn(count, self.generator.noise_dim, device=self.train.device)

    def update_critic(self, optimizer: Adam, update: Callable[..., Tensor]) -> Tensor:
        """Do all updates of D of one step, with the gradients of `update`, and return the loss of the last update."""
        config, train = self.config, self.train
        # G is fixed while D learns, so it makes the features for all of D's updates at once.
        draws = [
            (*self.draw(), torch.rand(config.batch_size, 1, device=train.device)) for _ in range(config.critic_steps)
        ]
        batches, noises, mixes = (torch.stack(values) for values in zip(*draws, strict=True))
        with torch.no_grad():
            fakes = self.generator(self.condition_of[train.labels[batches.flatten()]], noises.flatten(0, 1))
        for batch, mix, fake in zip(batches, mixes, fakes.split(config.batch_size), strict=True):
            real, condition = train.features[batch], self.critic_condition_of[train.labels[batch]]
            loss = update(self.critic, real, fake, condition, mix, config.penalty_weight)
            if config.classification == "joint":
                self.classifier.zero_grad()
                class_loss = cross_entropy(self.classifier(real), self.seen_labels[batch])
                class_loss.backward()
                loss = loss + class_loss
            optimizer.step()
        return loss

    def generator_terms(self) -> dict[str, Tensor]:
        """Compute the terms of G's loss on a new batch (eq. 5 to 9)."""
        config, train = self.config, self.train
        batch, noise = self.draw()
        labels = train.labels[batch]
        fake = self.generator(self.condition_of[labels], noise)
        terms = {"critic": -self.critic(fake, self.critic_condition_of[labels]).mean()}
        images = config.seen_cycle_images
        features, classes = (fake, labels) if images is None else self.generate(train.seen, images)
        terms |= self.cycle(features, classes, config.cycle_attributes, config.cycle_representations)
        if config.classification != "none":
            class_loss = cross_entropy(self.classifier(fake), self.seen_labels[batch])
            terms["classification"] = config.classification_weight * class_loss
        if config.semantic_transductive:
            features, classes = self.generate(train.unseen, config.unseen_cycle_images)
            unseen_terms = self.cycle(
                features, classes, config.unseen_cycle_attributes, config.unseen_cycle_representations
            )
            terms |= {f"unseen {name}": term for name, term in unseen_terms.items()}
        return terms

    def generate(self, classes: Tensor, per_class: int) -> tuple[Tensor, Tensor]:
        """Generate `per_class` features of each of `classes` [n, D], and return their labels [n], too."""
        labels = classes.repeat_interleave(per_class)
        return self.generator(self.condition_of[labels], self.noise(len(labels))), labels

    def cycle(
        self, fake: Tensor, labels: Tensor, attribute_weight: float, representation_weight: float
    ) -> dict[str, Tensor]:
        """Compute λ1 L_F1 and λ2 L_F2 of generated features [B, D] (eq. 7, 8); a weight of 0 omits its term."""
        loss_of: Callable[[Tensor, Tensor], Tensor]
        loss_of = reconstruction_loss if self.config.cycle_loss == "l1" else mse_loss
        terms = {}
        if attribute_weight:
            attributes = self.regressors.attributes(fake)
            terms["attributes"] = attribute_weight * loss_of(attributes, self.train.attributes[labels])
        if representation_weight:
            representations = self.regressors.representations(fake)
            terms["representations"] = representation_weight * loss_of(representations, self.representations[labels])
        return terms


def generator_condition(attributes: Tensor, representations: Tensor, config: GANConfig) -> Tensor:
    """Return the input of G beside noise, for each class: [C, A] or [C, A + R]."""
    return attributes if config.generator_sees == "attributes" else torch.cat([attributes, representations], dim=1)


@torch.no_grad()
def _start_from_class_means(generator: Generator, train: TrainSplit, condition_of: Tensor, ridge: float) -> None:
    """Set G's shortcut to the ridge regression of the seen classes' mean features [S, D] on their conditions [S, K]."""
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
    """Train the softmax classifier of the seen classes on all real features at once, then freeze it, as f-CLSWGAN."""
    optimizer = Adam(classifier.parameters(), lr=1e-2, fused=True)
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
    """Generate `per_class` features for each row of condition [U, A + R].

    Returns the features [U * per_class, D] and the number of each one's row of `condition` [U * per_class].
    """
    numbers = torch.arange(len(condition), device=condition.device).repeat_interleave(per_class)
    noise = torch.randn(len(numbers), generator.noise_dim, device=condition.device)
    return generator(condition[numbers], noise), numbers
