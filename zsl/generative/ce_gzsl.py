"""CE-GZSL (Han et al. 2021): an embedding contrasts real and G's features, instance by instance and with classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.common.ranges import Count, NotNegative, Positive
from zsl.dcrgan.wgan import Batch, Extra, Game
from zsl.features.split import TrainSplit
from zsl.generative.embedding import Compatibility, Embedding, instance_loss
from zsl.generative.method import AdversarialConfig, both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.wgan import WGANConfig, train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class CEGZSLConfig(AdversarialConfig):
    """The settings of CE-GZSL; the temperature is the public code's.

    Its weights in G's loss are 0.001 on CUB, for many more steps; with as few as here, G needs larger ones to follow h.
    Sizes and batch are ours: the code has 2,048 units in h, 512 in v, and batches of 2,048 to 4,096 images.  As
    there, D judges features x, and the embedding learns from the contrastive losses alone.
    """

    gan: WGANConfig = field(default_factory=lambda: WGANConfig(batch_size=128))
    embedding_dim: Count = 512  # of h
    projection_dim: Count = 128  # of v
    compatibility_dim: Count = 256  # hidden units of F
    temperature: Positive = 0.1  # τ of both losses
    instance_weight: NotNegative = 0.01  # in G's loss
    class_weight: NotNegative = 0.1


class ContrastiveLosses(Extra):
    """Both contrastive losses: on real h in D's updates, and on G's h with small weights in G's."""

    def __init__(self, train: TrainSplit, config: CEGZSLConfig) -> None:
        super().__init__()
        self.config = config
        feature_dim, attribute_dim = train.features.shape[1], train.attributes.shape[1]
        self.embedding = Embedding(feature_dim, config.embedding_dim, config.projection_dim)
        self.compatibility = Compatibility(config.embedding_dim, attribute_dim, config.compatibility_dim)

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor:
        """Write the gradients of both losses on real features."""
        embedding = self.embedding
        self.zero_grad()
        embedded = embedding(batch.real)
        loss = instance_loss(embedding.projected(embedded), batch.labels, self.config.temperature)
        loss = loss + self._class_loss(game, embedded, batch.targets)
        loss.backward()
        return loss.detach()

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute both losses of G's features, which are contrasted with real ones, too."""
        config, embedding = self.config, self.embedding
        fake, real = embedding(batch.fake), embedding(batch.real)
        projected, labels = embedding.projected(torch.cat([fake, real])), batch.labels.repeat(2)
        return {
            "instances": config.instance_weight * instance_loss(projected, labels, config.temperature),
            "classes": config.class_weight * self._class_loss(game, fake, batch.targets),
        }

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the embedding and of F."""
        return self.parameters()

    def _class_loss(self, game: Game, embedded: Tensor, targets: Tensor) -> Tensor:
        """Contrast each h [B, embedding_dim] with the attributes of all seen classes; targets: its class [B]."""
        scores = self.compatibility(embedded, game.train.attributes[game.train.seen])
        return cross_entropy(scores / self.config.temperature, targets)


@stage
def train_ce_gzsl(train: TrainSplit, config: CEGZSLConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train embedding, generator and critic on seen classes; attributes of unseen classes are not used."""
    losses = ContrastiveLosses(train, config)
    generator = train_wgan(train, config.gan, lambda *_: losses, log)
    return GeneratorSynthesizer(train, generator, train.attributes, prepare=losses.embedding)


METHODS = both_forms(
    name="CE-GZSL",
    train=train_ce_gzsl,
    config=CEGZSLConfig(),
    rounds=(
        tuple({"instance_weight": w, "class_weight": w} for w in (0.001, 0.1)),
        each("temperature", 0.3),
    ),
    citation="Han, Fu, Chen, Yang: Contrastive Embedding for Generalized Zero-Shot Learning, CVPR 2021",
)
