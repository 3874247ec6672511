"""DCR-GAN on one page (Ye et al. 2022): the stages in the paper's order.

Where the paper and its reference code differ this follows the paper; docs/methods.md says where, why, and what it cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from zsl.common.compute import matmul_precision
from zsl.dcrgan.classifiers import DCRGAN, ClassifierConfig, train_classifiers
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.gan import generator_condition, train_gan
from zsl.dcrgan.metric import class_prototypes, rescale, train_metric
from zsl.dcrgan.networks import SRN, Generator
from zsl.dcrgan.regressors import Regressors, train_regressors
from zsl.dcrgan.srn import sample_linearly, train_srn
from zsl.features.scaling import AttributeScaler, signed_power
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent


@dataclass(frozen=True, kw_only=True, eq=False)
class Synthesizer:
    """All that is trained before the classifiers, and what a class that joins later needs."""

    train: TrainSplit  # with features and attributes as the networks see them
    attribute_scaler: AttributeScaler  # from attributes as given to those
    srn: SRN | None  # None: representations are sampled linearly
    representations: Tensor  # R(a) of all classes [C, R]
    generator: Generator
    condition: Tensor  # what the generator takes for each class [C, A + R]
    regressors: Regressors
    config: DCRGANConfig
    seed: int


def train_synthesizer(train: TrainSplit, config: DCRGANConfig, *, seed: int, log: Log = silent) -> Synthesizer:
    """Metric network, class representations, regressors, generator; nothing here depends on `config.classifiers`."""
    scaler = attribute_scaler(train, config)
    train = as_networks_see(train, scaler, config)
    srn = None
    with matmul_precision(config.precision):
        metric = train_metric(train, config.metric, seed=seed, log=log)
        prototypes = class_prototypes(metric, train, unit=config.unit_prototypes)
        if config.prototype_std is not None:
            prototypes = rescale(prototypes, config.prototype_std)
        if config.sampling == "srn":
            srn = train_srn(train, prototypes, config.srn, seed=seed, log=log)
            representations = srn(train.attributes).detach()  # R(a) of all classes [C, R]
        else:
            representations = sample_linearly(train, prototypes, config.ldf_ridge)
        regressors = train_regressors(train, representations, config.regressors, seed=seed, log=log)
        generator, regressors = train_gan(
            train, representations, regressors, config.gan, compiles=config.compile, seed=seed, log=log
        )
    condition = generator_condition(train.attributes, representations, config.gan)
    return Synthesizer(
        train=train, attribute_scaler=scaler, srn=srn, representations=representations, generator=generator,
        condition=condition, regressors=regressors, config=config, seed=seed,
    )  # fmt: skip


def attribute_scaler(train: TrainSplit, config: DCRGANConfig) -> AttributeScaler:
    """What is done to attributes, fitted on those of the seen classes."""
    return AttributeScaler.fit(train.attributes[train.seen], config.attribute_norm, config.attribute_power)


def as_networks_see(train: TrainSplit, scaler: AttributeScaler, config: DCRGANConfig) -> TrainSplit:
    """A split as it is given, with its features and attributes as every network is shown them."""
    return replace(
        train,
        features=signed_power(train.features, config.feature_power),
        attributes=scaler(train.attributes),
    )


def fit_classifiers(made: Synthesizer, config: ClassifierConfig, *, log: Log = silent) -> DCRGAN:
    """The classifiers of a synthesizer; the model knows it, so that a run can keep both."""
    model = train_classifiers(
        made.train, made.generator, made.condition, made.regressors, config, seed=made.seed, log=log
    )
    model.feature_power = made.config.feature_power
    model.synthesizer = made
    return model


def train_dcrgan(train: TrainSplit, config: DCRGANConfig, *, seed: int, log: Log = silent) -> DCRGAN:
    """Train the whole method on one split; equal seed and split give equal models."""
    return fit_classifiers(train_synthesizer(train, config, seed=seed, log=log), config.classifiers, log=log)
