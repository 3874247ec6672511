"""From photos to answers, with the backbones that gave the run its features."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor

from backbones import Backbone
from zsl.common.compute import Precision, make_accelerator
from zsl.datasets.attribute_table import AttributeTable, read_attributes
from zsl.predict.answers import Answer
from zsl.predict.encoders import open_backbones
from zsl.predict.explain import explain
from zsl.predict.new_classes import add_classes
from zsl.predict.photos import Limits, Unread, read_file
from zsl.predict.predictor import Predictor, load_predictor, score

Inputs = tuple[Tensor, ...]  # what each backbone takes of one photo: uint8 [3, H, W] or [5, 3, H, W]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reader:
    """All that turns a photo's pixels into its Answer."""

    predictor: Predictor
    backbones: tuple[Backbone, ...]  # one, or several whose features are side by side
    accelerator: Accelerator  # device and precision of the backbones; the heads are on the CPU
    top: int = 5  # classes of an answer
    strongest: int = 5  # attributes that speak for the class, and as many against it
    adding_took: float | None = None  # seconds that adding classes took; None: none were added

    def inputs(self, image: Tensor) -> Inputs:
        """What each backbone's transform makes of one photo, uint8 [3, h, w]."""
        return tuple(backbone.transform(image) for backbone in self.backbones)

    def features(self, inputs: list[Inputs]) -> Tensor:
        """Features [N, D] of N photos, each backbone's beside the other's; `inputs` are those of each photo."""
        blocks = []
        for backbone, images in zip(self.backbones, zip(*inputs, strict=True), strict=True):
            backbone.encoder.to(self.accelerator.device)
            with torch.inference_mode(), self.accelerator.autocast():
                blocks.append(backbone.encode(torch.stack(images).to(self.accelerator.device)).float().cpu())
        return torch.cat(blocks, dim=1)

    def answers(self, inputs: list[Inputs], names: list[str], notes: list[tuple[str, ...]]) -> list[Answer]:
        """Answers for photos, which `inputs` has turned into the backbones' inputs, with their names and notes."""
        scored = score(self.predictor, self.features(inputs))
        return [
            explain(self.predictor, scored, row, name, of_photo, top=self.top, number=self.strongest)
            for row, (name, of_photo) in enumerate(zip(names, notes, strict=True))
        ]

    def read(self, photos: Iterable[Path | Unread], limits: Limits, batch_size: int) -> Iterator[Answer | Unread]:
        """Answers of files in their order; a file that gives no answer gives an Unread."""
        remaining = iter(photos)
        while batch := tuple(islice(remaining, batch_size)):
            yield from self._read_batch(batch, limits)

    def _read_batch(self, batch: Sequence[Path | Unread], limits: Limits) -> list[Answer | Unread]:
        pictures = [self._picture(photo, limits) for photo in batch]
        readable = [picture for picture in pictures if isinstance(picture, _Picture)]
        inputs, names, notes = ([getattr(one, key) for one in readable] for key in ("inputs", "name", "notes"))
        answers = iter(self.answers(inputs, names, notes) if readable else ())
        return [picture if isinstance(picture, Unread) else next(answers) for picture in pictures]

    def _picture(self, photo: Path | Unread, limits: Limits) -> _Picture | Unread:
        """A photo, small already before the next one is decoded; an Unread says why it cannot be read."""
        if isinstance(photo, Unread):
            return photo
        try:
            image, notes = read_file(photo, limits)
            return _Picture(name=str(photo), inputs=self.inputs(image), notes=notes)
        except (ValueError, OSError) as error:
            return Unread(str(photo), str(error))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Picture:
    name: str
    inputs: Inputs
    notes: tuple[str, ...]


def open_reader(
    run: Path,
    seeds: Sequence[int] = (),
    *,
    classes: Path | None = None,
    weights: Sequence[Path] = (),
    top: int = 5,
    strongest: int = 5,
) -> Reader:
    """The Reader of a run, or of an export.

    seeds: those whose models answer; () for all.  classes: a table of new classes.  weights: the backbones', where the
    run cannot name them.

    Raises:
        ValueError, FileNotFoundError: as `load_predictor`, `add_classes` and `open_backbones`.
    """
    predictor = load_predictor(run, seeds)
    opened = open_backbones(predictor, run, weights)
    accelerator = make_accelerator(cast(Precision, predictor.facts.backbone.precision))
    reader = Reader(predictor=predictor, backbones=opened, accelerator=accelerator, top=top, strongest=strongest)
    return reader if classes is None else with_classes(reader, read_attributes(classes, at_least=1))


def with_classes(reader: Reader, table: AttributeTable) -> Reader:
    """The reader with the classes of `table` added, and the seconds that this took.

    Raises:
        ValueError: as `add_classes`.
    """
    start = time.perf_counter()
    extended = add_classes(reader.predictor, table)
    return replace(reader, predictor=extended, adding_took=time.perf_counter() - start)
