"""DCR-GAN and its variants as methods: the steps that configurations share, the looks, what a run keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zsl.common.config import override
from zsl.dcrgan.classifiers import ClassifierConfig, Ensemble, train_classifiers
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import train_synthesizer
from zsl.dcrgan.model import DCRGAN, Synthesizer
from zsl.dcrgan.saved import save_synthesizer
from zsl.dcrgan.variants import VARIANTS, Variant, search_rounds
from zsl.features.split import TrainSplit
from zsl.training.log import Log
from zsl.training.method import Method, Step

NAME = "dcrgan"
LOOKS = 10  # of the published protocol, where nothing else is asked for
# CUB-GZSL's (ω1, ω2) in the reference code: those of test_seen and of test_unseen images.  They know the answer.
SEEN_WEIGHTS, UNSEEN_WEIGHTS = (0.05, 0.01), (2.6, 0.05)


def dcrgan_method(name: str, config: DCRGANConfig, *, own_start: bool = True) -> Method:
    """DCR-GAN, or its variant `name`, around the configuration of a recipe.

    own_start: a variant with a search of its own starts where that starts; otherwise, as with a recipe that the user
    named, at `config` itself.

    Raises:
        KeyError: there is no such variant.
    """
    variant = Variant(name=NAME, settings={}) if name == NAME else VARIANTS[name]
    if variant.start is not None and own_start:
        config = override(config, variant.start)
    return Method(
        name=name,
        steps=STEPS,
        config=config,
        rounds=search_rounds(override(config, variant.settings)),
        settings=variant.settings,
        budget=variant.budget,
        shares=NAME if variant.start is None and name != NAME else None,
        citation=variant.citation,
        takes_recipe=True,
        transductive=lambda config: config.gan.semantic_transductive,
        looks=looks,
        oracle=oracle,
        keep=save_synthesizer,
    )


_Heads = tuple[Synthesizer, Ensemble, Ensemble]  # with the heads of ZSL and GZSL


def _synthesizer(train: TrainSplit, _: None, config: DCRGANConfig, seed: int, log: Log) -> Synthesizer:
    return train_synthesizer(train, config, seed=seed, log=log)


def _heads(_: TrainSplit, synthesizer: Synthesizer, config: DCRGANConfig, seed: int, log: Log) -> _Heads:
    zsl, gzsl = train_classifiers(
        synthesizer.train, synthesizer.generator, synthesizer.condition, synthesizer.regressors, config.classifiers,
        seed=seed, log=log,
    )  # fmt: skip
    return synthesizer, zsl, gzsl


def _model(_: TrainSplit, heads: _Heads, config: DCRGANConfig, seed: int, log: Log) -> DCRGAN:
    synthesizer, zsl, gzsl = heads
    return DCRGAN(synthesizer, zsl, gzsl, config.classifiers)


def _without_classifiers(config: DCRGANConfig) -> DCRGANConfig:
    return replace(config, classifiers=ClassifierConfig())


def _without_length(config: DCRGANConfig) -> DCRGANConfig:
    """More steps of the same GAN go on from the checkpoints of fewer."""
    return replace(_without_classifiers(config), gan=replace(config.gan, steps=0))


def _without_weights(config: DCRGANConfig) -> DCRGANConfig:
    unweighted = replace(config.classifiers, weight_vs=1.0, weight_ss=1.0, weight_srs=1.0)
    return replace(config, classifiers=unweighted)


STEPS = (
    Step(name="synthesizer", run=_synthesizer, part=_without_classifiers, resumes=_without_length),
    Step(name="heads", run=_heads, part=_without_weights),
    Step(name="fusion", run=_model),
)


def looks(config: DCRGANConfig, every: int | None) -> Sequence[tuple[int, DCRGANConfig]]:
    """(steps, configuration) after each `every` steps of the GAN, and at the end; None: a tenth of all steps.

    Raises:
        ValueError: `every` is no number of steps.
    """
    whole = config.gan.steps
    every = max(1, whole // LOOKS) if every is None else every
    if every < 1:
        raise ValueError(f"--every {every}: the GAN takes at least 1 step between two looks at the test rows")
    return [
        (steps, replace(config, gan=replace(config.gan, steps=steps))) for steps in [*range(every, whole, every), whole]
    ]


def oracle(model: DCRGAN) -> tuple[DCRGAN, DCRGAN]:
    """The model with the fusion weights that the reference code has for seen, and for unseen test images of CUB."""
    for_seen, for_unseen = (
        model.fused_by(replace(model.config, weight_vs=1.0, weight_ss=ss, weight_srs=srs))
        for ss, srs in (SEEN_WEIGHTS, UNSEEN_WEIGHTS)
    )
    return for_seen, for_unseen
