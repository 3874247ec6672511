"""Named complete configurations.  What they choose was chosen on validation classes, never on a test row."""

from __future__ import annotations

from zsl.dcrgan import DCRGANConfig


def shapes() -> DCRGANConfig:
    """The embedded benchmark, EfficientNet-Lite 0."""
    return DCRGANConfig()


def cub() -> DCRGANConfig:
    """CUB."""
    return DCRGANConfig()


RECIPES = {"shapes": shapes, "cub": cub}


def find_recipe(benchmark: str) -> DCRGANConfig:
    """The recipe of a benchmark.

    Raises:
        ValueError: there is none.
    """
    if benchmark not in RECIPES:
        raise ValueError(f"no recipe for benchmark {benchmark!r}; there are {', '.join(sorted(RECIPES))}")
    return RECIPES[benchmark]()
