"""What all drawing is done with: pixel grids, smooth noise, masks, strokes and blending."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Place:
    """Where an object lies, in pixels."""

    x: float
    y: float
    radius: float


def pixels(size: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Row and column [H, 1], [1, W] of each pixel's centre."""
    return np.arange(size[0], dtype=np.float32)[:, None] + 0.5, np.arange(size[1], dtype=np.float32)[None] + 0.5


def smooth_noise(rng: Generator, size: tuple[int, ...], cells: int) -> Floats:
    """Smooth noise [H, W] in [0, 1] with about `cells` blobs across."""
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def window(scene: Floats, place: Place, reach: float) -> tuple[Floats, Place]:
    """The part of `scene` within `reach` radii of a place, as a view to draw into, and the place in its coordinates."""
    far = math.ceil(reach * place.radius)
    left, top = max(0, int(place.x) - far), max(0, int(place.y) - far)
    view = scene[top : int(place.y) + far + 1, left : int(place.x) + far + 1]
    return view, Place(place.x - left, place.y - top, place.radius)


def blend(scene: Floats, cover: Floats, colour: Floats) -> None:
    """Paint `colour` [3] into `scene` [H, W, 3] as far as `cover` [H, W] says, in place."""
    scene += cover[..., None] * (colour - scene)


def fill_mask(outlines: list[Floats], size: tuple[int, ...]) -> Floats:
    """Cover [H, W] in [0, 1] of a shape, drawn at twice the size for smooth edges."""
    sheet = Image.new("L", (2 * size[1], 2 * size[0]))
    for outline, tone in zip(outlines, (255, 0), strict=False):  # the second one, if any, is a hole
        ImageDraw.Draw(sheet).polygon([(2 * x, 2 * y) for x, y in outline.tolist()], fill=tone)
    return np.asarray(sheet.reduce(2), dtype=np.float32) / 255


def stroke_mask(outlines: list[Floats], size: tuple[int, ...], width: float) -> Floats:
    """Cover [H, W] in [0, 1] of the outlines themselves."""
    sheet = Image.new("L", (2 * size[1], 2 * size[0]))
    for outline in outlines:
        points = [(2 * x, 2 * y) for x, y in [*outline.tolist(), *outline[:2].tolist()]]
        ImageDraw.Draw(sheet).line(points, fill=255, width=max(2, round(2 * width)), joint="curve")
    return np.asarray(sheet.reduce(2), dtype=np.float32) / 255
