"""Named complete configurations.  What they choose was chosen on validation classes, never on a test row."""

from __future__ import annotations

from zsl.dcrgan import DCRGANConfig
from zsl.stages.gan import GANConfig
from zsl.stages.metric import MetricConfig


def shapes() -> DCRGANConfig:
    """The embedded benchmark, EfficientNet-Lite 0; fewer steps than for real photos, so that a first run is short."""
    return DCRGANConfig(metric=MetricConfig(steps=200), gan=GANConfig(steps=250))


def cub() -> DCRGANConfig:
    """CUB, EfficientNet-Lite 0: the defaults, chosen on the validation folds of the first 50 classes."""
    return DCRGANConfig()


RECIPES = {"shapes": shapes, "cub": cub}


def find_recipe(benchmark: str) -> DCRGANConfig:
    """The recipe of a benchmark; the defaults where nothing has been chosen for it yet."""
    return RECIPES.get(benchmark, DCRGANConfig)()
