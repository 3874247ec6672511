"""Stage 3: the feature GAN (eq. 6 to 9), and synthesis with its generator."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from zsl.features import TrainSplit
from zsl.losses import critic_loss, reconstruction_loss
from zsl.networks import Critic, Generator
from zsl.progress import progress_bar
from zsl.stages import Log, silent, stage, watch
from zsl.stages.regressors import Regressors


@dataclass(frozen=True, kw_only=True)
class GANConfig:
    """The conditional WGAN-GP; one step is `critic_steps` updates of the critic and one of the generator."""

    hidden_dim: int = 1024
    steps: int = 450
    batch_size: int = 64
    critic_steps: int = 5
    penalty_weight: float = 10.0  # λ
    cycle_attributes: float = 1.0  # λ1
    cycle_representations: float = 1.0  # λ2
    lr_critic: float = 5e-4
    lr_generator: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.999)


@stage
def train_gan(
    train: TrainSplit, representations: Tensor, regressors: Regressors, config: GANConfig, *, log: Log = silent
) -> tuple[Generator, Regressors]:
    """Train G against D under the objective of eq. 9; F1 and F2 learn along on generated features unless frozen.

    representations: R(a) of all classes [C, R].  Every batch is of seen classes, so unseen attributes play no part.
    Returns G and the regressors as they are at the end.
    """
    regressors = copy.deepcopy(regressors)
    condition_of = torch.cat([train.attributes, representations], dim=1)  # [C, A + R]
    condition_dim, noise_dim, feature_dim = condition_of.shape[1], train.attributes.shape[1], train.features.shape[1]
    generator = Generator(condition_dim, noise_dim, config.hidden_dim, feature_dim).to(train.device)
    critic = Critic(feature_dim, condition_dim, config.hidden_dim).to(train.device)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=config.lr_critic, betas=config.betas, fused=True)
    learners = [*generator.parameters(), *(p for p in regressors.parameters() if p.requires_grad)]
    generator_optimizer = torch.optim.Adam(learners, lr=config.lr_generator, betas=config.betas, fused=True)

    def draw() -> tuple[Tensor, Tensor, Tensor]:
        batch = torch.randint(len(train.features), (config.batch_size,), device=train.device)
        noise = torch.randn(config.batch_size, noise_dim, device=train.device)
        return train.features[batch], train.labels[batch], noise

    for step in progress_bar(range(config.steps), what="DCR-GAN", unit=" steps"):
        for _ in range(config.critic_steps):
            real, labels, noise = draw()
            with torch.no_grad():
                fake = generator(condition_of[labels], noise)
            mix = torch.rand(len(real), 1, device=train.device)
            loss = critic_loss(critic, real, fake, condition_of[labels], mix, config.penalty_weight)
            critic_optimizer.zero_grad()
            loss.backward()
            critic_optimizer.step()
        _, labels, noise = draw()
        fake = generator(condition_of[labels], noise)
        critic.requires_grad_(False)
        terms = {
            "critic": -critic(fake, condition_of[labels]).mean(),
            "attributes": config.cycle_attributes
            * reconstruction_loss(regressors.attributes(fake), train.attributes[labels]),
            "representations": config.cycle_representations
            * reconstruction_loss(regressors.representations(fake), representations[labels]),
        }
        generator_optimizer.zero_grad()
        sum(terms.values()).backward()
        generator_optimizer.step()
        critic.requires_grad_(True)
        if step % 20 == 0:
            watch(log, "DCR-GAN", step, terms | {"critic loss": loss})
    return generator.eval(), regressors.eval().requires_grad_(False)


@torch.no_grad()
def synthesize(generator: Generator, condition: Tensor, per_class: int) -> tuple[Tensor, Tensor]:
    """Features [U * per_class, D], `per_class` of each row of condition [U, A + R], and their rows [U * per_class]."""
    which = torch.arange(len(condition), device=condition.device).repeat_interleave(per_class)
    noise = torch.randn(len(which), generator.noise_dim, device=condition.device)
    return generator(condition[which], noise), which
