"""All methods by name: DCR-GAN, its variants, the baselines, other generative methods, and the user's own methods."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from zsl.baselines import clip
from zsl.baselines.registry import BASELINES
from zsl.common.text import did_you_mean
from zsl.datasets.class_vectors import ClassVectors
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.method import dcrgan_method
from zsl.dcrgan.recipes import Recipe, find_recipe
from zsl.dcrgan.variants import NAME, VARIANTS, form_of
from zsl.experiments.own_method import is_own_method, load_own_method
from zsl.features.manifest import Manifest
from zsl.features.text_vectors import check_same_model
from zsl.generative.registry import GENERATIVE
from zsl.training.method import Method

METHOD_VERSION = 4  # every change that moves results raises it, so that old and new results are not mixed
OTHERS = BASELINES | GENERATIVE | {clip.NAME: clip.METHOD}  # those that take no recipe of DCR-GAN
METHOD_NAMES = (*VARIANTS, *OTHERS)
BOUND = "supervised"  # a bound for S; it is no zero-shot method
PUBLISHED = "published"  # the row of C-5 by the published protocol, in a table
GROUPS = {
    "table2": (
        *(name for name in BASELINES if name != BOUND),
        *(name for name in GENERATIVE if not name.endswith("+")),
        "f-CLSWGAN",
        NAME,
    )
}


def ungrouped(names: Sequence[str]) -> tuple[str, ...]:
    """Replace the name of a group by the names of its methods.

    `table2` has the methods of the paper's Table II that are here, and later ones, all in the form of their papers.
    """
    return tuple(method for name in names for method in GROUPS.get(name, (name,)))


def find_method(name: str, config: DCRGANConfig, *, variant_start: bool = True) -> Method:
    """Return the method `name`: a variant of DCR-GAN, a baseline, another generative method, or `FILE.py:NAME`.

    config: the configuration of DCR-GAN in the method's form, from a recipe or a search.  variant_start: see
    `dcrgan_method`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: there is no method of that name, or the file breaks the contract of a method.
    """
    if is_own_method(name):
        return load_own_method(name, (*METHOD_NAMES, *GROUPS, PUBLISHED))
    if name in OTHERS:
        return OTHERS[name]
    if name not in VARIANTS:
        raise ValueError(
            f"no method {name!r}{did_you_mean(name, METHOD_NAMES)}; there are {', '.join(METHOD_NAMES)}, and your own "
            "as path/to/file.py:NAME"
        )
    return dcrgan_method(name, config, variant_start=variant_start)


def check_vectors(names: Collection[str], vectors: ClassVectors | None, manifest: Manifest | None) -> None:
    """Check that the methods of these names can work with class vectors and features; `clip` wants them of one model.

    manifest: of the features; None where there are none yet.

    Raises:
        ValueError: as in `check_same_model`.
    """
    if clip.NAME in names:
        check_same_model(vectors, manifest)


def method_and_recipe(
    name: str, benchmark: str, *, recipe: str | None = None, feature_dim: int | None = None
) -> tuple[Method, Recipe]:
    """Return the method `name` with the configuration of a recipe in its form, and that recipe.

    recipe: the recipe that the user names; None: the benchmark's.

    Raises:
        FileNotFoundError, ValueError: as in `find_method` and `find_recipe`.
    """
    found = find_recipe(benchmark, recipe, form=form_of(name), feature_dim=feature_dim)
    return find_method(name, found.config, variant_start=recipe is None), found


def is_findable(method: Method) -> bool:
    """Whether another process would find the same method by its name; not so a method that a program made itself."""
    if method.source is not None:
        return True
    return method.name in METHOD_NAMES and _found(method.name).steps == method.steps


def find_again(word: str, config: Any, version: str | None) -> Method:
    """Find a method that another process has found, with its configuration.

    word: the method's name, or `FILE.py:NAME`.

    Raises:
        ValueError: the file of a user's own method has changed meanwhile.
    """
    method = find_method(word, DCRGANConfig())
    if method.version != version:
        raise ValueError(f"{word} has changed while the command was at work; give the command again")
    return replace(method, config=config)


@cache
def _found(name: str) -> Method:
    return find_method(name, DCRGANConfig())


def version_of(method: Method) -> int | str:
    """Return the version of a method, which its results hold; results of other versions are refused."""
    return METHOD_VERSION if method.version is None else f"{METHOD_VERSION}, file {method.version[:12]}"
