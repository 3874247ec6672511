"""What a photo of `shapes` holds beside its class: small shapes, lines, a twig."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from zsl.datasets.shapes.canvas import Floats, Place, blend, fill_mask, stroke_mask, window
from zsl.datasets.shapes.design import GROUPS
from zsl.datasets.shapes.objects import outlines_of


def scatter(rng: Generator, scene: Floats, number: int) -> None:
    """Small shapes and lines of any colour that belong to no class."""
    height, width = scene.shape[:2]
    for _ in range(number):
        radius = min(height, width) * rng.uniform(0.02, 0.06)
        place = Place(rng.uniform(0, width), rng.uniform(0, height), radius)
        if rng.random() < 0.5:
            view, place = window(scene, place, 1.5)
            outline = outlines_of(str(rng.choice(GROUPS["shape"])))[0] * radius + (place.x, place.y)
            cover = fill_mask([outline], view.shape[:2])
        else:
            view, place = window(scene, place, 4)
            ends = np.array([place.x, place.y]) + rng.uniform(-3 * radius, 3 * radius, (2, 2))
            cover = stroke_mask([ends], view.shape[:2], 0.15 * radius)
        blend(view, 0.85 * cover, rng.random(3).astype(np.float32))


def occlude(rng: Generator, scene: Floats) -> None:
    """A twig across the photo."""
    height, width = scene.shape[:2]
    ends = np.stack([rng.uniform(0, (width, height)), rng.uniform(0, (width, height))])
    cover = stroke_mask([ends], (height, width), rng.uniform(0.015, 0.04) * width)
    blend(scene, cover, np.array([0.3, 0.25, 0.2], dtype=np.float32) * np.float32(rng.uniform(0.6, 1.6)))
