"""CADA-VAE (Schönfeld et al. 2019): a softmax classifies the aligned latents of two VAEs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from zsl.common.ranges import Count, NotNegative, Positive, Share, Whole, check_ranges
from zsl.features.split import TrainSplit
from zsl.generative.heads import HeadsConfig
from zsl.generative.method import GenerativeConfig, both_forms
from zsl.generative.vae import (
    Decoder,
    Encoder,
    LatentSynthesizer,
    absolute_error,
    kl_divergence,
    linear_warm_up,
    reparametrise,
    wasserstein_distance,
)
from zsl.training.log import Log, silent
from zsl.training.loop import Terms, minimise
from zsl.training.method import each
from zsl.training.stage import stage

WarmUp = tuple[Share, Share]  # a weight rises from 0 at the first share of the training to its value at the second


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """The settings of the two VAEs; Z, the batch, the three weights and their warm-ups are those of the paper.

    Widths, steps and rate are ours, for some thousand images: the paper has 1,560 and 1,660 hidden units for features,
    1,450 and 665 for attributes, 100 epochs, and a rate of 1.5e-4.
    """

    latent_dim: Count = 64  # Z
    hidden_dim: Count = 512  # of encoder and decoder of features
    attribute_hidden_dim: Count = 256
    steps: Whole = 1000
    batch_size: Count = 50
    lr: Positive = 1e-3
    kl_weight: NotNegative = 0.25  # β
    cross_weight: NotNegative = 2.37  # γ
    distance_weight: NotNegative = 8.13  # δ
    kl_warm_up: WarmUp = (0.0, 0.93)
    cross_warm_up: WarmUp = (0.21, 0.75)
    distance_warm_up: WarmUp = (0.06, 0.22)

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("kl_warm_up", "cross_warm_up", "distance_warm_up"):
            start, end = getattr(self, name)
            if end <= start:
                raise ValueError(f"{type(self).__name__}: {name} is {start} {end}; its end must be after its start")

    def weights(self, step: int) -> dict[str, float]:
        """Return the weights of the terms at a step, from 0 on."""
        progress = step / self.steps
        return {
            "reconstruction": 1.0,
            "KL": self.kl_weight * linear_warm_up(progress, *self.kl_warm_up),
            "cross": self.cross_weight * linear_warm_up(progress, *self.cross_warm_up),
            "distance": self.distance_weight * linear_warm_up(progress, *self.distance_warm_up),
        }


@dataclass(frozen=True, kw_only=True)
class CADAVAEConfig(GenerativeConfig):
    """The settings of CADA-VAE.

    The paper's softmax learns from twice as many latents of an unseen class (400) as of a seen one.  So it does here,
    where there is one latent of each seen image, and about 50 images of a class.
    """

    vae: AlignmentConfig = field(default_factory=AlignmentConfig)
    heads: HeadsConfig = field(default_factory=lambda: HeadsConfig(images_per_unseen_class=100, lr=1e-2))


class AlignedVAEs(nn.Module):
    """The VAE of features and the VAE of attributes."""

    def __init__(self, feature_dim: int, attribute_dim: int, config: AlignmentConfig) -> None:
        super().__init__()
        latent_dim, of_attributes = config.latent_dim, config.attribute_hidden_dim
        self.feature_encoder = Encoder(feature_dim, config.hidden_dim, latent_dim)
        self.feature_decoder = Decoder(latent_dim, config.hidden_dim, feature_dim)
        self.attribute_encoder = Encoder(attribute_dim, of_attributes, latent_dim)
        self.attribute_decoder = Decoder(latent_dim, of_attributes, attribute_dim)

    def terms(self, features: Tensor, attributes: Tensor) -> dict[str, Tensor]:
        """Compute the terms of the loss without their weights (Schönfeld et al. 2019, section 3).

        Each image has its own noise in each dimension, and its standard deviation is exp(log_variance / 2), as in the
        equations; the public code draws one number for all dimensions, and takes exp(log_variance).

        features: [B, D].  attributes: those of each image's class [B, A].
        """
        of_features, of_attributes = self.feature_encoder(features), self.attribute_encoder(attributes)
        z_x, z_a = reparametrise(of_features), reparametrise(of_attributes)
        to_features, to_attributes = self.feature_decoder, self.attribute_decoder
        return {
            "reconstruction": absolute_error(to_features(z_x), features)
            + absolute_error(to_attributes(z_a), attributes),
            "KL": (kl_divergence(of_features) + kl_divergence(of_attributes)).mean(),
            "cross": absolute_error(to_features(z_a), features) + absolute_error(to_attributes(z_x), attributes),
            "distance": wasserstein_distance(of_features, of_attributes).mean(),
        }


@stage
def train_cada_vae(train: TrainSplit, config: CADAVAEConfig, *, log: Log = silent) -> LatentSynthesizer:
    """Train both VAEs on pairs of an image and its class; attributes of unseen classes are not used."""
    settings = config.vae
    vaes = AlignedVAEs(train.features.shape[1], train.attributes.shape[1], settings).to(train.device)
    optimizer = torch.optim.Adam(vaes.parameters(), lr=settings.lr, amsgrad=True, fused=True)

    def weighted(step: int) -> Terms:
        batch = torch.randint(len(train.features), (settings.batch_size,), device=train.device)
        terms = vaes.terms(train.features[batch], train.attributes[train.labels[batch]])
        return {name: weight * terms[name] for name, weight in settings.weights(step).items()}

    minimise("CADA-VAE", settings.steps, vaes, optimizer, weighted, log, every=20)
    return LatentSynthesizer(train, vaes.feature_encoder, vaes.attribute_encoder)


METHODS = both_forms(
    name="CADA-VAE",
    train=train_cada_vae,
    config=CADAVAEConfig(),
    rounds=(
        each("vae.kl_weight", 0.05),
        each("vae.steps", 500, 2000),
        each("vae.lr", 3e-4),
    ),
    citation="Schönfeld, Ebrahimi, Sinha, Darrell, Akata: Generalized Zero- and Few-Shot Learning via Aligned "
    "Variational Autoencoders, CVPR 2019",
)
