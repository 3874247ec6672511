"""A study of one fine-tuned backbone on the tiny drawn benchmark."""

from __future__ import annotations

import shutil
from pathlib import Path

from zsl.experiments.study_plan import Study, names_of


def study_of_weights(entry: str, tiny_shapes: Path, folder: Path) -> Study:
    """A study of ESZSL on features of the entry (`NAME@FILE`), with shards and splits copied to its own folder."""
    for part in ("shards", "splits"):
        shutil.copytree(tiny_shapes / "shapes" / part, folder / "shapes" / part)
    return Study(
        benchmark="shapes",
        entries=names_of([entry]),
        methods=("eszsl",),
        seeds=(0,),
        folder=folder / "study",
        data=folder,
    )
