"""Every number of every configuration has a range, and what lies outside is refused by name."""

import importlib.util
import math
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from backbones import EncodeOptions
from backbones.finetune_config import FinetuneConfig
from zsl.common.ranges import Interval, check_flags, intervals_of
from zsl.datasets.shapes.design import ShapesConfig
from zsl.dcrgan.recipes import RECIPE_NAMES, find_recipe
from zsl.experiments.methods import OTHERS
from zsl.finetune.command import Finetuning
from zsl.generative.registry import GENERATIVE
from zsl.predict.photos import Limits

CUB = find_recipe("cub").config
CONFIGS = [CUB, CUB.metric, CUB.srn, CUB.regressors, CUB.gan, CUB.classifiers]
CONFIGS += [method.config for method in OTHERS.values()]
CONFIGS += [value for method in GENERATIVE.values() for value in vars(method.config).values() if is_dataclass(value)]
CONFIGS += [FinetuneConfig(), FinetuneConfig().augment, ShapesConfig(), EncodeOptions(image_size=64, crop_pct=0.9)]
CONFIGS += [
    Limits(),
    Finetuning(benchmark="shapes", backbone="test_vit", shards=Path("shards"), config=FinetuneConfig()),
]
ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted([*(ROOT / "scripts").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")])
CHOICES = {"crops"}  # one of a few numbers, by its type
UNBOUND = {("predict", "top"), ("predict", "strongest"), ("predict", "batch_size")}  # Args itself refuses these


def numbers(value: Any) -> list[float]:
    values = value if isinstance(value, tuple) else (value,)
    return [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_every_number_has_a_range_and_numbers_that_are_not_finite_are_refused(config: Any) -> None:
    numeric = {item.name for item in fields(config) if numbers(getattr(config, item.name))} - CHOICES
    assert numeric <= set(intervals_of(type(config)))
    for name in intervals_of(type(config)):
        value = getattr(config, name)
        for strange in (math.nan, math.inf, -math.inf):
            broken = (strange, *value[1:]) if isinstance(value, tuple) else strange
            with pytest.raises(
                ValueError, match=rf"({type(config).__name__}: {name}|--{name.replace('_', '-')}).*{strange}"
            ):
                replace(config, **{name: broken})


@pytest.mark.parametrize(
    ("part", "field", "value", "right"),
    [
        ("gan", "steps", -5, "at least 0"),
        ("gan", "penalty_weight", -10.0, "at least 0"),
        ("gan", "batch_size", 0, "at least 1"),
        ("gan", "batch_size", 10**18, "at least 1 and at most 1000000000"),
        ("metric", "steps", 2**40, "at least 0 and at most 4294967295"),
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


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("attribute_power", 1e6, r"at least 0\.01 and at most 100"),
        ("feature_power", 1e-12, r"at least 0\.01 and at most 100"),
        ("attribute_norm", 1e-40, "at least 1e-06 and at most 1000000"),
        ("prototype_std", 1e20, "at least 1e-06 and at most 1000000"),
    ],
)
def test_numbers_that_fp32_would_lose_are_refused(field: str, value: Any, right: str) -> None:
    with pytest.raises(ValueError, match=rf"DCRGANConfig: {field} is .*; it is {right}"):
        replace(CUB, **{field: value})


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


def arguments(path: Path) -> Any:
    """A program's arguments where the command line names none that it need not."""
    spec = importlib.util.spec_from_file_location(f"program_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look the names in annotations up
    spec.loader.exec_module(module)
    return module.Args()


def numeric_fields(args: Any) -> Iterator[str]:
    """Names of the fields whose type is a number, or one of several."""
    for item in fields(args):
        words = set(str(item.type).replace("[", " ").replace("]", " ").replace(",", " ").split())
        if words & {"int", "float"} and "Literal" not in words and not is_dataclass(getattr(args, item.name)):
            yield item.name


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_number_on_a_command_line_has_a_range(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(path.parent)
    args = arguments(path)
    unbound = set(numeric_fields(args)) - set(intervals_of(type(args)))
    assert {(path.stem, name) for name in unbound} <= UNBOUND


@pytest.mark.parametrize(
    ("script", "field", "value", "message"),
    [
        ("extract", "batch_size", 0, "--batch-size is 0; it is at least 1"),
        ("train_dcrgan", "seeds", (0, -1), "--seeds is 0 -1; it is at least 0"),
        ("train_dcrgan", "every", 0, "--every is 0; it is at least 1"),
        ("table", "budget", -1, "--budget is -1; it is at least 0"),
        ("table", "every", -3, "--every is -3; it is at least 1"),
        ("choose", "budget", 0, "--budget is 0; it is at least 1"),
        ("choose", "seed", -1, "--seed is -1; it is at least 0"),
        ("choose", "folds", (0,), "--folds is 0; it is at least 1"),
        ("study", "batch_size", -4, "--batch-size is -4; it is at least 1"),
        ("study", "budget", -1, "--budget is -1; it is at least 0"),
        ("sweep", "seeds", (-2,), "--seeds is -2; it is at least 0"),
        ("compare", "resamples", 0, "--resamples is 0; it is at least 1"),
        ("finetune", "memory_gb", 1e300, "--memory-gb is 1e+300; it is at least 0 and at most 1000000"),
        ("finetune", "margin", math.nan, "--margin is nan; it is at least 0 and at most 1"),
        ("finetune", "margin", -0.1, "--margin is -0.1; it is at least 0 and at most 1"),
        ("finetune", "memory_gb", math.inf, "--memory-gb is inf; it is at least 0 and at most 1000000"),
        ("finetune", "memory_gb", -1.0, "--memory-gb is -1.0; it is at least 0 and at most 1000000"),
        ("finetune", "checkpoint_seconds", math.nan, "--checkpoint-seconds is nan; it is at least 0 and finite"),
        ("finetune", "folds", (-1,), "--folds is -1; it is at least 1"),
        ("serve", "port", 70_000, "--port is 70000; it is at least 0 and at most 65535"),
        ("serve", "seeds", (-1,), "--seeds is -1; it is at least 0"),
    ],
)
def test_nonsense_on_a_command_line_is_refused_with_what_would_be_right(
    script: str, field: str, value: Any, message: str
) -> None:
    args = replace(arguments(ROOT / "scripts" / f"{script}.py"), **{field: value})
    with pytest.raises(ValueError, match=r"^--") as error:
        check_flags(args)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("config", "field", "value", "right"),
    [
        (FinetuneConfig(), "lr", math.inf, "above 0 and finite"),
        (FinetuneConfig(), "image_size", 0, "at least 1"),
        (FinetuneConfig(), "seed", -1, "at least 0"),
        (FinetuneConfig(), "held_out", 1.0, "above 0 and below 1"),
        (FinetuneConfig(), "wise", (0.5, 0.0), "above 0 and at most 1"),
        (FinetuneConfig().augment, "ratio", (0.5, math.inf), "above 0 and finite"),
        (FinetuneConfig().augment, "cutmix", math.inf, "at least 0 and finite"),
        (ShapesConfig(), "seed", -1, "at least 0"),
        (ShapesConfig(), "seen_classes", 2, "at least 3"),
        (ShapesConfig(), "images_per_class", 1, "at least 2"),
        (ShapesConfig(), "image_size", 0, "at least 16"),
        (EncodeOptions(), "crop_pct", 0.0, "above 0 and at most 1"),
        (Limits(), "max_megabytes", math.inf, "above 0 and finite"),
    ],
)
def test_every_configuration_says_what_would_be_right(config: Any, field: str, value: Any, right: str) -> None:
    with pytest.raises(ValueError, match=f"is .*; it is {right}"):
        replace(config, **{field: value})
