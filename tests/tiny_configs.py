"""Configurations of a second, with every stage in them."""

from __future__ import annotations

from torch import Tensor, nn

from zsl.dcrgan.classifiers import ClassifierConfig
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.gan import GANConfig
from zsl.dcrgan.metric import MetricConfig
from zsl.dcrgan.regressors import RegressorConfig
from zsl.dcrgan.srn import SRNConfig

TINY = DCRGANConfig(
    metric=MetricConfig(representation_dim=4, steps=20, batch_size=32),
    srn=SRNConfig(steps=20),
    regressors=RegressorConfig(hidden_dim=16),
    gan=GANConfig(hidden_dim=32, steps=5, batch_size=16),
    classifiers=ClassifierConfig(images_per_unseen_class=10, epochs=2),
)
# Every stage that a checkpoint can interrupt: pre-trained regressors, a classifier beside the critic, a shortcut.
ALL_STAGES = DCRGANConfig(
    metric=MetricConfig(steps=12, representation_dim=5),
    srn=SRNConfig(steps=10),
    regressors=RegressorConfig(hidden_dim=16, pretrain_epochs=1),
    gan=GANConfig(steps=8, hidden_dim=16, classification="joint", shortcut_ridge=1.0),
    classifiers=ClassifierConfig(epochs=2, images_per_unseen_class=10),
)


def state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all tensors of a module."""
    return {key: value.clone() for key, value in model.state_dict().items()}
