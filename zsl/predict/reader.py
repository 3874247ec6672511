"""From photos to answers, with the backbone that gave the run its features."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor

from backbones import Backbone, EncodeOptions, Transform, export_manifest, load_backbone, weight_tensors
from backbones.tuned import photos_metadata, read_tuned_photos
from zsl.common.compute import Precision, make_accelerator
from zsl.common.tensors import write_tensors
from zsl.datasets.attribute_table import AttributeTable, read_attributes
from zsl.dcrgan.saved import BACKBONE_FILE, BackboneFacts
from zsl.features.manifest import EncodeFacts, TransformFacts
from zsl.predict.answers import Answer
from zsl.predict.explain import explain
from zsl.predict.new_classes import add_classes
from zsl.predict.photos import Limits, Unread, read_file
from zsl.predict.predictor import Predictor, load_predictor, save_predictor, score


@dataclass(frozen=True, kw_only=True, eq=False)
class Reader:
    """All that turns a photo's pixels into its Answer."""

    predictor: Predictor
    backbone: Backbone
    accelerator: Accelerator  # device and precision of the backbone; the heads are on the CPU
    top: int = 5  # classes of an answer
    strongest: int = 5  # attributes that speak for the class, and as many against it
    adding_took: float | None = None  # seconds that adding classes took; None: none were added

    def features(self, inputs: list[Tensor]) -> Tensor:
        """Features [N, D] of N photos, which the backbone's transform has turned into `inputs`."""
        self.backbone.encoder.to(self.accelerator.device)
        with torch.inference_mode(), self.accelerator.autocast():
            return self.backbone.encode(torch.stack(inputs).to(self.accelerator.device)).float().cpu()

    def answers(self, inputs: list[Tensor], names: list[str], notes: list[tuple[str, ...]]) -> list[Answer]:
        """Answers for photos, which the backbone's transform has turned into `inputs`, with their names and notes."""
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
            return _Picture(name=str(photo), inputs=self.backbone.transform(image), notes=notes)
        except (ValueError, OSError) as error:
            return Unread(str(photo), str(error))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Picture:
    name: str
    inputs: Tensor  # of the backbone
    notes: tuple[str, ...]


def open_reader(
    run: Path,
    seeds: Sequence[int] = (),
    *,
    classes: Path | None = None,
    weights: Path | None = None,
    top: int = 5,
    strongest: int = 5,
) -> Reader:
    """The Reader of a run, or of an export.

    seeds: those whose models answer; () for all.  classes: a table of new classes.  weights: the backbone's, where the
    run cannot name them.

    Raises:
        ValueError, FileNotFoundError: as `load_predictor`, `add_classes` and `open_backbone`.
    """
    predictor = load_predictor(run, seeds)
    backbone = open_backbone(predictor, run, weights)
    accelerator = make_accelerator(cast(Precision, predictor.facts.backbone.precision))
    reader = Reader(predictor=predictor, backbone=backbone, accelerator=accelerator, top=top, strongest=strongest)
    return reader if classes is None else with_classes(reader, read_attributes(classes, at_least=1))


def with_classes(reader: Reader, table: AttributeTable) -> Reader:
    """The reader with the classes of `table` added, and the seconds that this took.

    Raises:
        ValueError: as `add_classes`.
    """
    start = time.perf_counter()
    extended = add_classes(reader.predictor, table)
    return replace(reader, predictor=extended, adding_took=time.perf_counter() - start)


# --- backbone --------------------------------------------------------------------------------------------------------


def open_backbone(predictor: Predictor, folder: Path, weights: Path | None = None) -> Backbone:
    """The backbone that gave the run its features.

    Its weights are those of the file `weights`, or of the export in `folder`, or those that its name stands for.

    Raises:
        ValueError: the features came from no backbone, or these are other weights.
        FileNotFoundError: the weights cannot be had.
    """
    facts = predictor.facts.backbone
    if facts.transform is None:
        raise ValueError(f"the features of {folder} were imported ({facts.name}); no backbone here makes them")
    exported = folder / BACKBONE_FILE
    name = _architecture(predictor, has_file=weights is not None or exported.is_file())
    backbone = load_backbone(name, weights or (exported if exported.is_file() else None), _options(facts))
    if backbone.weights_sha256 != facts.weights_sha256:
        raise ValueError(
            f"the features of {folder} were made with weights {str(facts.weights_sha256)[:8]}, these of {name} are "
            f"{backbone.weights_sha256[:8]}; name the right file by --weights"
        )
    transform = _transform(facts.transform)
    return replace(backbone, name=facts.name, pretraining=facts.pretraining, transform=transform)


def _transform(facts: TransformFacts) -> Transform:
    """The transform that a manifest describes."""
    fields = {key: value for key, value in vars(facts).items() if key not in ("crop", "decoder")}
    return Transform(**fields)


def _architecture(predictor: Predictor, has_file: bool) -> str:
    """The name that loads the model: the manifest's without the parts that options and a file of weights add.

    has_file: whether a file of weights is at hand.
    """
    facts = predictor.facts.backbone
    name = facts.name.removesuffix(_options(facts).tag)
    # Earlier versions' tables do not name the file; there the pretraining says that it was one.
    if not (facts.weights_file or facts.pretraining.startswith("unknown (weights file")):
        return name
    if not has_file:
        raise FileNotFoundError(f"the features were made with weights of your own ({name}); name the file by --weights")
    return name.partition(".")[0]


def _options(facts: BackboneFacts) -> EncodeOptions:
    """The EncodeOptions that a manifest describes."""
    assert facts.transform is not None
    side, encode = facts.transform.size[0], facts.encode or EncodeFacts(flip=False, layer=None, fp32_layers=())
    options = EncodeOptions(
        crop_pct=facts.transform.crop_pct, crops=5 if facts.transform.crops == 5 else 1,
        flip=encode.flip, layer=encode.layer,
        fp32_layers=encode.fp32_layers,
    )  # fmt: skip
    # The name says the size where it is not the backbone's own.
    return replace(options, image_size=side) if re.search(rf"-{side}px(-|$)", facts.name) else options


def export(predictor: Predictor, folder: Path, source: Path, weights: Path | None = None) -> None:
    """Write a predictor and its backbone to `folder`, which then predicts without run, data or hub.

    source: the folder that the predictor was read from.  weights: the backbone's, where the run cannot name them.

    Raises:
        FileExistsError: the folder is there and not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; --export makes a folder of its own")
    exported = source / BACKBONE_FILE
    file = weights or (exported if exported.is_file() else None)
    name = _architecture(predictor, has_file=file is not None)
    write_tensors(folder / BACKBONE_FILE, weight_tensors(name, file), photos_metadata(read_tuned_photos(file)))
    if file:
        export_manifest(folder / BACKBONE_FILE, file)
    save_predictor(predictor, folder)
