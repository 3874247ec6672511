"""Predict the classes of photos with the models of a run: seen, unseen, and new classes given by their attributes.

    python scripts/predict.py --run runs/cub photos/ bird.jpg 'more/*.png'
    python scripts/predict.py --run runs/cub --classes new.csv bird.jpg --json
    python scripts/predict.py --run runs/cub --export exported        # then: --run exported, without runs/ or data/

The script names unreadable photos on stderr and skips them; the exit code is then 1.  docs/predict.md explains the
numbers.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from zsl.cli import run_script
from zsl.common.hub import address_of, local_folder
from zsl.common.ranges import Whole
from zsl.predict.answers import PROBABILITIES, as_text
from zsl.predict.photos import Limits, Unread, find_photos, printable


@dataclass(frozen=True, kw_only=True)
class Args:
    """Predict the classes of photos."""

    photos: Positional[tuple[str, ...]] = ()  # files, folders or patterns
    run: Path = tyro.MISSING  # folder of a run, or a folder that --export made, or hf://OWNER/NAME
    seeds: tuple[Whole, ...] = ()  # seeds of the run to average; default: all
    classes: Path | None = None  # table of new classes: class,<attribute>,<attribute>,… as in attributes.csv
    top: int = 5  # number of classes to show for each photo
    strongest: int = 5  # number of attributes to show for the first class, and number against it
    json: bool = False  # print JSON instead of a table
    export: Path | None = None  # write the backbone and the models, with the new classes, to this folder
    weights: tuple[Path, ...] = ()  # weights file of the backbone, or of each joined one, if it was not published
    within: Path | None = None  # read no photo outside this folder
    batch_size: int = 32  # photos that the backbone encodes at a time
    limits: Annotated[Limits, arg(name="")] = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in ("top", "strongest", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it should be 1 or more")


def main(args: Args) -> None:
    """Print an answer for each photo."""
    from zsl.predict.encoders import export
    from zsl.predict.reader import open_reader

    if not (args.photos or args.export):
        taken = "; --weights takes all files after it, so photos come before it" if len(args.weights) > 1 else ""
        raise ValueError(f"no photo given; name files, folders or patterns{taken}")
    if args.within is not None and not args.within.is_dir():
        raise ValueError(f"--within {args.within} is no folder")
    run = local_folder(args.run)
    reader = open_reader(
        run, args.seeds, classes=args.classes, weights=args.weights, top=args.top, strongest=args.strongest
    )
    if reader.adding_took is not None:
        added = len(reader.predictor.facts.new_classes)
        print(f"{args.classes}: {added} classes are new; adding them took {reader.adding_took:.1f} s", file=sys.stderr)
    if args.export:
        export(reader.predictor, args.export, run, args.weights)
        print(f"{args.export}: {len(reader.predictor.class_names)} classes", file=sys.stderr)
    answers, unread, count = [], [], 0
    for result in reader.read(find_photos(args.photos, args.within), args.limits, args.batch_size):
        if isinstance(result, Unread):
            unread.append(result)
            print(printable(f"{result.photo}: {result.reason}"), file=sys.stderr)
        elif args.json:
            answers.append(asdict(result))
        else:
            count += 1
            print(as_text(result))
    if args.json:
        failed = [asdict(item) for item in unread]
        run_name = address_of(args.run)
        print(json.dumps({"run": run_name, "probabilities": PROBABILITIES, "photos": answers, "failed": failed}))
    elif count:
        print(f"per cent: {PROBABILITIES}\nlead: what the space gives the first class minus what it gives the second")
    sys.exit(bool(unread))


if __name__ == "__main__":
    run_script(main, Args)
