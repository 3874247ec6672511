"""The folder of `shapes` in the layout of a real benchmark: photos, `att_splits.mat` and the class lists."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from zsl.common.files import write_text
from zsl.datasets.held_out import TEST_SEEN_SHARE, hold_out
from zsl.datasets.official_files import write_class_lists, write_split_file
from zsl.datasets.shapes.design import ATTRIBUTES, DEFAULT, Design, Ints, ShapesConfig, annotate, make_design
from zsl.datasets.shapes.photo import draw_jpeg

SPLIT_STREAM = 1 << 31  # first word of the random numbers of the split


def write_shapes(folder: Path, config: ShapesConfig = DEFAULT) -> None:
    """Draw the benchmark into `folder`: `images/`, `att_splits.mat`, the class lists and `attributes.txt`.

    Raises:
        FileExistsError: the folder exists.
        ValueError: the configuration has too few classes or images, or more classes than there are combinations.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; remove it or name another folder to draw shapes into")
    design = make_design(config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        draft = Path(scratch) / folder.name
        _write_photos(draft / "images", design, config)
        write_class_lists(draft, design.names, design.seen, design.unseen, design.validation)
        write_text(draft / "attributes.txt", "".join(f"{i} {name}\n" for i, name in enumerate(ATTRIBUTES, start=1)))
        parts = {part: rows - 1 for part, rows in split_rows(design, config).items()}
        write_split_file(draft / "att_splits.mat", design.names, annotate(design, config), parts, "shapes")
        draft.rename(folder)


def _write_photos(images: Path, design: Design, config: ShapesConfig) -> None:
    """Draw all photos, `images/<class>/<class>_<number>.jpg`."""
    for class_id, name in enumerate(design.names):
        (images / name).mkdir(parents=True)
        for image in range(config.images_per_class):
            jpeg = draw_jpeg(design, class_id, image, config)
            (images / name / f"{name}_{image + 1:04d}.jpg").write_bytes(jpeg)


def split_rows(design: Design, config: ShapesConfig) -> dict[str, Ints]:
    """1-based rows of each part, sorted.  Row order is that of the sorted relative paths, that is, of class names."""
    by_name = sorted(range(len(design.names)), key=design.names.__getitem__)
    labels = np.repeat(by_name, config.images_per_class)  # [N] in row order
    seen_rows = np.flatnonzero(np.isin(labels, design.seen))

    def generator(class_id: int) -> np.random.Generator:
        return np.random.default_rng([SPLIT_STREAM, config.seed, class_id])

    test_seen = seen_rows[hold_out(labels[seen_rows], TEST_SEEN_SHARE, generator)]
    return {
        "trainval_loc": np.setdiff1d(seen_rows, test_seen) + 1,
        "test_seen_loc": test_seen + 1,
        "test_unseen_loc": np.flatnonzero(np.isin(labels, design.unseen)) + 1,
    }
