"""The configuration of the whole method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from zsl.common.ranges import Positive, Scale
from zsl.dcrgan.classifiers import ClassifierConfig
from zsl.dcrgan.gan import GANConfig
from zsl.dcrgan.inputs import InputConfig
from zsl.dcrgan.metric import MetricConfig
from zsl.dcrgan.regressors import RegressorConfig
from zsl.dcrgan.srn import SRNConfig


@dataclass(frozen=True, kw_only=True)
class DCRGANConfig(InputConfig):
    """All settings of the method; `zsl.dcrgan.recipes` has the settings for each benchmark."""

    unit_prototypes: bool = False  # scale the metric network's outputs to [0, 1] before class means (reference code)
    prototype_std: Scale | None = 0.1  # standard deviation of the class prototypes; None: do not scale them
    sampling: Literal["srn", "ldf"] = "srn"  # how unseen classes get representations; ldf: linear mixtures
    ldf_ridge: Positive = 0.1
    precision: Literal["no", "bf16"] = "no"  # precision of matrix products in training; see zsl.common.compute
    compile: bool = False  # torch.compile the critic's updates: equal up to rounding; compiling takes a minute
    metric: MetricConfig = field(default_factory=MetricConfig)
    srn: SRNConfig = field(default_factory=SRNConfig)
    regressors: RegressorConfig = field(default_factory=RegressorConfig)
    gan: GANConfig = field(default_factory=GANConfig)
    classifiers: ClassifierConfig = field(default_factory=ClassifierConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compile and self.gan.critic_layers > 1:
            raise ValueError(
                f"--config.compile: a critic of {self.gan.critic_layers} hidden layers needs second derivatives, which "
                "torch.compile does not do; leave it out, or have --config.gan.critic-layers 1"
            )

    @property
    def uses_representations(self) -> bool:
        """Whether R(a) enters a network: as an input of G or D, or as what F2 learns."""
        gan, regressors = self.gan, self.regressors
        of_f2 = regressors.pretrain_epochs_representations
        return (
            gan.generator_sees == "all"
            or gan.critic_sees == "all"
            or gan.cycle_representations > 0
            or (gan.semantic_transductive and gan.unseen_cycle_representations > 0)
            or (regressors.pretrain_epochs if of_f2 is None else of_f2) > 0
        )
