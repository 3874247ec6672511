"""GDAN (Huang et al. 2019): a conditional VAE whose decoder plays against a discriminator, and a regressor back.

The paper's row of results is void: its public code takes the nearest neighbour among features of `train_loc`, which
holds test images in the circulating split files (docs/methods.md).  Here training sees trainval features alone, and the
nearest neighbours are among these.  Noise is normal; in the code it is uniform, in training and at synthesis.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Adam

from zsl.common.ranges import Count, Decay, NotNegative, Positive, Whole, check_ranges
from zsl.dcrgan.gradients import learning
from zsl.dcrgan.networks import Critic, Regressor
from zsl.dcrgan.wgan import start_generator
from zsl.features.split import TrainSplit
from zsl.generative.heads import HeadsConfig
from zsl.generative.losses import another_class, squared_distance
from zsl.generative.method import GenerativeConfig, both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.vae import Gaussians, kl_divergence, reparametrise
from zsl.training.log import Log, silent
from zsl.training.loop import Terms, descend, minimise
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class LSGANConfig:
    """The settings of the game.

    The public code takes 500 epochs with the rate 1e-5, and a weight decay of 0.01, which is left out here.
    """

    hidden_dim: Count = 1024
    pretraining_steps: Whole = 200  # of the VAE alone
    steps: Whole = 450
    batch_size: Count = 128
    shortcut_ridge: Positive | None = None  # of the regression where G's linear shortcut starts; None: no shortcut
    lr_critic: Positive = 5e-4
    lr_generator: Positive = 5e-4
    betas: tuple[Decay, Decay] = (0.8, 0.999)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class GDANConfig(GenerativeConfig):
    """The settings of GDAN; the weights θ, the neighbours and the number of features are the public code's.

    Cycles and regression are squared distances, as in the paper; in the code they are means over dimensions.
    """

    theta1: NotNegative = 0.1  # of both cycles: attributes of features, features of attributes
    theta2: NotNegative = 0.1  # of the regressor's loss on real features
    theta3: NotNegative = 0.1  # of the discriminator's view of the regressor
    gan: LSGANConfig = field(default_factory=LSGANConfig)
    heads: HeadsConfig = field(
        default_factory=lambda: HeadsConfig(images_per_unseen_class=500, neighbours=1, metric="euclidean")
    )


def discriminator_loss(real: Tensor, fake: Tensor, mismatched: Tensor, regressed: Tensor, *, theta3: float) -> Tensor:
    """Least squares of scores [B]: 1 for (x, a), 0 for (x̃, a), (x, a') of another class, and weighted, (x, R(x))."""
    others = fake.square().mean() + mismatched.square().mean() + theta3 * regressed.square().mean()
    return (real - 1).square().mean() + others


class _Networks(nn.Module):
    def __init__(self, train: TrainSplit, config: GDANConfig) -> None:
        super().__init__()
        (_, feature_dim), (_, attribute_dim) = train.features.shape, train.attributes.shape
        hidden_dim = config.gan.hidden_dim
        self.train_split, self.config = train, config
        self.generator = start_generator(train, train.attributes, config.gan)
        self.encoder = Regressor(feature_dim + attribute_dim, hidden_dim, 2 * attribute_dim)  # to mean, log variance
        self.regressor = Regressor(feature_dim, hidden_dim, attribute_dim)
        self.discriminator = Critic(feature_dim, attribute_dim, hidden_dim).requires_grad_(False)
        self.to(train.device)

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw features [B, D], attributes of their classes and of other seen classes [B, A]."""
        train, size = self.train_split, (self.config.gan.batch_size,)
        rows = torch.randint(len(train.features), size, device=train.device)
        others = train.seen[another_class(train.seen_labels[rows], len(train.seen))]
        return train.features[rows], train.attributes[train.labels[rows]], train.attributes[others]

    def fake(self, attributes: Tensor) -> Tensor:
        """Generate a feature of each row of attributes [B, A]."""
        return self.generator(attributes, torch.randn_like(attributes))

    def vae_terms(self, x: Tensor, a: Tensor) -> dict[str, Tensor]:
        """Compute the terms of the conditional VAE's loss."""
        latents = Gaussians(*self.encoder(torch.cat([x, a], dim=1)).chunk(2, dim=1))
        return {
            "reconstruction": squared_distance(self.generator(a, reparametrise(latents)), x),
            "divergence": kl_divergence(latents).mean(),
        }

    def discriminator_loss(self) -> Tensor:
        """Compute the discriminator's loss on a new batch."""
        x, a, others = self.draw()
        with torch.no_grad():
            pairs = (x, a), (self.fake(a), a), (x, others), (x, self.regressor(x))
        return discriminator_loss(*(self.discriminator(*pair) for pair in pairs), theta3=self.config.theta3)

    def terms(self) -> dict[str, Tensor]:
        """Compute the terms of the loss of generator, encoder and regressor on a new batch."""
        (x, a, _), config = self.draw(), self.config
        fake, regressed = self.fake(a), self.regressor(x)
        cycles = squared_distance(self.regressor(fake), a) + squared_distance(self.fake(regressed), x)
        return self.vae_terms(x, a) | {
            "discriminator": (self.discriminator(fake, a) - 1).square().mean(),
            "cycles": config.theta1 * cycles,
            "regression": config.theta2 * squared_distance(regressed, a),
            "regressed": config.theta3 * (self.discriminator(x, regressed) - 1).square().mean(),
        }


@stage
def train_gdan(train: TrainSplit, config: GDANConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train the VAE, then all networks; unseen attributes are not used."""
    networks, game = _Networks(train, config), config.gan
    learners = [p for p in networks.parameters() if p.requires_grad]
    optimizer = Adam(learners, lr=game.lr_generator, betas=game.betas, fused=True)
    opponent = Adam(networks.discriminator.parameters(), lr=game.lr_critic, betas=game.betas, fused=True)

    def reconstruct(_: int) -> Terms:
        return networks.vae_terms(*networks.draw()[:2])

    def play(_: int) -> Terms:
        with learning(*networks.discriminator.parameters()):
            loss = networks.discriminator_loss()
            descend(opponent, loss)
        return {"discriminator loss": loss.detach()} | networks.terms()

    minimise("VAE", game.pretraining_steps, networks, optimizer, reconstruct, log, every=20)
    minimise("GDAN", game.steps, networks, optimizer, play, log, every=20, others={"opponent": opponent})
    return GeneratorSynthesizer(train, networks.generator, train.attributes)


METHODS = both_forms(
    name="GDAN",
    train=train_gdan,
    config=GDANConfig(),
    rounds=(each("theta1", 0.01, 1.0),),
    citation="Huang, Wang, Yu, Wang: Generative Dual Adversarial Network for Generalized Zero-shot Learning, CVPR 2019",
)
