"""DCR-GAN and its variants as `Method` objects: their steps, their looks at test rows, their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from zsl.common.config import override
from zsl.dcrgan.classifiers import ClassifierConfig, Ensemble, Histories, Spaces, train_classifiers
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import train_synthesizer
from zsl.dcrgan.model import DCRGAN, Synthesizer
from zsl.dcrgan.saved import save_synthesizer
from zsl.dcrgan.variants import NAME, PLUS, RIDGE, VARIANTS, form_of, search_rounds
from zsl.features.split import TrainSplit
from zsl.training.log import Log
from zsl.training.method import Epochs, Method, Step

LOOKS = 10  # at the test rows by the published protocol; the default of --every
# (ω1, ω2) of the reference code for CUB-GZSL, for images of test_seen and of test_unseen.  They give the answer away.
SEEN_WEIGHTS, UNSEEN_WEIGHTS = (0.05, 0.01), (2.6, 0.05)


def dcrgan_method(name: str, config: DCRGANConfig, *, variant_start: bool = True) -> Method:
    """Make the method DCR-GAN, or one of its variants, from the configuration of a recipe.

    name: one of VARIANTS.  variant_start: whether a variant with its own search starts at the settings of that search.
    If not, it starts at `config`: the user has named a recipe.

    Raises:
        KeyError: there is no such variant.
    """
    variant, form = VARIANTS[name], form_of(name)
    if form is PLUS and config.gan.shortcut_ridge is None:
        config = override(config, {"gan.shortcut_ridge": RIDGE})
    if variant.start is not None and variant_start:
        config = override(config, variant.start)
    return Method(
        name=name,
        steps=STEPS,
        config=config,
        rounds=search_rounds(override(config, variant.settings)),
        settings=variant.settings,
        budget=variant.budget,
        shares=f"{NAME}{form.suffix}" if variant.start is None else None,
        citation=variant.citation,
        form=form.text,
        takes_recipe=True,
        transductive=lambda config: config.gan.semantic_transductive,
        looks=looks,
        epochs=epochs,
        oracle=oracle,
        keep=save_synthesizer,
    )


_Heads = tuple[Synthesizer, Ensemble, Ensemble]  # the last two: the heads for ZSL and for GZSL


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
    """Return `config` without the number of the GAN's steps: a longer training continues a shorter one's checkpoint."""
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
    """List (steps, configuration) of each look at the test rows: after each `every` steps of the GAN, and at the end.

    every: None is a tenth of all steps.

    Raises:
        ValueError: `every` is no number of steps.
    """
    total = config.gan.steps
    every = max(1, total // LOOKS) if every is None else every
    if every < 1:
        raise ValueError(f"--every {every}: the GAN takes at least 1 step between two looks at the test rows")
    return [
        (steps, replace(config, gan=replace(config.gan, steps=steps))) for steps in [*range(every, total, every), total]
    ]


def epochs(model: DCRGAN) -> Epochs:
    """Train the three classifiers of a model once more, and return the models of all of their epochs."""
    synthesizer, histories = model.synthesizer, Histories()
    train_classifiers(
        synthesizer.train, synthesizer.generator, synthesizer.condition, synthesizer.regressors, model.config,
        seed=synthesizer.seed, histories=histories,
    )  # fmt: skip

    remembered: dict[tuple[int, ...], tuple[Tensor, Spaces]] = {}  # all epochs have the same F1 and F2

    def of_epochs(chosen: Sequence[int]) -> DCRGAN:
        pairs = [(zsl[epoch], gzsl[epoch]) for (zsl, gzsl), epoch in zip(histories, chosen, strict=True)]
        zsl, gzsl = (Ensemble(*heads) for heads in zip(*pairs, strict=True))
        of_these = DCRGAN(synthesizer, zsl, gzsl, model.config)
        of_these.remembered = remembered
        return of_these

    return Epochs(counts=tuple(len(gzsl) for _, gzsl in histories), model=of_epochs)


def oracle(model: DCRGAN) -> tuple[DCRGAN, DCRGAN]:
    """Return the model with the reference code's fusion weights for seen test images of CUB, and for unseen ones."""
    for_seen, for_unseen = (
        model.fused_by(replace(model.config, weight_vs=1.0, weight_ss=ss, weight_srs=srs))
        for ss, srs in (SEEN_WEIGHTS, UNSEEN_WEIGHTS)
    )
    return for_seen, for_unseen
