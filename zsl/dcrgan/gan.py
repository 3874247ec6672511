"""Stage 3: the feature GAN (eq. 5 to 9), and the synthesis of features with its generator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from zsl.common.compute import compiled
from zsl.common.ranges import Count, NotNegative
from zsl.dcrgan.gradients import critic_gradients
from zsl.dcrgan.losses import reconstruction_loss
from zsl.dcrgan.networks import Critic, Generator
from zsl.dcrgan.regressors import Regressors
from zsl.dcrgan.wgan import Batch, Extra, Game, GameConfig, fit_seen_classifier, start_generator
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class GANConfig(GameConfig):
    """The settings of the conditional WGAN-GP.

    The defaults are L_DCRGAN (eq. 9).  Variant A of Table III is L_WGAN + λ1 L_F1 with x = G(a, z).  Variant B is
    L_WGAN + λ1 L_F1 + λ2 L_F2 with x = G(a, R(a), z).  Both have the classification loss of eq. 5.
    """

    critic_layers: Count = 1  # hidden layers; more than one needs autograd's second derivatives, and takes much longer
    generator_sees: Literal["attributes", "all"] = "all"  # G(a, z) or G(a, R(a), z)
    critic_sees: Literal["features", "attributes", "all"] = "all"  # D(x) of eq. 5, D(x, a), or D(x, a, R(a)) of eq. 6
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

    representations: R(a) of all classes [C, R].  compiles: whether D's updates are, which one hidden layer allows.
    """
    condition_of = generator_condition(train.attributes, representations, config)
    critic_condition_of = {
        "features": train.attributes[:, :0],
        "attributes": train.attributes,
        "all": torch.cat([train.attributes, representations], dim=1),
    }[config.critic_sees]
    feature_dim = train.features.shape[1]
    generator = start_generator(train, condition_of, config)
    critic = Critic(feature_dim, critic_condition_of.shape[1], config.hidden_dim, layers=config.critic_layers)
    extra = _Losses(train, representations, copy.deepcopy(regressors), config, log)
    Game(
        train=train, condition_of=condition_of, critic_condition_of=critic_condition_of, generator=generator,
        critic=critic.to(train.device).requires_grad_(False), extra=extra, config=config,
        update=compiled(critic_gradients) if compiles else critic_gradients,
    ).play("DCR-GAN", log)  # fmt: skip
    return generator.eval(), extra.regressors.eval().requires_grad_(False)


class _Losses(Extra):
    """The cycle losses (eq. 7, 8) and the classification loss (eq. 5)."""

    def __init__(
        self, train: TrainSplit, representations: Tensor, regressors: Regressors, config: GANConfig, log: Log
    ) -> None:
        super().__init__()
        self.config, self.attributes, self.representations = config, train.attributes, representations
        self.classifier = nn.Linear(train.features.shape[1], len(train.seen)).to(train.device)
        self.regressors = regressors
        if config.classification == "pretrained":
            fit_seen_classifier(self.classifier, train, log)

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the classifier's parameters, if it is to learn."""
        return self.classifier.parameters() if self.config.classification == "joint" else ()

    def with_generator(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the regressors that are not frozen."""
        return (p for p in self.regressors.parameters() if p.requires_grad)

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor | None:
        """Write the gradients of the classifier's loss on real features (eq. 5)."""
        if self.config.classification != "joint":
            return None
        self.classifier.zero_grad()
        loss = cross_entropy(self.classifier(batch.real), batch.targets)
        loss.backward()
        return loss

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the terms of G's loss beside the critic's (eq. 5 to 9)."""
        config, images = self.config, self.config.seen_cycle_images
        features, classes = (batch.fake, batch.labels) if images is None else game.generate(game.train.seen, images)
        terms = self.cycle(features, classes, config.cycle_attributes, config.cycle_representations)
        if config.classification != "none":
            class_loss = cross_entropy(self.classifier(batch.fake), batch.targets)
            terms["classification"] = config.classification_weight * class_loss
        if config.semantic_transductive:
            features, classes = game.generate(game.train.unseen, config.unseen_cycle_images)
            unseen_terms = self.cycle(
                features, classes, config.unseen_cycle_attributes, config.unseen_cycle_representations
            )
            terms |= {f"unseen {name}": term for name, term in unseen_terms.items()}
        return terms

    def cycle(
        self, fake: Tensor, labels: Tensor, attribute_weight: float, representation_weight: float
    ) -> dict[str, Tensor]:
        """Compute λ1 L_F1 and λ2 L_F2 of generated features [B, D] (eq. 7, 8); a weight of 0 omits its term."""
        loss_of: Callable[[Tensor, Tensor], Tensor]
        loss_of = reconstruction_loss if self.config.cycle_loss == "l1" else mse_loss
        terms = {}
        if attribute_weight:
            attributes = self.regressors.attributes(fake)
            terms["attributes"] = attribute_weight * loss_of(attributes, self.attributes[labels])
        if representation_weight:
            representations = self.regressors.representations(fake)
            terms["representations"] = representation_weight * loss_of(representations, self.representations[labels])
        return terms


def generator_condition(attributes: Tensor, representations: Tensor, config: GANConfig) -> Tensor:
    """Return the input of G beside noise, for each class: [C, A] or [C, A + R]."""
    return attributes if config.generator_sees == "attributes" else torch.cat([attributes, representations], dim=1)


@torch.no_grad()
def synthesize(generator: Generator, condition: Tensor, per_class: int) -> tuple[Tensor, Tensor]:
    """Generate `per_class` features for each row of condition [U, A + R].

    Returns the features [U * per_class, D] and the number of each one's row of `condition` [U * per_class].
    """
    numbers = torch.arange(len(condition), device=condition.device).repeat_interleave(per_class)
    noise = torch.randn(len(numbers), generator.noise_dim, device=condition.device)
    return generator(condition[numbers], noise), numbers
