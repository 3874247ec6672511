"""Which classes `shapes` has, before anything is drawn: combinations of attribute values, folds and strengths."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zsl.common.ranges import Count, Interval, Whole, check_ranges
from zsl.datasets.held_out import VALIDATION_SHARE

Ints = NDArray[np.int64]

GROUPS: dict[str, tuple[str, ...]] = {
    "shape": ("circle", "square", "triangle", "star", "hexagon", "cross", "ring", "crescent"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple"),
    "fill": ("solid", "stripes", "dots", "checker"),
    "count": ("one", "two", "three"),
    "border": ("bare", "framed"),
    "ground": ("plain", "bricks", "planks", "waves"),
}
ATTRIBUTES = tuple(f"{group}::{value}" for group, values in GROUPS.items() for value in values)  # [A]
FOLDS = 3
DESIGN_STREAM = 1 << 30  # first word of the random numbers that belong to no image; an image's are [seed, class, image]


@dataclass(frozen=True, kw_only=True)
class ShapesConfig:
    """What is drawn; the classes, their attributes and the splits follow from the seed."""

    seed: Whole = 0
    seen_classes: Annotated[int, Interval("[3, inf)")] = 26
    unseen_classes: Count = 8
    images_per_class: Annotated[int, Interval("[2, inf)")] = 40
    image_size: Annotated[int, Interval("[16, inf)")] = 256  # pixels; each side of an image is 0.94 to 1.12 times this

    def __post_init__(self) -> None:
        check_ranges(self)


DEFAULT = ShapesConfig()


@dataclass(frozen=True, kw_only=True)
class Design:
    """Which classes there are, before anything is drawn; class ids are rows of `combos`."""

    combos: Ints  # [C, G] index of the class's value in each group
    seen: Ints  # sorted class ids
    unseen: Ints  # sorted class ids
    validation: tuple[Ints, ...]  # class ids of each fold's validation classes, all of them seen

    @property
    def names(self) -> list[str]:
        """[C] the values of each class, joined."""
        return ["_".join(value_names(combo)) for combo in self.combos]

    @property
    def indicators(self) -> Ints:
        """[C, A], 1 where the class has the attribute."""
        return _indicators(self.combos)


def make_design(config: ShapesConfig) -> Design:
    """Choose the classes, mix seen and unseen ones in the class order (as real benchmarks do), and choose the folds."""
    rng = np.random.default_rng([DESIGN_STREAM, config.seed])
    grid = rng.permutation(list(itertools.product(*(range(len(values)) for values in GROUPS.values()))))
    seen = _choose_combos(grid, config.seen_classes, apart_from=grid[:0], related=False)
    seen_values = _indicators(seen).any(axis=0)  # [A]
    of_seen_values = grid[_indicators(grid) @ ~seen_values == 0]
    new = _choose_combos(of_seen_values, config.unseen_classes, apart_from=seen, related=True)
    order = rng.permutation(config.seen_classes + config.unseen_classes)
    seen_ids = np.flatnonzero(order < config.seen_classes)
    return Design(
        combos=np.concatenate([seen, new])[order],
        seen=seen_ids,
        unseen=np.flatnonzero(order >= config.seen_classes),
        validation=_choose_folds(rng, seen_ids, _indicators(seen)[order[seen_ids]]),
    )


def value_names(combo: Ints) -> list[str]:
    """The class's value in each group, in words."""
    return [values[i] for values, i in zip(GROUPS.values(), combo, strict=True)]


def _indicators(combos: Ints) -> Ints:
    return np.concatenate([np.eye(len(v), dtype=np.int64)[combos[:, g]] for g, v in enumerate(GROUPS.values())], axis=1)


def _choose_combos(grid: Ints, number: int, apart_from: Ints, *, related: bool) -> Ints:
    """Pick `number` rows of `grid` [n, G], each differing in two groups or more from every other and from `apart_from`.

    Greedy: the next one has the attribute values, and pairs of values, that were used least so far.  So each value
    meets many partners, and a model can tell it from them.  With `related`, each but the first differs from some
    earlier one in just two groups: one attribute that happens to be easy does not tell all of them apart.
    """
    has = _indicators(grid)
    free = ((grid[:, None] != apart_from).sum(axis=2) >= 2).all(axis=1)
    together = np.zeros((has.shape[1], has.shape[1]), dtype=np.int64)  # how often two values met; diagonal: one value
    chosen: list[Ints] = []
    near = np.full(len(grid), not related)
    while len(chosen) < number:
        eligible = free & near if chosen else free
        if not eligible.any():
            raise ValueError(f"shapes has no {number} classes that are apart from each other; found {len(chosen)}")
        cost = np.where(eligible, ((has @ together) * has).sum(axis=1), np.iinfo(np.int64).max)
        pick = int(cost.argmin())
        chosen.append(grid[pick])
        together += np.outer(has[pick], has[pick])
        differing = (grid != grid[pick]).sum(axis=1)
        free &= differing >= 2
        near |= differing == 2
    return np.stack(chosen)


def _choose_folds(rng: Generator, seen: Ints, indicators: Ints) -> tuple[Ints, ...]:
    """Disjoint validation classes of each fold; of 200 draws, the one with fewest values that training classes lack."""
    size = max(1, round(VALIDATION_SHARE * len(seen)))
    draws = [rng.permutation(len(seen))[: FOLDS * size].reshape(FOLDS, size) for _ in range(200)]

    def lacking(folds: Ints) -> int:
        total = indicators.sum(axis=0)
        return sum(int(((mine := indicators[fold].sum(axis=0)) * (mine == total)).sum()) for fold in folds)

    return tuple(np.sort(seen[fold]) for fold in min(draws, key=lacking))


def annotate(design: Design, config: ShapesConfig) -> NDArray[np.float64]:
    """Attribute strengths [A, C] in per cent, as if people had voted: high where true, seldom quite 0 elsewhere."""
    rng = np.random.default_rng([DESIGN_STREAM, config.seed, 1])
    truth = design.indicators.T
    present, absent = rng.uniform(75, 100, truth.shape), rng.exponential(4, truth.shape).clip(max=20)
    return np.where(truth, present, absent).round(1)
