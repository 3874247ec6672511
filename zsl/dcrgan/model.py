"""What training gives: the Synthesizer, all that is trained before the classifiers; and DCRGAN, the whole model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from zsl.dcrgan.classifiers import ClassifierConfig, Ensemble
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.networks import SRN, Generator
from zsl.dcrgan.regressors import Regressors
from zsl.features.scaling import AttributeScaler, signed_power
from zsl.features.split import TrainSplit


@dataclass(frozen=True, kw_only=True, eq=False)
class Synthesizer:
    """All that is trained before the classifiers, and what a class that joins later needs."""

    train: TrainSplit  # with features and attributes as the networks see them
    attribute_scaler: AttributeScaler  # from the attributes of the split file to those
    srn: SRN | None  # None: representations are sampled linearly
    representations: Tensor  # R(a) of all classes [C, R]
    generator: Generator
    condition: Tensor  # what the generator takes for each class [C, A + R]
    regressors: Regressors
    config: DCRGANConfig
    seed: int


class DCRGAN(nn.Module):
    """The trained model: it scores features, for ZSL over the unseen classes, for GZSL over seen and unseen ones."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`

    def __init__(self, synthesizer: Synthesizer, zsl: Ensemble, gzsl: Ensemble, config: ClassifierConfig) -> None:
        """`config`: its weights fuse the heads of `zsl` and `gzsl`, which were fitted to what `synthesizer` makes."""
        super().__init__()
        train = synthesizer.train
        self.synthesizer, self.config = synthesizer, config
        self.regressors, self.zsl, self.gzsl = synthesizer.regressors, zsl, gzsl
        self.register_buffer("zsl_classes", train.unseen)
        self.register_buffer("gzsl_classes", torch.cat([train.seen, train.unseen]))
        self.eval().requires_grad_(False)

    def fused_by(self, config: ClassifierConfig) -> Self:
        """The same heads, fused by the weights of `config`."""
        return type(self)(self.synthesizer, self.zsl, self.gzsl, config)

    def inputs(self, features: Tensor) -> Tensor:
        """Features [N, D], scaled on trainval rows, as the networks see them."""
        return signed_power(features, self.synthesizer.config.feature_power)

    def zsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, U]."""
        return self.zsl(self.inputs(features), self.regressors, self.config)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""
        return self.gzsl(self.inputs(features), self.regressors, self.config)

    def votes(self, features: Tensor) -> tuple[Tensor, ...]:
        """What VS, SS and SRS add to the GZSL scores, each [N, S + U]: weighted log-probabilities."""
        return self.gzsl.votes(self.inputs(features), self.regressors, self.config)
