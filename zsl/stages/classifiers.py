"""Stage 4: softmax classifiers in visual, semantic and representation space, and their fusion (eq. 10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zsl.features import TrainSplit
from zsl.networks import Generator
from zsl.stages import Log, silent, stage, watch
from zsl.stages.gan import synthesize
from zsl.stages.regressors import Regressors


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """Softmax heads on standardised inputs; a space of fewer dimensions takes larger steps."""

    images_per_unseen_class: int = 800  # synthetic features
    weight_vs: float = 1.0
    weight_ss: float = 1.0  # ω1
    weight_srs: float = 0.2  # ω2
    epochs: int = 25
    batch_size: int = 256
    lr_vs: float = 1e-4
    lr_ss: float = 3e-4
    lr_srs: float = 1e-2
    betas: tuple[float, float] = (0.5, 0.999)


class SoftmaxHead(nn.Module):
    """Linear softmax classifier over standardised inputs; column k stands for the k-th class of its set."""

    mean: Tensor
    std: Tensor

    def __init__(self, real: Tensor, class_count: int) -> None:
        """`real` [N, dim]: real seen inputs, the yardstick for standardising.

        Synthetic ones will not do: a dimension that the generator's ReLU leaves at 0 has no spread, and real inputs
        divided by it would drown all others.
        """
        super().__init__()
        std = real.std(0)
        self.register_buffer("mean", real.mean(0))
        self.register_buffer("std", torch.where(std > 0, std, 1.0))
        self.linear = nn.Linear(real.shape[1], class_count)

    def standardise(self, inputs: Tensor) -> Tensor:
        """[B, dim] in units of the real inputs' spread."""
        return (inputs - self.mean) / self.std

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, dim] to log-probabilities [B, classes]."""
        return self.linear(self.standardise(inputs)).log_softmax(dim=1)


class Ensemble(nn.Module):
    """f = f_VS + ω1 f_SS + ω2 f_SRS over one set of classes (eq. 10); each f is a head's log-probabilities.

    The paper's f_VS has the weight 1; 0 leaves it out, as in the variants C-2 and C-3 of Table III.
    """

    def __init__(self, visual: SoftmaxHead, semantic: SoftmaxHead, representation: SoftmaxHead) -> None:
        super().__init__()
        self.visual, self.semantic, self.representation = visual, semantic, representation

    def forward(self, features: Tensor, regressors: Regressors, config: ClassifierConfig) -> Tensor:
        """Features [B, D] to fused scores [B, classes]."""
        return (
            config.weight_vs * self.visual(features)
            + config.weight_ss * self.semantic(regressors.attributes(features))
            + config.weight_srs * self.representation(regressors.representations(features))
        )


class DCRGAN(nn.Module):
    """The trained model: it scores features, for ZSL over the unseen classes, for GZSL over seen and unseen ones."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`

    def __init__(
        self, regressors: Regressors, zsl: Ensemble, gzsl: Ensemble, train: TrainSplit, config: ClassifierConfig
    ) -> None:
        super().__init__()
        self.regressors, self.zsl, self.gzsl, self.config = regressors, zsl, gzsl, config
        self.register_buffer("zsl_classes", train.unseen)
        self.register_buffer("gzsl_classes", torch.cat([train.seen, train.unseen]))

    def zsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, U]."""
        return self.zsl(features, self.regressors, self.config)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""
        return self.gzsl(features, self.regressors, self.config)


@stage
def train_classifiers(
    train: TrainSplit,
    generator: Generator,
    condition: Tensor,
    regressors: Regressors,
    config: ClassifierConfig,
    *,
    log: Log = silent,
) -> DCRGAN:
    """Train the heads on real seen and synthetic unseen features, and for ZSL on the synthetic ones alone.

    condition: what the generator takes for each class [C, A + R].  This is where unseen attributes first play a part.
    """
    synthetic, which = synthesize(generator, condition[train.unseen], config.images_per_unseen_class)
    seen_count, unseen_count = len(train.seen), len(train.unseen)
    targets = torch.cat([train.seen_labels, which + seen_count])
    zsl, gzsl = [], []
    for name, space, lr in (
        ("VS", nn.Identity(), config.lr_vs),
        ("SS", regressors.attributes, config.lr_ss),
        ("SRS", regressors.representations, config.lr_srs),
    ):
        with torch.no_grad():
            real, fake = space(train.features), space(synthetic)
        head = SoftmaxHead(real, unseen_count)
        zsl.append(_fit_head(f"{name} of ZSL", head, fake, which, lr, config, log))
        head, both = SoftmaxHead(real, seen_count + unseen_count), torch.cat([real, fake])
        gzsl.append(_fit_head(f"{name} of GZSL", head, both, targets, lr, config, log))
    return DCRGAN(regressors, Ensemble(*zsl), Ensemble(*gzsl), train, config).eval().requires_grad_(False)


def _fit_head(
    name: str, head: SoftmaxHead, inputs: Tensor, targets: Tensor, lr: float, config: ClassifierConfig, log: Log
) -> SoftmaxHead:
    """Train a head on inputs [N, dim] and local class indices targets [N]."""
    head = head.to(inputs.device)
    optimizer = torch.optim.Adam(head.linear.parameters(), lr=lr, betas=config.betas, fused=True)
    standardised = head.standardise(inputs)
    for epoch in log.steps(name, config.epochs, {"head": head}, {"head": optimizer}):
        for batch in torch.randperm(len(inputs), device=inputs.device).split(config.batch_size):
            loss = cross_entropy(head.linear(standardised[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        watch(log, name, epoch, {"cross entropy": loss})
    return head.eval()
