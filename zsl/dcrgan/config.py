"""The configuration of the whole method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from zsl.common.ranges import Positive, check_ranges
from zsl.dcrgan.classifiers import ClassifierConfig
from zsl.dcrgan.gan import GANConfig
from zsl.dcrgan.metric import MetricConfig
from zsl.dcrgan.regressors import RegressorConfig
from zsl.dcrgan.srn import SRNConfig


@dataclass(frozen=True, kw_only=True)
class DCRGANConfig:
    """All that is chosen about the method; `zsl.dcrgan.recipes` has one for each benchmark."""

    feature_power: Positive = 1.0  # of features in [0, 1]; 0.5: their square roots, which spread more evenly
    attribute_power: Positive = 1.0  # of the split file's attributes
    attribute_norm: Positive | None = 1.0  # centred attributes of this mean norm; None: the split file's own
    unit_prototypes: bool = False  # scale the metric network's outputs to [0, 1] before class means (reference code)
    prototype_std: Positive | None = 0.1  # scale of the class prototypes; None: as the metric network gives them
    sampling: Literal["srn", "ldf"] = "srn"  # how unseen classes get representations; ldf: linearly, the paper's rival
    ldf_ridge: Positive = 0.1
    precision: Literal["no", "bf16"] = "no"  # of matrix products while training; see zsl.compute
    compile: bool = False  # torch.compile for the critic's updates: the same to rounding, after a minute of compiling
    metric: MetricConfig = field(default_factory=MetricConfig)
    srn: SRNConfig = field(default_factory=SRNConfig)
    regressors: RegressorConfig = field(default_factory=RegressorConfig)
    gan: GANConfig = field(default_factory=GANConfig)
    classifiers: ClassifierConfig = field(default_factory=ClassifierConfig)

    def __post_init__(self) -> None:
        check_ranges(self)
