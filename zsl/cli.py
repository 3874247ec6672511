"""What every script shares: typed arguments, errors in words, defaults that depend on the benchmark."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import tyro

from backbones.presets import OFFLINE_PRESET
from zsl.common.config import flatten, override
from zsl.common.files import in_words
from zsl.common.ranges import check_flags
from zsl.datasets.places import SHAPES
from zsl.experiments.calibration import Gamma
from zsl.features.load import find_features
from zsl.features.table import FeatureTable, read_features
from zsl.training.method import Method

Args = TypeVar("Args")
INTERRUPTED = 130  # exit code of a program that Ctrl-C has ended


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
class ConfigFlags(FeatureArgs):
    """The flags that decide which configuration the `--config.…` flags change."""

    recipe: str | None = None
    method: str = "dcrgan"

    @classmethod
    def read(cls) -> Self:
        """These flags of the command line, before the others can be understood; a script reads all of them after."""
        words = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
        return tyro.cli(cls, args=words, return_unknown_args=True)[0]

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
    find_config: Callable[[ConfigFlags], Any] | None = None,
) -> None:
    """Parse the command line into `args` and run `main`; a user's mistake ends with its message and exit code 1.

    find_config: the configuration for these flags, a dataclass each field of which gets a flag `--config.…`; `args` has
    a field `config` for it.  `ZSL_TRACEBACK=1` shows where a mistake came from.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Without internet the hub's client reports each of its many tries; the error that follows says all of it.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        default = args() if find_config is None else _with_config(args, find_config(ConfigFlags.read()))
        given = tyro.cli(type(default), default=default, description=sys.modules["__main__"].__doc__)
        check_flags(given)
        main(given)
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("ZSL_TRACEBACK"):
            raise
        sys.exit(f"error: {in_words(error) if isinstance(error, OSError) else error}")
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _interrupt(*_: object) -> None:
    """What a signal to end does: the same as Ctrl-C."""
    raise KeyboardInterrupt


def _with_config(args: Any, config: Any) -> Any:
    """The default arguments of a subclass of `args` whose field `config` has the type of `config`."""
    of_method = make_dataclass(
        args.__name__, [("config", type(config), field(default=config))], bases=(args,), frozen=True, kw_only=True
    )
    of_method.__doc__ = args.__doc__
    return of_method()


def settle_config(
    method: Method,
    config: Any,
    *,
    recipe_given: bool,
    precision: Literal["no", "bf16"] | None,
    selection: Path | None,
) -> Any:
    """The method's configuration with what the flags change: `config` is its own one after `--config.…`.

    Raises:
        ValueError: flags contradict each other, or one would do nothing.
    """
    before, now = flatten(asdict(method.configured(method.config))), flatten(asdict(config))
    changed = {path: f"--config.{path.replace('_', '-')}" for path in now if now[path] != before[path]}
    of_recipe = [*["--recipe"] * recipe_given, *["--precision"] * (precision is not None)]
    if [*of_recipe, *changed] and selection is not None:
        flags = ", ".join([*of_recipe, *changed.values()])
        raise ValueError(f"--selection brings the whole configuration; leave {flags} or --selection out")
    if of_recipe and not method.takes_recipe:
        raise ValueError(f"{', '.join(of_recipe)}: that is for DCR-GAN, and --method {method.name} takes nothing of it")
    for path, flag in changed.items():
        if path in method.settings and now[path] != method.settings[path]:
            raise ValueError(f"{flag} {now[path]}: --method {method.name} has {method.settings[path]}; leave one out")
    if precision is None:
        return config
    if "precision" in changed and now["precision"] != precision:
        raise ValueError(f"--precision {precision} and --config.precision {now['precision']}: leave one out")
    return override(config, {"precision": precision})


def check_gamma(gamma: Gamma) -> Gamma:
    """γ as it was given.

    Raises:
        ValueError: it is not finite.
    """
    if gamma != "auto" and not math.isfinite(gamma):
        raise ValueError(f"--gamma {gamma}: a finite number is needed, or auto")
    return gamma


def run_name(benchmark: str, *, method: str, fold: int | None, selection: Path | None, protocol: str) -> str:
    """A run's folder where no --name is given: the benchmark, and what is not as usual."""
    parts = [benchmark, *[method] * (method != "dcrgan"), *[f"fold{fold}"] * (fold is not None)]
    parts += ["chosen"] * (selection is not None) + ["published"] * (protocol == "published")
    return "-".join(parts)


def default_backbone(benchmark: str) -> str:
    """ResNet-101 for real benchmarks; the preset that needs no download for the embedded one."""
    return OFFLINE_PRESET if benchmark == SHAPES else "resnet101"
