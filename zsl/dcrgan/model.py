"""The results of training: the Synthesizer, trained before the classifiers, and DCRGAN, the whole model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from zsl.dcrgan.classifiers import ClassifierConfig, Ensemble, Spaces
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.networks import SRN, Generator
from zsl.dcrgan.regressors import Regressors
from zsl.features.scaling import AttributeScaler, signed_power
from zsl.features.split import TrainSplit


@dataclass(frozen=True, kw_only=True, eq=False)
class Synthesizer:
    """The networks that are trained before the classifiers, with their data; a class that joins later needs them."""

    train: TrainSplit  # its features and attributes have the form that the networks take
    attribute_scaler: AttributeScaler  # maps attributes of the split file to that form
    srn: SRN | None  # None where representations are sampled linearly, or not used
    representations: Tensor  # R(a) of all classes [C, R]; zeros where they are not used
    generator: Generator
    condition: Tensor  # the generator's input for each class [C, A + R]
    regressors: Regressors
    config: DCRGANConfig
    seed: int


class DCRGAN(nn.Module):
    """The trained model: it scores features, over unseen classes for ZSL, and over all classes for GZSL."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`
    leaves_features = True  # scoring changes no feature, and what is remembered goes by their place, so no copies

    def __init__(self, synthesizer: Synthesizer, zsl: Ensemble, gzsl: Ensemble, config: ClassifierConfig) -> None:
        """Fuse the heads of `zsl` and `gzsl`, trained on features of `synthesizer`, by the weights of `config`."""
        super().__init__()
        train = synthesizer.train
        self.synthesizer, self.config = synthesizer, config
        self.regressors, self.zsl, self.gzsl = synthesizer.regressors, zsl, gzsl
        self.remembered: dict[tuple[int, ...], tuple[Tensor, Spaces]] | None = None  # by place in memory; None: nothing
        self.register_buffer("zsl_classes", train.unseen)
        self.register_buffer("gzsl_classes", torch.cat([train.seen, train.unseen]))
        self.eval().requires_grad_(False)

    def fused_by(self, config: ClassifierConfig) -> Self:
        """Return a model with the same heads, fused by the weights of `config`."""
        model = type(self)(self.synthesizer, self.zsl, self.gzsl, config)
        model.remembered = self.remembered
        return model

    def spaces(self, features: Tensor) -> Spaces:
        """Map features [N, D], scaled on trainval rows, to the inputs of the heads."""
        place = (features.data_ptr(), *features.shape, *features.stride())  # a slice of the same rows is another object
        if self.remembered is not None and place in self.remembered:
            return self.remembered[place][1]
        visual = self.inputs(features)
        spaces = visual, self.regressors.attributes(visual), self.regressors.representations(visual)
        if self.remembered is not None:
            self.remembered[place] = features, spaces  # the features stay alive, so that no other ones get their place
        return spaces

    def inputs(self, features: Tensor) -> Tensor:
        """Bring features [N, D], scaled on trainval rows, to the form that the networks take."""
        return signed_power(features, self.synthesizer.config.feature_power)

    def zsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of unseen classes [N, U]."""
        return self.zsl(self.spaces(features), self.config)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""
        return self.gzsl(self.spaces(features), self.config)

    def votes(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return the summands of the GZSL scores: the weighted log-probabilities of VS, SS and SRS, each [N, S + U]."""
        return self.gzsl.votes(self.spaces(features), self.config)
