"""The background of a photo of `shapes`: plain, bricks, planks or waves."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from zsl.datasets.shapes.canvas import Floats, pixels, smooth_noise


def draw_ground(rng: Generator, ground: str, size: tuple[int, int]) -> Floats:
    """A textured background [H, W, 3] of any muted colour, so that its colour says nothing of the class."""
    y, x = pixels(size)
    angle, cell = rng.uniform(-0.35, 0.35), size[1] * rng.uniform(0.09, 0.17)
    u = (x * math.cos(angle) + y * math.sin(angle)) / cell + rng.uniform(0, 9)
    v = (y * math.cos(angle) - x * math.sin(angle)) / cell + rng.uniform(0, 9)
    tone = TEXTURES[ground](u, v, smooth_noise(rng, size, 9)) + 0.3 * smooth_noise(rng, size, 4)
    colour = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.05, 0.35), rng.uniform(0.4, 0.85))
    base = np.array(colour, dtype=np.float32)
    return (base * (0.75 + rng.uniform(0.12, 0.5) * (tone[..., None] - 0.5))).clip(0, 1)


def _plain(u: Floats, v: Floats, clouds: Floats) -> Floats:
    return 0.4 + 0.3 * clouds


def _bricks(u: Floats, v: Floats, clouds: Floats) -> Floats:
    """Rows of bricks with light mortar, every second row half a brick further, each brick of another tone."""
    row = np.floor(v)
    along = u / 2 + 0.5 * (row % 2)
    mortar = np.minimum(_edge(v, 0.07), _edge(along, 0.04))
    return np.where(mortar < 1, 1.3 - 0.3 * mortar, 0.2 + 0.6 * _cell_tone(np.floor(along), row)) - 0.2 * clouds


def _planks(u: Floats, v: Floats, clouds: Floats) -> Floats:
    """Long boards with dark gaps and grain along them."""
    board = np.floor(v)
    grain = 0.15 * np.sin(25 * v + 6 * clouds + 0.6 * u)
    return (0.4 + 0.6 * _cell_tone(0 * u, board) + grain) * _edge(v, 0.06)


def _waves(u: Floats, v: Floats, clouds: Floats) -> Floats:
    """Ripples bent by slow noise."""
    return 0.5 + 0.5 * np.sin(5 * v + 9 * clouds + 0.8 * np.sin(1.3 * u))


def _edge(t: Floats, width: float) -> Floats:
    """0 at whole numbers of `t`, rising to 1 at `width` from them."""
    return np.minimum(np.abs(t - np.round(t)) / width, 1)


def _cell_tone(column: Floats, row: Floats) -> Floats:
    """A value in [0, 1) that is constant in a cell and irregular from cell to cell."""
    return np.mod(np.sin(column * 12.9898 + row * 78.233) * 437.58, 1)


TEXTURES: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "plain": _plain,
    "bricks": _bricks,
    "planks": _planks,
    "waves": _waves,
}
