"""Ask a finished run for the classes of photos.

python examples/predict.py --run runs/quickstart --photos data/shapes/raw/images      # after `make quickstart`
"""

from __future__ import annotations

from pathlib import Path

import tyro

import zsl
from zsl.predict import Answer, Limits, Unread, find_photos


def main(run: Path, photos: tuple[str, ...], weights: tuple[Path, ...] = ()) -> list[Answer]:
    """Print the likeliest class of each photo.

    Args:
        run: folder of a run, or of an export.
        photos: files, folders or patterns.
        weights: file of the backbone's weights, if they were not published.
    """
    reader = zsl.open_reader(run, weights=weights, top=3)
    answers = []
    for answer in reader.read(find_photos(photos), Limits(), batch_size=32):
        if isinstance(answer, Unread):
            print(f"{answer.photo}: {answer.reason}")
            continue
        best = answer.classes[0]
        print(f"{answer.photo}: {best.name} ({best.kind})")
        answers.append(answer)
    return answers


if __name__ == "__main__":
    tyro.cli(main)
