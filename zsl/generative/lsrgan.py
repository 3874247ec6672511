"""LsrGAN (Vyas et al. 2020): features of neighbouring classes are as similar as their attributes, unseen ones, too.

Two forms are here.  `LsrGAN` is as the paper writes it.  `LsrGAN-code` is without the semantic regularisation: the
public code computes this loss outside of autograd, so that it has no gradient and changes nothing there.  The rest is
one for both.  It differs from the code: there a softmax of all classes, pretrained on real features, is the classifier
of seen features, too, learns once in a step, and weighs unseen features against real ones by 3 to 1; and the
regularisation is a sum over classes and a mean over neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.common.ranges import Count, NotNegative, Share
from zsl.dcrgan.wgan import Batch, Game
from zsl.features.class_statistics import class_means
from zsl.features.split import TrainSplit
from zsl.generative.losses import centroid_loss, cosines, mean_of_classes
from zsl.generative.method import AdversarialConfig, both_forms
from zsl.generative.synthesizer import GeneratorSynthesizer
from zsl.generative.wgan import SeenClassification, train_wgan
from zsl.training.log import Log, silent
from zsl.training.method import each
from zsl.training.stage import stage


@dataclass(frozen=True, kw_only=True)
class LsrGANConfig(AdversarialConfig):
    """The settings of LsrGAN; weights, ε and neighbours are the public code's for CUB.

    The cosines are those of vectors minus their mean over the seen classes, because attributes come centred here;
    without `attribute_norm` neither is centred, as in the paper.
    """

    classification_weight: NotNegative = 0.01
    centroid_weight: NotNegative = 1.0
    semantic_weight: NotNegative = 20.0
    semantic_gradient: bool = True  # False: the public code
    neighbours: Count = 20  # nearest seen classes of each class
    epsilon: Share = 0.1  # by which similarities of features may differ from those of attributes
    unseen: bool = True  # whether G is trained on attributes of unseen classes, too; False: the inductive form
    unseen_weight: NotNegative = 0.03  # of the classification of generated features of unseen classes
    unseen_images: Count = 5  # generated in a step for each unseen class; our choice


def semantic_loss(similarity: Tensor, wanted: Tensor, epsilon: float) -> Tensor:
    """Sum over neighbours, mean over classes, of max(0, s - w - ε)² + max(0, w - ε - s)² (Vyas et al. 2020).

    similarity: cosines s of mean features of n classes with the means of their neighbours [n, k].  wanted: cosines w of
    their attributes [n, k].
    """
    return ((similarity - wanted).abs() - epsilon).clamp(min=0).square().sum(dim=1).mean()


class _Losses(SeenClassification):
    def __init__(self, train: TrainSplit, config: LsrGANConfig, log: Log) -> None:
        super().__init__(train, config.classification_weight, log)
        self.config = config
        self.all_classes = nn.Linear(train.features.shape[1], len(train.attributes)).to(train.device)
        self.prototypes = class_means(train.features, train.seen_labels, len(train.seen))  # μ [S, D]
        self.centre = self.prototypes.mean(0) * (config.attribute_norm is not None)
        self.wanted = cosines(train.attributes, train.attributes[train.seen])  # [C, S]
        others = self.wanted.clone()
        others[train.seen] = others[train.seen].fill_diagonal_(-torch.inf)  # a class is no neighbour of its own
        self.neighbours = others.topk(min(config.neighbours, len(train.seen) - 1), dim=1).indices  # [C, k]

    def with_critic(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the classifier of all classes."""
        return self.all_classes.parameters() if self.config.unseen else ()

    def critic_gradients(self, game: Game, batch: Batch) -> Tensor | None:
        """Write the gradients of the classifier of all classes, on real features and on G's of unseen classes."""
        if not self.config.unseen:
            return None
        with torch.no_grad():
            fake, labels = game.generate(game.train.unseen, self.config.unseen_images)
        self.all_classes.zero_grad()
        loss = cross_entropy(self.all_classes(batch.real), batch.labels) + cross_entropy(self.all_classes(fake), labels)
        loss.backward()
        return loss

    def terms(self, game: Game, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of seen classes and, if it is to be, those of unseen classes."""
        config = self.config
        means, classes = mean_of_classes(batch.fake, batch.labels)
        centroid = centroid_loss(means, self.prototypes[torch.searchsorted(game.train.seen, classes)])
        terms = super().terms(game, batch) | {"centroid": config.centroid_weight * centroid}
        terms |= self._semantic("semantic", means, classes)
        if config.unseen:
            fake, labels = game.generate(game.train.unseen, config.unseen_images)
            terms |= self._semantic("unseen semantic", *mean_of_classes(fake, labels))
            terms["unseen"] = config.unseen_weight * cross_entropy(self.all_classes(fake), labels)
        return terms

    def _semantic(self, name: str, means: Tensor, classes: Tensor) -> dict[str, Tensor]:
        if not self.config.semantic_gradient:
            return {}
        near = self.neighbours[classes]
        similarity = cosines(means - self.centre, self.prototypes - self.centre).gather(1, near)
        loss = semantic_loss(similarity, self.wanted[classes].gather(1, near), self.config.epsilon)
        return {name: self.config.semantic_weight * loss}


@stage
def train_lsrgan(train: TrainSplit, config: LsrGANConfig, *, log: Log = silent) -> GeneratorSynthesizer:
    """Train G; the attributes of unseen classes are used unless `config.unseen` is False."""
    generator = train_wgan(train, config.gan, lambda *_: _Losses(train, config, log), log)
    return GeneratorSynthesizer(train, generator, train.attributes)


METHODS = tuple(
    method
    for name, settings, own in (
        ("LsrGAN", {"semantic_gradient": True}, each("semantic_weight", 1.0, 5.0)),
        ("LsrGAN-code", {"semantic_gradient": False}, each("unseen_weight", 0.01, 0.1)),
    )
    for method in both_forms(
        name=name,
        train=train_lsrgan,
        config=LsrGANConfig(),
        rounds=(own,),
        citation="Vyas, Venkateswara, Panchanathan: Leveraging Seen and Unseen Semantic Relationships, ECCV 2020",
        transductive=lambda config: config.unseen,
        settings=settings,
    )
)
