"""One photo of `shapes`: what the class decides, drawn as the camera decides."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from zsl.datasets.shapes.canvas import Floats, pixels
from zsl.datasets.shapes.clutter import occlude, scatter
from zsl.datasets.shapes.design import GROUPS, Design, ShapesConfig, value_names
from zsl.datasets.shapes.ground import draw_ground
from zsl.datasets.shapes.objects import draw_object, place_objects

GREYSCALE_SHARE = 0.04


@dataclass(frozen=True, kw_only=True)
class Camera:
    """What the photographer, not the class, decides."""

    width: int
    height: int
    greyscale: bool
    exposure: float  # factor on all tones
    cast: Floats  # [3] factor on each channel
    blur: float  # standard deviation, fraction of the image's width
    noise: float  # standard deviation, in tones
    quality: int  # of the JPEG


def image_rng(config: ShapesConfig, class_id: int, image: int) -> Generator:
    """The one source of an image's randomness, so that any image can be drawn again alone."""
    return np.random.default_rng([config.seed, class_id, image])


def sample_camera(rng: Generator, config: ShapesConfig) -> Camera:
    """The first draws of an image's stream, so that they can be known without drawing the image."""
    return Camera(
        width=round(config.image_size * rng.uniform(0.94, 1.12)),
        height=round(config.image_size * rng.uniform(0.94, 1.12)),
        greyscale=bool(rng.random() < GREYSCALE_SHARE),
        exposure=rng.uniform(0.5, 1.35),
        cast=rng.uniform(0.8, 1.2, 3).astype(np.float32),
        blur=rng.uniform(0, 0.008),
        noise=rng.uniform(0.01, 0.09),
        quality=int(rng.integers(55, 93)),
    )


def draw_jpeg(design: Design, class_id: int, image: int, config: ShapesConfig) -> bytes:
    """The bytes of photo `image` of a class."""
    rng = image_rng(config, class_id, image)
    camera = sample_camera(rng, config)
    shape, colour, fill, count, border, ground = value_names(design.combos[class_id])
    scene = draw_ground(rng, ground, (camera.height, camera.width))
    scatter(rng, scene, number=int(rng.integers(3, 13)))
    for place in place_objects(rng, 1 + GROUPS["count"].index(count), scene.shape[:2]):
        draw_object(rng, scene, place, shape, colour, fill, framed=border == "framed")
    if rng.random() < 0.5:
        occlude(rng, scene)
    buffer = io.BytesIO()
    _develop(rng, scene, camera).save(buffer, format="JPEG", quality=camera.quality)
    return buffer.getvalue()


def _develop(rng: Generator, scene: Floats, camera: Camera) -> Image.Image:
    """Light the scene [H, W, 3] from one side, then expose, blur and add noise."""
    y, x = pixels(scene.shape[:2])
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.9)
    across = (x / camera.width - 0.5) * math.cos(angle) + (y / camera.height - 0.5) * math.sin(angle)
    scene *= (255 * camera.exposure * (1 + strength * across))[..., None]
    scene *= camera.cast
    lit = Image.fromarray(scene.clip(0, 255).astype(np.uint8))
    soft = np.asarray(lit.filter(ImageFilter.GaussianBlur(camera.blur * camera.width)), dtype=np.float32)
    grain = rng.standard_normal(scene.shape[:2], dtype=np.float32)[..., None] * (255 * camera.noise)
    photo = Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))
    return photo.convert("L") if camera.greyscale else photo
