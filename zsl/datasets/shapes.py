"""A configuration and a folder in; out: an embedded benchmark of drawn photos in the layout of a real one.

A class is one value of each attribute group (two red striped stars, framed, on bricks, say); unseen classes are new
combinations of values that seen classes have.  Nothing is downloaded, and equal configurations give equal bytes.

Letters: `H, W` pixels, `C` classes, `A` attributes, `G` groups, `N` images.  Colours and tones are in [0, 1].
"""

from __future__ import annotations

import colorsys
import io
import itertools
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]

GROUPS: dict[str, tuple[str, ...]] = {
    "shape": ("circle", "square", "triangle", "star", "hexagon", "cross", "ring", "crescent"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple"),
    "fill": ("solid", "stripes", "dots", "checker"),
    "count": ("one", "two", "three"),
    "border": ("bare", "framed"),
    "ground": ("plain", "bricks", "planks", "waves"),
}
ATTRIBUTES = tuple(f"{group}::{value}" for group, values in GROUPS.items() for value in values)  # [A]
GREYSCALE_SHARE = 0.04
TEST_SEEN_SHARE = 0.2
VALIDATION_SHARE = 0.28  # of the seen classes; below 1/3, so that three folds are disjoint
FOLDS = 3

# First words of the random streams that belong to no image; an image's is [seed, class, image].
DESIGN_STREAM, SPLIT_STREAM = 1 << 30, 1 << 31


@dataclass(frozen=True, kw_only=True)
class ShapesConfig:
    """What is drawn; the classes, their attributes and the splits follow from the seed."""

    seed: int = 0
    seen_classes: int = 26
    unseen_classes: int = 8
    images_per_class: int = 40
    image_size: int = 256  # pixels; each side of each image is 0.94 to 1.12 times this


# --- the classes -----------------------------------------------------------------------------------------------------


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
        return ["_".join(_values(combo)) for combo in self.combos]

    @property
    def indicators(self) -> Ints:
        """[C, A], 1 where the class has the attribute."""
        return _indicators(self.combos)


def make_design(config: ShapesConfig) -> Design:
    """Choose the classes, mix seen and unseen ones in the class order (as real benchmarks do), and choose the folds."""
    if config.seen_classes < FOLDS or config.unseen_classes < 1 or config.images_per_class < 2:
        raise ValueError(f"shapes needs at least 3 seen classes, 1 unseen class and 2 images a class; got {config}")
    rng = np.random.default_rng([DESIGN_STREAM, config.seed])
    grid = rng.permutation(list(itertools.product(*(range(len(values)) for values in GROUPS.values()))))
    seen = _choose_combos(grid, config.seen_classes, apart_from=grid[:0], related=False)
    known = _indicators(seen).any(axis=0)
    new = _choose_combos(grid[_indicators(grid) @ ~known == 0], config.unseen_classes, apart_from=seen, related=True)
    order = rng.permutation(config.seen_classes + config.unseen_classes)
    seen_ids = np.flatnonzero(order < config.seen_classes)
    return Design(
        combos=np.concatenate([seen, new])[order],
        seen=seen_ids,
        unseen=np.flatnonzero(order >= config.seen_classes),
        validation=_choose_folds(rng, seen_ids, _indicators(seen)[order[seen_ids]]),
    )


def _values(combo: Ints) -> list[str]:
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


# --- the files -------------------------------------------------------------------------------------------------------


def write_shapes(folder: Path, config: ShapesConfig = ShapesConfig()) -> None:
    """Draw the benchmark into `folder` in the layout of a real one: `images/`, `att_splits.mat` and the class lists."""
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; remove it or name another folder to draw shapes into")
    design = make_design(config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        draft = Path(scratch) / folder.name
        for class_id, name in enumerate(design.names):
            (draft / "images" / name).mkdir(parents=True)
            for image in range(config.images_per_class):
                path = draft / "images" / name / f"{name}_{image + 1:04d}.jpg"
                path.write_bytes(draw_jpeg(design, class_id, image, config))
        _write_lists(draft, design)
        _write_mat(draft / "att_splits.mat", design, config)
        draft.rename(folder)


def split_rows(design: Design, config: ShapesConfig) -> dict[str, Ints]:
    """1-based rows of each split, sorted.  Row order is that of the sorted relative paths, that is, of class names."""
    n = config.images_per_class
    held_out = max(1, round(TEST_SEEN_SHARE * n))
    rows: dict[str, list[Ints]] = {"trainval_loc": [], "test_seen_loc": [], "test_unseen_loc": []}
    for position, class_id in enumerate(sorted(range(len(design.names)), key=design.names.__getitem__)):
        mine = position * n + 1 + np.random.default_rng([SPLIT_STREAM, config.seed, class_id]).permutation(n)
        if class_id in design.unseen:
            rows["test_unseen_loc"].append(mine)
        else:
            rows["test_seen_loc"].append(mine[:held_out])
            rows["trainval_loc"].append(mine[held_out:])
    return {name: np.sort(np.concatenate(parts)) for name, parts in rows.items()}


def _write_mat(path: Path, design: Design, config: ShapesConfig) -> None:
    """`att_splits.mat` in the official form, without `train_loc` and `val_loc`, which no one should use."""
    original_att = annotate(design, config)
    buffer = io.BytesIO()
    scipy.io.savemat(
        buffer,
        {
            "allclasses_names": np.array(design.names, dtype=object)[:, None],
            "original_att": original_att,
            "att": original_att / np.linalg.norm(original_att, axis=0),
            **{name: rows[:, None].astype(np.uint32) for name, rows in split_rows(design, config).items()},
        },
    )
    # The format opens with 116 bytes of text, where scipy writes the time of day: equal input must give equal bytes.
    path.write_bytes(b"MATLAB 5.0 MAT-file, shapes".ljust(116) + buffer.getvalue()[116:])


def _write_lists(folder: Path, design: Design) -> None:
    names = design.names
    lists = {"allclasses": np.arange(len(names)), "trainvalclasses": design.seen, "testclasses": design.unseen}
    for fold, validation in enumerate(design.validation, start=1):
        lists |= {f"trainclasses{fold}": np.setdiff1d(design.seen, validation), f"valclasses{fold}": validation}
    for title, ids in lists.items():
        (folder / f"{title}.txt").write_text("".join(f"{names[i]}\n" for i in ids))
    (folder / "attributes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(ATTRIBUTES, start=1)))


# --- one photo -------------------------------------------------------------------------------------------------------


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
    shape, colour, fill, count, border, ground = _values(design.combos[class_id])
    scene = _draw_ground(rng, ground, camera)
    _scatter(rng, scene, number=int(rng.integers(3, 13)))
    for place in _place(rng, 1 + GROUPS["count"].index(count), scene.shape[:2]):
        _draw_object(rng, scene, place, shape, colour, fill, framed=border == "framed")
    if rng.random() < 0.5:
        _occlude(rng, scene)
    buffer = io.BytesIO()
    _develop(rng, scene, camera).save(buffer, format="JPEG", quality=camera.quality)
    return buffer.getvalue()


def _develop(rng: Generator, scene: Floats, camera: Camera) -> Image.Image:
    """Light the scene [H, W, 3] from one side, then expose, blur and add noise."""
    y, x = _pixels(scene.shape[:2])
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.9)
    across = (x / camera.width - 0.5) * math.cos(angle) + (y / camera.height - 0.5) * math.sin(angle)
    scene *= (255 * camera.exposure * (1 + strength * across))[..., None]
    scene *= camera.cast
    lit = Image.fromarray(scene.clip(0, 255).astype(np.uint8))
    soft = np.asarray(lit.filter(ImageFilter.GaussianBlur(camera.blur * camera.width)), dtype=np.float32)
    grain = rng.standard_normal(scene.shape[:2], dtype=np.float32)[..., None] * (255 * camera.noise)
    photo = Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))
    return photo.convert("L") if camera.greyscale else photo


def _pixels(size: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Row and column [H, 1], [1, W] of each pixel's centre."""
    return np.arange(size[0], dtype=np.float32)[:, None] + 0.5, np.arange(size[1], dtype=np.float32)[None] + 0.5


def _clouds(rng: Generator, size: tuple[int, ...], cells: int) -> Floats:
    """Smooth noise [H, W] in [0, 1] with about `cells` blobs across."""
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC))


# --- background ------------------------------------------------------------------------------------------------------


def _draw_ground(rng: Generator, ground: str, camera: Camera) -> Floats:
    """A textured background [H, W, 3] of any muted colour, so that its colour says nothing of the class."""
    size = camera.height, camera.width
    y, x = _pixels(size)
    angle, cell = rng.uniform(-0.35, 0.35), camera.width * rng.uniform(0.09, 0.17)
    u = (x * math.cos(angle) + y * math.sin(angle)) / cell + rng.uniform(0, 9)
    v = (y * math.cos(angle) - x * math.sin(angle)) / cell + rng.uniform(0, 9)
    tone = TEXTURES[ground](u, v, _clouds(rng, size, 9)) + 0.3 * _clouds(rng, size, 4)
    colour = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.05, 0.35), rng.uniform(0.4, 0.85))
    base = np.array(colour, dtype=np.float32)
    return (base * (0.75 + rng.uniform(0.12, 0.5) * (tone[..., None] - 0.5))).clip(0, 1)


def _plain(u: Floats, v: Floats, clouds: Floats) -> Floats:
    return 0.4 + 0.3 * clouds


def _bricks(u: Floats, v: Floats, clouds: Floats) -> Floats:
    """Rows of bricks with light mortar, every second row half a brick further, each brick of its own tone."""
    row = np.floor(v)
    along = u / 2 + 0.5 * (row % 2)
    mortar = np.minimum(_edge(v, 0.07), _edge(along, 0.04))
    return np.where(mortar < 1, 1.3 - 0.3 * mortar, 0.2 + 0.6 * _own_tone(np.floor(along), row)) - 0.2 * clouds


def _planks(u: Floats, v: Floats, clouds: Floats) -> Floats:
    """Long boards with dark gaps and grain along them."""
    board = np.floor(v)
    grain = 0.15 * np.sin(25 * v + 6 * clouds + 0.6 * u)
    return (0.4 + 0.6 * _own_tone(0 * u, board) + grain) * _edge(v, 0.06)


def _waves(u: Floats, v: Floats, clouds: Floats) -> Floats:
    """Ripples bent by slow noise."""
    return 0.5 + 0.5 * np.sin(5 * v + 9 * clouds + 0.8 * np.sin(1.3 * u))


def _edge(t: Floats, width: float) -> Floats:
    """0 at whole numbers of `t`, rising to 1 at `width` from them."""
    return np.minimum(np.abs(t - np.round(t)) / width, 1)


def _own_tone(column: Floats, row: Floats) -> Floats:
    """A value in [0, 1) that is constant in a cell and irregular from cell to cell."""
    return np.mod(np.sin(column * 12.9898 + row * 78.233) * 437.58, 1)


TEXTURES: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "plain": _plain,
    "bricks": _bricks,
    "planks": _planks,
    "waves": _waves,
}


# --- objects ---------------------------------------------------------------------------------------------------------

HUES = {  # centre and half width, degrees
    "red": (357, 8),
    "orange": (27, 6),
    "yellow": (53, 6),
    "green": (120, 20),
    "blue": (215, 16),
    "purple": (285, 14),
}


@dataclass(frozen=True)
class Place:
    """Where an object lies, in pixels."""

    x: float
    y: float
    radius: float


def _place(rng: Generator, count: int, size: tuple[int, ...]) -> list[Place]:
    """`count` objects of about one size that hardly overlap and lie almost wholly inside."""
    height, width = size
    radius = min(size) * rng.uniform(0.13, 0.28) / math.sqrt(count) ** 0.8
    while True:
        places = []
        for _ in range(count):
            own = radius * rng.uniform(0.85, 1.15)
            x, y = (rng.uniform(0.9 * own, side - 0.9 * own) for side in (width, height))
            places.append(Place(x, y, own))
        pairs = itertools.combinations(places, 2)
        if all(math.hypot(p.x - q.x, p.y - q.y) > p.radius + q.radius for p, q in pairs):
            return places
        radius *= 0.98  # so that some attempt succeeds


def _outlines(shape: str) -> list[Floats]:
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


def _draw_object(
    rng: Generator, scene: Floats, place: Place, shape: str, colour: str, fill: str, *, framed: bool
) -> None:
    """Draw a turned, slanted, patterned shape with its shadow into `scene` [H, W, 3]."""
    scene, place = _window(scene, place, 1.8)
    turn, slant = rng.uniform(0, 2 * math.pi), rng.uniform(-0.2, 0.2)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]], dtype=np.float32)
    frame = (rotation @ np.array([[1, slant], [0, rng.uniform(0.8, 1)]], dtype=np.float32)) * place.radius
    outlines: list[Floats] = [outline @ frame + (place.x, place.y) for outline in _outlines(shape)]
    mask = _mask(outlines, scene.shape[:2])
    shift = tuple(int(s) for s in rng.integers(-1, 2, 2) * round(0.1 * place.radius))
    _blend(scene, 0.5 * np.roll(mask, shift, axis=(0, 1)), np.zeros(3, dtype=np.float32))
    y, x = _pixels(scene.shape[:2])
    back = np.linalg.inv(frame)  # from pixels to the shape's own coordinates
    u = (x - place.x) * back[0, 0] + (y - place.y) * back[1, 0]
    v = (x - place.x) * back[0, 1] + (y - place.y) * back[1, 1]
    _blend(scene, mask, _paint(rng, colour) * (1 - 0.12 * u[..., None].clip(-1, 1)))
    if fill != "solid":
        _blend(scene, mask * _pattern(rng, fill, u, v), _second_tone(rng))
    if framed:
        _blend(scene, _stroke(outlines, scene.shape[:2], 0.2 * place.radius), _second_tone(rng))


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


def _window(scene: Floats, place: Place, reach: float) -> tuple[Floats, Place]:
    """The part of `scene` within `reach` radii of a place, as a view to draw into, and the place in its coordinates."""
    far = math.ceil(reach * place.radius)
    left, top = max(0, int(place.x) - far), max(0, int(place.y) - far)
    view = scene[top : int(place.y) + far + 1, left : int(place.x) + far + 1]
    return view, Place(place.x - left, place.y - top, place.radius)


def _blend(scene: Floats, cover: Floats, colour: Floats) -> None:
    scene += cover[..., None] * (colour - scene)


def _mask(outlines: list[Floats], size: tuple[int, ...]) -> Floats:
    """Cover [H, W] in [0, 1] of a shape, drawn at twice the size for smooth edges."""
    sheet = Image.new("L", (2 * size[1], 2 * size[0]))
    for outline, tone in zip(outlines, (255, 0), strict=False):  # the second one, if any, is a hole
        ImageDraw.Draw(sheet).polygon([(2 * x, 2 * y) for x, y in outline.tolist()], fill=tone)
    return np.asarray(sheet.reduce(2), dtype=np.float32) / 255


def _stroke(outlines: list[Floats], size: tuple[int, ...], width: float) -> Floats:
    """Cover [H, W] in [0, 1] of the outlines themselves."""
    sheet = Image.new("L", (2 * size[1], 2 * size[0]))
    for outline in outlines:
        points = [(2 * x, 2 * y) for x, y in [*outline.tolist(), *outline[:2].tolist()]]
        ImageDraw.Draw(sheet).line(points, fill=255, width=max(2, round(2 * width)), joint="curve")
    return np.asarray(sheet.reduce(2), dtype=np.float32) / 255


# --- clutter ---------------------------------------------------------------------------------------------------------


def _scatter(rng: Generator, scene: Floats, number: int) -> None:
    """Small shapes and lines of any colour that belong to no class."""
    height, width = scene.shape[:2]
    for _ in range(number):
        radius = min(height, width) * rng.uniform(0.02, 0.06)
        place = Place(rng.uniform(0, width), rng.uniform(0, height), radius)
        if rng.random() < 0.5:
            view, place = _window(scene, place, 1.5)
            outline = _outlines(str(rng.choice(GROUPS["shape"])))[0] * radius + (place.x, place.y)
            cover = _mask([outline], view.shape[:2])
        else:
            view, place = _window(scene, place, 4)
            ends = np.array([place.x, place.y]) + rng.uniform(-3 * radius, 3 * radius, (2, 2))
            cover = _stroke([ends], view.shape[:2], 0.15 * radius)
        _blend(view, 0.85 * cover, rng.random(3).astype(np.float32))


def _occlude(rng: Generator, scene: Floats) -> None:
    """A twig across the photo."""
    height, width = scene.shape[:2]
    ends = np.stack([rng.uniform(0, (width, height)), rng.uniform(0, (width, height))])
    cover = _stroke([ends], (height, width), rng.uniform(0.015, 0.04) * width)
    _blend(scene, cover, np.array([0.3, 0.25, 0.2], dtype=np.float32) * np.float32(rng.uniform(0.6, 1.6)))
