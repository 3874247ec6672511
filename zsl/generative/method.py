"""Generative methods as `Method` objects, each in two forms: that of its paper, and one with closed-form parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from zsl.common.config import Overrides, flatten, override
from zsl.dcrgan.inputs import InputConfig, as_networks_see, attribute_scaler
from zsl.dcrgan.variants import PLUS, RIDGE
from zsl.features.split import TrainSplit
from zsl.generative.heads import HeadsConfig, SemanticHeadsConfig, SyntheticClassifier, train_heads
from zsl.generative.synthesizer import Synthesizer
from zsl.generative.wgan import WGANConfig
from zsl.training.log import Log
from zsl.training.method import Method, Step, each, never
from zsl.training.stage import check_split


@dataclass(frozen=True, kw_only=True)
class GenerativeConfig(InputConfig):
    """The settings that all methods have; a method adds the weights of its losses."""

    heads: HeadsConfig = field(default_factory=HeadsConfig)


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig(GenerativeConfig):
    """The settings of a method whose generator plays a conditional WGAN-GP."""

    gan: WGANConfig = field(default_factory=WGANConfig)


class TrainSynthesizer(Protocol):
    """A stage that trains all networks but the classifiers."""

    __name__: str

    def __call__(self, train: TrainSplit, config: Any, *, seed: int, log: Log) -> Synthesizer:
        """Train on a split in the form that the networks take."""


# What makes the form with closed-form parts, as for DCR-GAN (`zsl.dcrgan.recipes.plus`), as far as a configuration has
# these fields.  Its G starts near its goal, so it learns slowly and for a short time.
_PLUS_START = {
    "feature_power": 0.5,
    "attribute_power": 0.5,
    "gan.shortcut_ridge": RIDGE,
    "gan.steps": 100,
    "gan.lr_generator": 1e-4,
}
_PLUS_SETTINGS = {"heads.fit": "discriminant", "heads.neighbours": None}


def both_forms(
    *,
    name: str,
    train: TrainSynthesizer,
    config: GenerativeConfig,
    rounds: tuple[tuple[Overrides, ...], ...],
    citation: str,
    transductive: Callable[[Any], bool] = never,
    settings: Overrides | None = None,
    budget: int = 10,
) -> tuple[Method, Method]:
    """Make a method in the form of its paper, and under its name with a plus in the form with closed-form parts.

    rounds: the settings of the method's own that folds try.  Those of the heads and the inputs come before them, and
    those of a GAN after them, because the budget may end before all were tried.  settings: those that tell the method
    from another one with the same configuration.  budget: most configurations that need training.
    """
    settings = settings or {}
    fields = flatten(asdict(override(config, settings)))
    rounds = (*_INPUT_ROUNDS, *rounds, *(_GAN_ROUNDS if "gan.steps" in fields else ()))
    paper = Method(
        name=name, steps=_steps(train), config=override(config, settings),
        rounds=(*_head_rounds(config.heads, closed=False), *rounds), settings=settings, budget=budget,
        citation=citation, form="as published: all networks learn from scratch", transductive=transductive,
    )  # fmt: skip
    start = {path: value for path, value in _PLUS_START.items() if path in fields}
    of_plus = {**settings, **_PLUS_SETTINGS}
    begins = "G starts from a ridge regression, " if "gan.shortcut_ridge" in start else ""
    plus = replace(
        paper, name=f"{name}{PLUS.suffix}", config=override(paper.config, start | of_plus), settings=of_plus,
        rounds=(*_head_rounds(config.heads, closed=True), *rounds),
        form=f"with closed-form parts: {begins}the classifiers are discriminants",
    )  # fmt: skip
    return paper, plus


def _head_rounds(config: HeadsConfig, *, closed: bool) -> tuple[tuple[Overrides, ...], ...]:
    """List the rounds that train no generator."""
    semantic = [each("heads.semantic_weight", 0.1, 0.3, 1.0, 2.6)] if isinstance(config, SemanticHeadsConfig) else []
    if closed:
        return each("heads.shrinkage", 0.5, 0.8, 0.9, 0.95), each("heads.placement_error", 0.0, 0.2), *semantic
    images = each("heads.images_per_unseen_class", 60, 200, 800)
    if config.neighbours is not None:
        return images, each("heads.neighbours", 1, 5, 20)
    return each("heads.lr", 1e-3, 3e-3), images, *semantic


def _steps(train_synthesizer: TrainSynthesizer) -> tuple[Step, Step]:
    """Make the steps: the networks, then the classifiers, which other settings of them need alone."""

    def synthesizer(train: TrainSplit, _: None, config: GenerativeConfig, seed: int, log: Log) -> Synthesizer:
        check_split(train, train_synthesizer.__name__)  # before attributes are scaled
        return train_synthesizer(_as_seen(train, config), config, seed=seed, log=log)

    def classifier(
        train: TrainSplit, trained: Synthesizer, config: GenerativeConfig, seed: int, log: Log
    ) -> SyntheticClassifier:
        return train_heads(_as_seen(train, config), trained, config.heads, config.feature_power, seed=seed, log=log)

    name = f"{train_synthesizer.__module__}.{train_synthesizer.__name__}"
    return (
        Step(name=name, run=synthesizer, part=_without_heads, resumes=_without_length),
        Step(name=f"{name}: heads", run=classifier),
    )


def _as_seen(train: TrainSplit, config: GenerativeConfig) -> TrainSplit:
    return as_networks_see(train, attribute_scaler(train, config), config)


def _without_heads(config: GenerativeConfig) -> GenerativeConfig:
    return replace(config, heads=type(config.heads)())


def _without_length(config: GenerativeConfig) -> GenerativeConfig:
    """Return `config` without the number of the game's steps: a longer training continues a shorter one's."""
    config = _without_heads(config)
    if isinstance(config, AdversarialConfig):
        config = replace(config, gan=replace(config.gan, steps=0))
    return config


_INPUT_ROUNDS = each("attribute_power", 0.5, 1.0), each("feature_power", 0.5, 1.0)  # as for DCR-GAN
_GAN_ROUNDS = (
    each("gan.steps", 200, 900),
    tuple({"gan.lr_generator": rate, "gan.lr_critic": rate} for rate in (1e-4, 1e-3)),
)
