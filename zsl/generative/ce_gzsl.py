"""CE-GZSL (Han et al. 2021): a GAN in an embedding that contrasts instances with instances and with classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.common.ranges import Count, NotNegative, Positive
from zsl.dcrgan.gradients import critic_gradients
from zsl.dcrgan.networks import Critic, Generator
from zsl.dcrgan.wgan import Batch, Extra, Game
from zsl.features.split import TrainSplit
from zsl.generative.embedding import Compatibility, EmbeddedCritic, instance_loss
from zsl.generative.method import GAN_ROUNDS, AdversarialConfig, both_forms, each
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.wgan import WGANConfig, train_wgan
from zsl.training.log import Log, silent
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class CEGZSLConfig(AdversarialConfig):
    """The settings of CE-GZSL; the temperature is the public code's.

    Its weights in G's loss are 0.001 on CUB, for many more steps; with as few as here, G needs larger ones to follow h.
    Sizes, batch and steps are ours: the code has 2,048 units in h, 512 in v, and batches of 2,048 to 4,096 images.  Its
    embedding also learns from D's loss; here it learns from the contrastive losses alone.
    """

    gan: WGANConfig = field(default_factory=lambda: WGANConfig(hidden_dim=512, steps=300, batch_size=128))
    embedding_dim: Count = 512  # of h
    projection_dim: Count = 128  # of v
    compatibility_dim: Count = 256  # hidden units of F
    temperature: Positive = 0.1  # τ of both losses
    instance_weight: NotNegative = 0.01  # in G's loss
    class_weight: NotNegative = 0.1


class ContrastiveLosses(Extra):
    """Both contrastive losses: on real h in D's updates, and on G's h with small weights in G's."""

    def __init__(self, train: TrainSplit, config: CEGZSLConfig, critic: EmbeddedCritic) -> None:
        super().__init__()
        self.config = config
        self.shared = (critic.embedding.requires_grad_(True),)  # in a tuple, because the embedding's owner is D
        self.compatibility = Compatibility(config.embedding_dim, train.attributes.shape[1], config.compatibility_dim)

    def update_critic(
        self, critic: Critic, real: Tensor, fake: Tensor, condition: Tensor, mix: Tensor, weight: float
    ) -> Tensor:
        """Write the gradients of WGAN-GP's loss in the space of h to the `.grad` of D's own layers."""
        (embedding,) = self.shared
        with torch.no_grad():
            h_real, h_fake = embedding(real), embedding(fake)
        return critic_gradients(critic, h_real, h_fake, condition, mix, weight)

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor:
        """Write the gradients of both losses on real features."""
        (embedding,) = self.shared
        embedding.zero_grad()
        self.compatibility.zero_grad()
        embedded = embedding(batch.real)
        loss = instance_loss(embedding.projected(embedded), batch.labels, self.config.temperature)
        loss = loss + self._class_loss(game, embedded, batch.targets)
        loss.backward()
        return loss.detach()

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute both losses of G's features, which are contrasted with real ones, too."""
        (embedding,) = self.shared
        config, fake, real = self.config, embedding(batch.fake), embedding(batch.real)
        projected, labels = embedding.projected(torch.cat([fake, real])), batch.labels.repeat(2)
        return {
            "instances": config.instance_weight * instance_loss(projected, labels, config.temperature),
            "classes": config.class_weight * self._class_loss(game, fake, batch.targets),
        }

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the parameters of F."""
        return self.compatibility.parameters()

    def _class_loss(self, game: Game, embedded: Tensor, targets: Tensor) -> Tensor:
        """Contrast each h [B, embedding_dim] with the attributes of all seen classes; targets: its class [B]."""
        scores = self.compatibility(embedded, game.train.attributes[game.train.seen])
        return cross_entropy(scores / self.config.temperature, targets)


@stage
def train_ce_gzsl(train: TrainSplit, config: CEGZSLConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train embedding, generator and critic on seen classes; attributes of unseen classes are not used."""
    losses: list[ContrastiveLosses] = []

    def make_losses(_: Generator, critic: Critic) -> ContrastiveLosses:
        assert isinstance(critic, EmbeddedCritic)
        losses.append(ContrastiveLosses(train, config, critic))
        return losses[0]

    make_critic = partial(EmbeddedCritic, embedding_dim=config.embedding_dim, projection_dim=config.projection_dim)
    generator = train_wgan(train, config.gan, make_losses, log, make_critic=make_critic)
    (embedding,) = losses[0].shared
    return GeneratorSynthesizer(train, generator, train.attributes, prepare=embedding)


METHODS = both_forms(
    name="CE-GZSL",
    train=train_ce_gzsl,
    config=CEGZSLConfig(),
    rounds=(
        each("feature_power", 0.5, 1.0),
        *GAN_ROUNDS,
        tuple({"instance_weight": w, "class_weight": w} for w in (0.001, 0.1)),
        each("temperature", 0.3),
    ),
    citation="Han, Fu, Chen, Yang: Contrastive Embedding for Generalized Zero-Shot Learning, CVPR 2021",
)
