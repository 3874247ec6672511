"""What every script shares: typed arguments, errors in words, defaults that depend on the benchmark."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import tyro

from backbones.presets import OFFLINE_PRESET
from zsl.common.config import flatten
from zsl.datasets.places import SHAPES
from zsl.dcrgan.config import DCRGANConfig
from zsl.experiments.methods import Method
from zsl.features.load import find_features
from zsl.features.table import FeatureTable, read_features

Args = TypeVar("Args")


@dataclass(frozen=True, kw_only=True)
class FeatureArgs:
    """What every script that begins with features is told."""

    benchmark: str = SHAPES
    backbone: str | None = None  # whose features; default resnet101, for shapes the offline preset
    features: Path | None = None  # feature table, instead of the backbone's below --data
    allow_incomplete: bool = False  # go on although photos that could not be read are absent from the features
    name: str | None = None  # of the folder below --runs; the default says what is in it
    data: Path = Path("data")
    runs: Path = Path("runs")

    def read_table(self) -> FeatureTable:
        """The table that was asked for."""
        backbone = self.backbone or default_backbone(self.benchmark)
        folder = self.features or find_features(self.data, self.benchmark, backbone)
        return read_features(folder, allow_incomplete=self.allow_incomplete)


@dataclass(frozen=True, kw_only=True)
class Which(FeatureArgs):
    """The words of a command line on which a script's defaults may depend."""

    recipe: str | None = None
    method: str = "dcrgan"

    @property
    def feature_dim(self) -> int | None:
        """D of the features; None where they cannot be read, which the script itself will come upon."""
        try:
            return self.read_table().features.shape[1]
        except (ValueError, OSError):
            return None


def run_script(
    main: Callable[[Args], None],
    args: Callable[..., Args],
    *,
    defaults: Callable[[Which], dict[str, Any]] | None = None,
) -> None:
    """Parse the command line into `args` and run `main`; a user's mistake ends with its message and exit code 1.

    `defaults` gives values that depend on benchmark, features and recipe of the command line, such as a whole recipe,
    each part of which then has a flag of its own.  `ZSL_TRACEBACK=1` shows where a mistake came from.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Without internet the hub's client reports each of its many tries; the error that follows says all of it.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    try:
        default = args(**({} if defaults is None else defaults(_which())))
        main(tyro.cli(type(default), default=default, description=sys.modules["__main__"].__doc__))
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("ZSL_TRACEBACK"):
            raise
        sys.exit(f"error: {error}")


def _which() -> Which:
    words = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
    return tyro.cli(Which, args=words, return_unknown_args=True)[0]


def starting_config(method: Method) -> DCRGANConfig:
    """What `--config.…` changes: the variant's configuration; for a baseline, which takes none of it, the defaults."""
    return method.configured(method.config) if isinstance(method.config, DCRGANConfig) else DCRGANConfig()


def settle_config(
    method: Method,
    config: DCRGANConfig,
    *,
    recipe_given: bool,
    precision: Literal["no", "bf16"] | None,
    selection: Path | None,
) -> Any:
    """The method's configuration with what the flags change: `config` is the starting one after `--config.…`.

    Raises:
        ValueError: flags contradict each other, or one would do nothing.
    """
    before, now = flatten(asdict(starting_config(method))), flatten(asdict(config))
    changed = {path: f"--config.{path.replace('_', '-')}" for path in now if now[path] != before[path]}
    given = [*["--recipe"] * recipe_given, *["--precision"] * (precision is not None), *changed.values()]
    if given and selection is not None:
        raise ValueError(f"--selection brings the whole configuration; leave {', '.join(given)} or --selection out")
    if given and not isinstance(method.config, DCRGANConfig):
        raise ValueError(f"{', '.join(given)}: that is for DCR-GAN, and --method {method.name} takes nothing of it")
    for path, flag in changed.items():
        if path in method.settings and now[path] != method.settings[path]:
            raise ValueError(f"{flag} {now[path]}: --method {method.name} has {method.settings[path]}; leave one out")
    if not isinstance(method.config, DCRGANConfig):
        return method.config
    if precision is None:
        return config
    if "precision" in changed and config.precision != precision:
        raise ValueError(f"--precision {precision} and --config.precision {config.precision}: leave one out")
    return replace(config, precision=precision)


def run_name(benchmark: str, *, method: str, fold: int | None, selection: Path | None, protocol: str) -> str:
    """A run's folder where no --name is given: the benchmark, and what is not as usual."""
    parts = [benchmark, *[method] * (method != "dcrgan"), *[f"fold{fold}"] * (fold is not None)]
    parts += ["chosen"] * (selection is not None) + ["published"] * (protocol == "published")
    return "-".join(parts)


def default_backbone(benchmark: str) -> str:
    """ResNet-101 for real benchmarks; the preset that needs no download for the embedded one."""
    return OFFLINE_PRESET if benchmark == SHAPES else "resnet101"
