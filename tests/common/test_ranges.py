"""Every number of every configuration has a range, and what lies outside is refused by name."""

import math
from dataclasses import fields, replace
from typing import Any

import pytest

from zsl.baselines.registry import BASELINES
from zsl.common.ranges import Interval, intervals_of
from zsl.dcrgan.recipes import RECIPE_NAMES, find_recipe

CUB = find_recipe("cub").config
CONFIGS = [CUB, CUB.metric, CUB.srn, CUB.regressors, CUB.gan, CUB.classifiers]
CONFIGS += [method.config for method in BASELINES.values()]


def numbers(value: Any) -> list[float]:
    values = value if isinstance(value, tuple) else (value,)
    return [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_every_number_has_a_range_and_numbers_that_are_not_finite_are_refused(config: Any) -> None:
    numeric = {item.name for item in fields(config) if numbers(getattr(config, item.name))}
    assert numeric <= set(intervals_of(type(config)))
    for name in intervals_of(type(config)):
        value = getattr(config, name)
        for strange in (math.nan, math.inf, -math.inf):
            broken = (strange, *value[1:]) if isinstance(value, tuple) else strange
            with pytest.raises(ValueError, match=rf"{type(config).__name__}: {name} is .*{strange}"):
                replace(config, **{name: broken})


@pytest.mark.parametrize(
    ("part", "field", "value", "right"),
    [
        ("gan", "steps", -5, "at least 0"),
        ("gan", "penalty_weight", -10.0, "at least 0"),
        ("gan", "batch_size", 0, "at least 1"),
        ("gan", "shortcut_ridge", 0.0, "above 0"),
        ("metric", "margin", -1.0, "above 0"),
        ("metric", "betas", (0.5, 1.0), "at least 0 and below 1"),
        ("srn", "lr", 0.0, "above 0"),
        ("regressors", "hidden_dim", 0, "at least 1"),
        ("classifiers", "epochs", -1, "at least 1"),
        ("classifiers", "shrinkage", (0.5, 2.0, 0.5), "at least 0 and at most 1"),
        ("classifiers", "weight_ss", -0.1, "at least 0"),
    ],
)
def test_numbers_outside_their_range_are_refused_with_what_would_be_right(
    part: str, field: str, value: Any, right: str
) -> None:
    with pytest.raises(ValueError, match=rf": {field} is .*; it is {right}"):
        replace(getattr(CUB, part), **{field: value})


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_recipes_lie_in_the_ranges(name: str) -> None:
    find_recipe("any", name)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[0, 1)", (0, 0.5), (-1e-9, 1)),
        ("(0, inf)", (1e-9, 1e9), (0, math.inf)),
        ("(-inf, inf)", (-1e9, 0), (-math.inf,)),
    ],
)
def test_an_interval_holds_the_numbers_between_its_ends(
    text: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    assert all(value in Interval(text) for value in inside)
    assert not any(value in Interval(text) for value in (*outside, math.nan))
