"""What a generative method's training gives: inputs of classifiers for any class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zsl.dcrgan.gan import synthesize
from zsl.dcrgan.networks import Generator
from zsl.features.split import TrainSplit


class Synthesizer(nn.Module):
    """The result of a generative method's training: it makes inputs of a classifier for any class."""

    zsl_classes: Tensor  # [U] ids of the unseen classes
    gzsl_classes: Tensor  # [S + U] ids of all classes, seen ones first

    def __init__(
        self, train: TrainSplit, *, prepare: nn.Module | None = None, semantic: nn.Module | None = None
    ) -> None:
        """Keep the maps of inputs.

        prepare: maps features [N, D] to inputs [N, K]; None: inputs are features.  semantic: maps inputs to the second
        space of a `SemanticHeadsConfig`.
        """
        super().__init__()
        self.register_buffer("zsl_classes", train.unseen)
        self.register_buffer("gzsl_classes", torch.cat([train.seen, train.unseen]))
        self.prepare = nn.Identity() if prepare is None else prepare
        self.semantic = semantic

    def real_inputs(self, features: Tensor) -> Tensor:
        """Map features of training images [N, D] to inputs [N, K] that classifiers learn from."""
        return self.prepare(features)

    def synthesize(self, classes: Tensor, per_class: int) -> Tensor:
        """Make `per_class` inputs of each of `classes` [n], class after class: [n * per_class, K]."""
        raise NotImplementedError


class GeneratorSynthesizer(Synthesizer):
    """The synthesizer of a GAN; `condition_of` is G's input beside noise, for each class [C, K]."""

    condition_of: Tensor

    def __init__(
        self,
        train: TrainSplit,
        generator: Generator,
        condition_of: Tensor,
        *,
        prepare: nn.Module | None = None,
        semantic: nn.Module | None = None,
    ) -> None:
        super().__init__(train, prepare=prepare, semantic=semantic)
        self.generator = generator
        self.register_buffer("condition_of", condition_of)
        self.eval().requires_grad_(False)

    def synthesize(self, classes: Tensor, per_class: int) -> Tensor:
        """Make `per_class` inputs of each of `classes` [n], class after class: [n * per_class, K]."""
        features, _ = synthesize(self.generator, self.condition_of[classes], per_class)
        return self.prepare(features)
