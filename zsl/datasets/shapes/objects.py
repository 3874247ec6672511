"""The objects of a photo of `shapes`: where they lie, their outlines, colours, patterns and borders."""

from __future__ import annotations

import colorsys
import itertools
import math

import numpy as np
from numpy.random import Generator

from zsl.datasets.shapes.canvas import Floats, Place, blend, fill_mask, pixels, stroke_mask, window
from zsl.datasets.shapes.design import GROUPS

HUES = {  # centre and half width, degrees
    "red": (357, 8),
    "orange": (27, 6),
    "yellow": (53, 6),
    "green": (120, 20),
    "blue": (215, 16),
    "purple": (285, 14),
}


def place_objects(rng: Generator, count: int, size: tuple[int, ...]) -> list[Place]:
    """`count` objects of about one size that hardly overlap and lie almost wholly inside."""
    height, width = size
    radius = min(size) * rng.uniform(0.13, 0.28) / math.sqrt(count) ** 0.8
    while True:
        places = []
        for _ in range(count):
            one_radius = radius * rng.uniform(0.85, 1.15)
            x, y = (rng.uniform(0.9 * one_radius, side - 0.9 * one_radius) for side in (width, height))
            places.append(Place(x, y, one_radius))
        pairs = itertools.combinations(places, 2)
        if all(math.hypot(p.x - q.x, p.y - q.y) > p.radius + q.radius for p, q in pairs):
            return places
        radius *= 0.98  # so that some attempt succeeds


def outlines_of(shape: str) -> list[Floats]:
    """The closed outlines [P, 2] of a shape of radius 1; a second one is a hole."""

    def arc(radius: float, start: float, end: float, points: int) -> Floats:
        angles = np.radians(np.linspace(start, end, points, dtype=np.float32))
        return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def regular(corners: int) -> Floats:
        return arc(1, 0, 360, corners + 1)[:-1]

    match shape:
        case "circle":
            return [0.92 * regular(40)]
        case "square":
            return [1.1 * regular(4)]
        case "triangle":
            return [1.1 * regular(3)]
        case "star":
            return [1.15 * regular(10) * np.where(np.arange(10) % 2, 0.42, 1)[:, None]]
        case "hexagon":
            return [regular(6)]
        case "cross":
            a, b = 0.34, 1.05
            arm = np.array([[a, -b], [a, -a], [b, -a]], dtype=np.float32)
            turn = np.array([[0, 1], [-1, 0]], dtype=np.float32)
            return [np.concatenate([arm @ np.linalg.matrix_power(turn, k) for k in range(4)])]
        case "ring":
            return [regular(40), 0.5 * regular(40)]
        case "crescent":  # the inner arc is of a circle around (0.45, 0) through the outer arc's tips
            inner = arc(0.79, 104, 256, 20)[::-1] + np.array([0.45, 0], dtype=np.float32)
            return [1.1 * np.concatenate([arc(1, 50, 310, 30), inner]) + np.array([0.3, 0], dtype=np.float32)]
    raise ValueError(f"no shape {shape!r}; there are {', '.join(GROUPS['shape'])}")


def _paint(rng: Generator, colour: str) -> Floats:
    """One of the shades [3] that a colour word means."""
    centre, spread = HUES[colour]
    hue = (centre + rng.uniform(-spread, spread)) % 360 / 360
    return np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.6, 0.95), rng.uniform(0.6, 0.95)), dtype=np.float32)


def _second_tone(rng: Generator) -> Floats:
    """Nearly white or nearly black [3]: what patterns and borders are drawn in, for colour words to stay true."""
    return np.float32(rng.choice([0.12, 0.93])) * rng.uniform(0.9, 1.05, 3).astype(np.float32)


def draw_object(
    rng: Generator, scene: Floats, place: Place, shape: str, colour: str, fill: str, *, framed: bool
) -> None:
    """Draw a turned, slanted, patterned shape with its shadow into `scene` [H, W, 3]."""
    scene, place = window(scene, place, 1.8)
    turn, slant = rng.uniform(0, 2 * math.pi), rng.uniform(-0.2, 0.2)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]], dtype=np.float32)
    frame = (rotation @ np.array([[1, slant], [0, rng.uniform(0.8, 1)]], dtype=np.float32)) * place.radius
    outlines: list[Floats] = [outline @ frame + (place.x, place.y) for outline in outlines_of(shape)]
    mask = fill_mask(outlines, scene.shape[:2])
    shift = tuple(int(s) for s in rng.integers(-1, 2, 2) * round(0.1 * place.radius))
    blend(scene, 0.5 * np.roll(mask, shift, axis=(0, 1)), np.zeros(3, dtype=np.float32))
    y, x = pixels(scene.shape[:2])
    back = np.linalg.inv(frame)  # from pixels to the shape's own coordinates
    u = (x - place.x) * back[0, 0] + (y - place.y) * back[1, 0]
    v = (x - place.x) * back[0, 1] + (y - place.y) * back[1, 1]
    blend(scene, mask, _paint(rng, colour) * (1 - 0.12 * u[..., None].clip(-1, 1)))
    if fill != "solid":
        blend(scene, mask * _pattern(rng, fill, u, v), _second_tone(rng))
    if framed:
        blend(scene, stroke_mask(outlines, scene.shape[:2], 0.2 * place.radius), _second_tone(rng))


def _pattern(rng: Generator, fill: str, u: Floats, v: Floats) -> Floats:
    """Cover [H, W] in [0, 1] of a pattern over a shape's own coordinates."""
    step = rng.uniform(0.36, 0.5)
    u, v = u / step + rng.random(), v / step + rng.random()
    if fill == "stripes":
        wave = np.sin(2 * np.pi * u)
    elif fill == "checker":
        wave = np.sin(np.pi * u) * np.sin(np.pi * v)
    else:  # dots
        wave = 0.3 - np.hypot(u - np.round(u), v - np.round(v))
    return (0.5 + 6 * wave).clip(0, 1)
