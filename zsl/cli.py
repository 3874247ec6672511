"""The shared parts of the scripts: typed arguments, errors in words, defaults that depend on the benchmark."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, Self, TypeVar

import tyro

from backbones.presets import OFFLINE_PRESET
from zsl.common.config import flatten, override
from zsl.common.files import in_words
from zsl.common.interrupts import INTERRUPTED, STOPPED, raise_interrupts
from zsl.common.launch import leave_launch
from zsl.common.memory import is_lack_of_memory
from zsl.common.ranges import check_flags
from zsl.datasets.class_vectors import ClassVectors, read_class_vectors
from zsl.datasets.places import SHAPES
from zsl.dcrgan.variants import DEFAULT, FORMS, NAME, form_of
from zsl.experiments.calibration import Gamma
from zsl.features.join import find_tables, named_table, read_tables
from zsl.features.table import FeatureTable
from zsl.training.method import Method

Args = TypeVar("Args")
MAX_GAMMA = 1e30  # scores are fp32, whose largest number is 3e38


@dataclass(frozen=True, kw_only=True)
class VectorArgs:
    """The flags of class vectors, which stand in place of a benchmark's attributes or beside them."""

    class_vectors: Path | None = None
    """File .npy with a vector for each class, in place of the attributes (docs/class-vectors.md)."""
    class_vectors_names: Path | None = None
    """The classes of its rows, one name a line; default: the file with the suffix .txt beside it."""
    class_vectors_beside: bool = False
    """Keep the attributes, too, beside the vectors."""

    def read_vectors(self) -> ClassVectors | None:
        """Read the class vectors that the flags name."""
        if self.class_vectors is None:
            for flag, value in (("names", self.class_vectors_names), ("beside", self.class_vectors_beside)):
                if value:
                    raise ValueError(f"--class-vectors-{flag} is for --class-vectors FILE.npy, which is absent")
            return None
        return read_class_vectors(self.class_vectors, self.class_vectors_names, beside=self.class_vectors_beside)


@dataclass(frozen=True, kw_only=True)
class FeatureArgs(VectorArgs):
    """The flags of every script that starts from features."""

    benchmark: str = SHAPES
    """`shapes`, awa1, awa2, apy, cub, sun, or the name of a folder of your own that was packed."""
    backbone: str | None = None
    """Backbone of the features, or several joined by +; default resnet101, for shapes the offline preset."""
    features: Path | None = None
    """Folder of a feature table, or hf://datasets/OWNER/NAME, instead of the backbone's table below --data."""
    allow_incomplete: bool = False
    """Go on without the features of photos that could not be read."""
    name: str | None = None
    """Name of the folder below --runs; the default describes its content."""
    data: Path = Path("data")
    """Where shards and features lie."""
    runs: Path = Path("runs")
    """Where the folders of runs lie."""

    def read_table(self) -> FeatureTable:
        """Read the feature table that the flags name.

        Raises:
            ValueError: --features and --backbone name two tables; or as `find_tables` and `read_tables`.
            FileNotFoundError: as `find_tables` and `read_tables`.
        """
        if self.features:
            folders: tuple[Path, ...] = (named_table(self.features, self.backbone),)
        else:
            folders = find_tables(self.data, self.benchmark, self.backbone or default_backbone(self.benchmark))
        return read_tables(folders, allow_incomplete=self.allow_incomplete)


@dataclass(frozen=True, kw_only=True)
class ConfigFlags(FeatureArgs):
    """The flags that decide on the configuration that the `--config.…` flags change."""

    recipe: str | None = None
    method: str | None = None

    @classmethod
    def read(cls) -> Self:
        """Parse these flags alone from the command line.  `run_script` parses all flags after that."""
        words = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
        return tyro.cli(cls, args=words, return_unknown_args=True)[0]

    @property
    def feature_dim(self) -> int | None:
        """D of the features; None where they cannot be read.  The script itself will then end with the error."""
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
    """Parse the command line into `args`, and run `main` with them.

    The processes of a launch leave it at the end.  A user's mistake ends the program with a message and exit code 1.
    `ZSL_TRACEBACK=1` shows the traceback, too.

    find_config: makes the configuration for the first flags, a dataclass.  Each of its fields gets a flag `--config.…`.
    The field `config` of `args` holds the configuration.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Without internet, the hub's client reports each of many attempts.  The error that follows is enough.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    raise_interrupts()
    try:
        default = args() if find_config is None else _with_config(args, find_config(ConfigFlags.read()))
        given = tyro.cli(type(default), default=default, description=sys.modules["__main__"].__doc__)
        check_flags(given)
        check_name(getattr(given, "name", None))
        main(given)
        leave_launch()
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("ZSL_TRACEBACK"):
            raise
        sys.exit(f"error: {in_words(error) if isinstance(error, OSError) else error}")
    except (MemoryError, RuntimeError) as error:
        if os.environ.get("ZSL_TRACEBACK") or not is_lack_of_memory(error):
            raise  # other faults of the program are RuntimeErrors, too
        reason = "".join(str(error).splitlines()[:1])
        sys.exit(f"error: memory is not enough ({reason}); give smaller numbers, or fewer data at once")
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        sys.exit(INTERRUPTED)


def check_name(name: str | None) -> None:
    """Check that `name` is one of a folder below another one.

    Raises:
        ValueError: it leads out of that folder.
    """
    path = PurePath(name or "")
    if path.is_absolute() or ".." in path.parts or (name and not path.parts):
        raise ValueError(f"--name {name}: the name of a folder below --runs; --runs says where that lies")


def _with_config(args: Any, config: Any) -> Any:
    """Make the default arguments of a subclass of `args`; the type of its field `config` is the type of `config`."""
    subclass = make_dataclass(
        args.__name__, [("config", type(config), field(default=config))], bases=(args,), frozen=True, kw_only=True
    )
    subclass.__doc__ = args.__doc__
    return subclass()


def settle_config(
    method: Method,
    config: Any,
    *,
    has_recipe: bool,
    precision: Literal["no", "bf16"] | None,
    selection: Path | None,
) -> Any:
    """Return the method's configuration after all flags.

    config: the method's configuration after the flags `--config.…`.

    Raises:
        ValueError: flags contradict each other, or a flag would have no effect.
    """
    before, now = flatten(asdict(method.configured(method.config))), flatten(asdict(config))
    changed = {path: f"--config.{path.replace('_', '-')}" for path in now if now[path] != before[path]}
    recipe_flags = [*["--recipe"] * has_recipe, *["--precision"] * (precision is not None)]
    if [*recipe_flags, *changed] and selection is not None:
        flags = ", ".join([*recipe_flags, *changed.values()])
        raise ValueError(f"--selection brings the whole configuration; leave {flags} or --selection out")
    if recipe_flags and not method.takes_recipe:
        raise ValueError(
            f"{', '.join(recipe_flags)}: that is for DCR-GAN, and --method {method.name} takes nothing of it"
        )
    for path, flag in changed.items():
        if path in method.settings and now[path] != method.settings[path]:
            raise ValueError(f"{flag} {now[path]}: --method {method.name} has {method.settings[path]}; leave one out")
    if precision is None:
        return config
    if "precision" in changed and now["precision"] != precision:
        raise ValueError(f"--precision {precision} and --config.precision {now['precision']}: leave one out")
    return override(config, {"precision": precision})


def check_gamma(gamma: Gamma) -> Gamma:
    """Return γ if it is "auto" or finite.

    Raises:
        ValueError: γ is not finite.
    """
    if gamma != "auto" and not math.isfinite(gamma):
        raise ValueError(f"--gamma {gamma}: a finite number is needed, or auto")
    if gamma != "auto" and abs(gamma) > MAX_GAMMA:
        raise ValueError(f"--gamma {gamma}: at most {MAX_GAMMA:g} can be taken off a score, which is fp32")
    return gamma


def method_name(method: str | None, recipe: str | None) -> str:
    """Return the name of the method of a run.

    Without --method it is `dcrgan+`; with a recipe of the paper or its code it is `dcrgan`, which they are for.
    """
    if method is not None:
        return method
    return NAME if recipe is not None and recipe.startswith(("paper-", "reference-")) else DEFAULT


def describe_form(method: str, text: str) -> str:
    """Say which form of a method it is, and the name of the other form; without `text` it has one form only."""
    if not text:
        return f"method {method}"
    (other,) = (form for form in FORMS if form is not form_of(method))
    base = method.removesuffix(form_of(method).suffix)
    return f"method {method}, {text}; --method {base}{other.suffix}: {other.text}"


def run_name(
    benchmark: str, *, method: str, fold: int | None, selection: Path | None, protocol: str, vectors: bool = False
) -> str:
    """Make the name of a run's folder without --name: the benchmark, and each setting that is not the default."""
    parts = [benchmark, *[method] * (method != DEFAULT), *[f"fold{fold}"] * (fold is not None)]
    parts += ["vectors"] * vectors
    parts += ["chosen"] * (selection is not None) + ["published"] * (protocol == "published")
    return "-".join(parts)


def default_backbone(benchmark: str) -> str:
    """Return ResNet-101 for real benchmarks, and for the embedded one the preset that needs no download."""
    return OFFLINE_PRESET if benchmark == SHAPES else "resnet101"
