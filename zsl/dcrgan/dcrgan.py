"""DCR-GAN on one page (Ye et al. 2022): the stages in the paper's order.

Where the paper and its reference code differ, this code follows the paper.  docs/methods.md lists the differences, the
reasons, and the effects on the scores.
"""

from __future__ import annotations

from torch import Tensor

from zsl.common.compute import matmul_precision
from zsl.dcrgan.classifiers import ClassifierConfig, train_classifiers
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.gan import generator_condition, train_gan
from zsl.dcrgan.inputs import as_networks_see, attribute_scaler
from zsl.dcrgan.metric import class_prototypes, rescale, train_metric
from zsl.dcrgan.model import DCRGAN, Synthesizer
from zsl.dcrgan.networks import SRN
from zsl.dcrgan.regressors import train_regressors
from zsl.dcrgan.srn import sample_linearly, train_srn
from zsl.features.split import TrainSplit
from zsl.training.log import Log, silent


def train_dcrgan(train: TrainSplit, config: DCRGANConfig, *, seed: int, log: Log = silent) -> DCRGAN:
    """Train the whole method on one split.  Equal seeds and splits give equal models."""
    return fit_classifiers(train_synthesizer(train, config, seed=seed, log=log), config.classifiers, log=log)


def train_synthesizer(train: TrainSplit, config: DCRGANConfig, *, seed: int, log: Log = silent) -> Synthesizer:
    """Train the class representations, regressors and generator, without using `config.classifiers`."""
    scaler = attribute_scaler(train, config)
    train = as_networks_see(train, scaler, config)
    with matmul_precision(config.precision):
        srn, representations = _represent(train, config, seed, log)
        regressors = train_regressors(train, representations, config.regressors, seed=seed, log=log)
        generator, regressors = train_gan(
            train, representations, regressors, config.gan, compiles=config.compile, seed=seed, log=log
        )
    condition = generator_condition(train.attributes, representations, config.gan)
    return Synthesizer(
        train=train, attribute_scaler=scaler, srn=srn, representations=representations, generator=generator,
        condition=condition, regressors=regressors, config=config, seed=seed,
    )  # fmt: skip


def _represent(train: TrainSplit, config: DCRGANConfig, seed: int, log: Log) -> tuple[SRN | None, Tensor]:
    """Train metric network and SRN, and return the SRN and its output R(a) for all classes [C, R].

    The SRN is None where representations are sampled linearly.  Where nothing uses them, nothing is trained for them,
    and they are zeros: so it is in f-CLSWGAN and in variant A.  Each stage has a random state of its own, so that the
    other stages give the same bits either way.
    """
    if not config.uses_representations:
        return None, train.features.new_zeros(len(train.attributes), config.metric.representation_dim)
    metric = train_metric(train, config.metric, seed=seed, log=log)
    prototypes = class_prototypes(metric, train, unit=config.unit_prototypes)
    if config.prototype_std is not None:
        prototypes = rescale(prototypes, config.prototype_std)
    if config.sampling == "ldf":
        return None, sample_linearly(train, prototypes, config.ldf_ridge)
    srn = train_srn(train, prototypes, config.srn, seed=seed, log=log)
    return srn, srn(train.attributes).detach()


def fit_classifiers(synthesizer: Synthesizer, config: ClassifierConfig, *, log: Log = silent) -> DCRGAN:
    """Train the classifiers on a synthesizer's features, and return the whole model."""
    zsl, gzsl = train_classifiers(
        synthesizer.train, synthesizer.generator, synthesizer.condition, synthesizer.regressors, config,
        seed=synthesizer.seed, log=log,
    )  # fmt: skip
    return DCRGAN(synthesizer, zsl, gzsl, config)
