"""Photos to answers, with the backbone that the features of the run came from."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from backbones import Backbone, EncodeOptions, Transform, export_manifest, export_weights, load_backbone
from zsl.common.compute import make_accelerator
from zsl.common.files import atomic_path
from zsl.datasets.attribute_table import AttributeTable, read_attributes
from zsl.dcrgan.saved import BACKBONE_FILE
from zsl.predict.answers import Answer, Choice, Evidence, Vote
from zsl.predict.photos import Limits, Unread, read_file
from zsl.predict.predictor import SPACES, Predictor, Scored, add_classes, load_predictor, save_predictor, score


@dataclass(frozen=True, kw_only=True, eq=False)
class Reader:
    """Everything between a photo's pixels and its Answer."""

    predictor: Predictor
    backbone: Backbone
    accelerator: Accelerator  # device and precision of the backbone; the heads are on the CPU
    top: int = 5
    strongest: int = 5  # attributes for, and against
    adding_took: float | None = None  # seconds, where classes were added

    def features(self, inputs: list[Tensor]) -> Tensor:
        """Features [N, D] of what the backbone's transform gives for N photos."""
        self.backbone.encoder.to(self.accelerator.device)
        with torch.inference_mode(), self.accelerator.autocast():
            return self.backbone.encode(torch.stack(inputs).to(self.accelerator.device)).float().cpu()

    def answers(self, inputs: list[Tensor], names: list[str], notes: list[tuple[str, ...]]) -> list[Answer]:
        """Answers for photos as the backbone's transform gives them, with their names and notes."""
        scored = score(self.predictor, self.features(inputs))
        return [self._answer(scored, row, *of_photo) for row, of_photo in enumerate(zip(names, notes, strict=True))]

    def read(self, photos: Iterable[Path | Unread], limits: Limits, batch_size: int) -> Iterator[Answer | Unread]:
        """Answers of files in their order; an Unread for each file that gives none."""
        waiting = iter(photos)
        while batch := tuple(islice(waiting, batch_size)):
            images: dict[int, Tensor] = {}
            notes: list[tuple[str, ...]] = []
            results: list[Any] = list(batch)
            for place, photo in enumerate(batch):
                if isinstance(photo, Path):
                    try:
                        image, note = read_file(photo, limits)
                        images[place] = self.backbone.transform(image)  # small before the next one is decoded
                        notes.append(note)
                    except (ValueError, OSError) as error:
                        results[place] = Unread(str(photo), str(error))
            if images:
                answers = self.answers(list(images.values()), [str(batch[place]) for place in images], notes)
                for place, answer in zip(images, answers, strict=True):
                    results[place] = answer
            yield from results

    def _answer(self, scored: Scored, row: int, name: str, notes: tuple[str, ...]) -> Answer:
        names, kinds = self.predictor.class_names, self.predictor.kinds
        scores = scored.scores[row]
        probabilities = scores.double().softmax(0)
        order = scores.argsort(descending=True, stable=True).tolist()
        first, second = order[0], order[1]
        terms = [*zip(SPACES, scored.votes[:, row], strict=True), ("calibration", scored.calibration)]
        votes = tuple(
            Vote(
                space=space,
                top=names[int(votes.argmax())] if space in SPACES and bool(votes.any()) else None,
                contribution=votes[first].item(),
                margin=(votes[first] - votes[second]).item(),
            )
            for space, votes in terms
        )
        evidence = self._evidence(scored.attributes[row], first)
        return Answer(
            photo=name,
            notes=notes,
            classes=tuple(
                Choice(name=names[k], kind=kinds[k], probability=probabilities[k].item(), score=scores[k].item())
                for k in order[: self.top]
            ),
            votes=votes,
            attributes_for=tuple(e for e in evidence[: self.strongest] if e.weight > 0),
            attributes_against=tuple(e for e in evidence[::-1][: self.strongest] if e.weight < 0),
        )

    def _evidence(self, photo: Tensor, column: int) -> list[Evidence]:
        """Every attribute, the one that speaks most for the class first."""
        train = self.predictor.train
        synthesizer = next(iter(self.predictor.models.values())).model.synthesizer
        scaled, of_class = synthesizer.attribute_scaler, train.attributes[self.predictor.classes[column]]
        centre = scaled(train.attributes[train.seen]).mean(0)
        usual = scaled.undo(centre)  # the seen classes' mean; of a power of attributes, so that no sign turns over
        weights = (scaled(photo) - centre) * (scaled(of_class) - centre)
        names = self.predictor.attribute_names
        return [
            Evidence(
                name=names[k], photo=photo[k].item(), of_class=of_class[k].item(), usual=usual[k].item(),
                weight=weights[k].item(),
            )
            for k in weights.argsort(descending=True, stable=True).tolist()
        ]  # fmt: skip


def open_reader(
    run: Path,
    seeds: Sequence[int] = (),
    *,
    classes: Path | None = None,
    weights: Path | None = None,
    top: int = 5,
    strongest: int = 5,
) -> Reader:
    """The Reader of a run, or of an export; with the classes of the table `classes` added.

    Raises:
        ValueError, FileNotFoundError: as `load_predictor`, `add_classes` and `open_backbone`.
    """
    predictor = load_predictor(run, seeds)
    backbone = open_backbone(predictor, run, weights)
    accelerator = make_accelerator(predictor.facts["backbone"]["precision"])
    reader = Reader(predictor=predictor, backbone=backbone, accelerator=accelerator, top=top, strongest=strongest)
    return reader if classes is None else with_classes(reader, read_attributes(classes, at_least=1))


def with_classes(reader: Reader, table: AttributeTable) -> Reader:
    """The reader with the classes of `table` added, and how long that took.

    Raises:
        ValueError: as `add_classes`.
    """
    start = time.perf_counter()
    extended = add_classes(reader.predictor, table)
    return replace(reader, predictor=extended, adding_took=time.perf_counter() - start)


# --- backbone --------------------------------------------------------------------------------------------------------


def open_backbone(predictor: Predictor, folder: Path, weights: Path | None = None) -> Backbone:
    """The backbone that the run's features came from: of the export in `folder`, of `weights`, or by its name.

    Raises:
        ValueError: the features came from no backbone, or these are other weights.
        FileNotFoundError: the weights cannot be had.
    """
    facts = predictor.facts["backbone"]
    if not facts["transform"]:
        raise ValueError(f"the features of {folder} were imported ({facts['name']}); no backbone here makes them")
    exported = folder / BACKBONE_FILE
    name = _architecture(predictor, weights or exported.is_file())
    backbone = load_backbone(name, weights or (exported if exported.is_file() else None), _options(facts))
    if backbone.weights_sha256 != facts["weights_sha256"]:
        raise ValueError(
            f"the features of {folder} were made with weights {facts['weights_sha256'][:8]}, these of {name} are "
            f"{backbone.weights_sha256[:8]}; name the right file by --weights"
        )
    own: dict[str, Any] = {key: value for key, value in facts["transform"].items() if key not in ("crop", "decoder")}
    own |= {key: tuple(value) for key, value in own.items() if isinstance(value, list)}
    transform = Transform(**own)
    return replace(backbone, name=facts["name"], pretraining=facts["pretraining"], transform=transform)


def _architecture(predictor: Predictor, have_file: Any) -> str:
    """The study name that loads the model: without what the options and a file of one's own add to it."""
    facts = predictor.facts["backbone"]
    name = str(facts["name"]).removesuffix(_options(facts).tag)
    # Tables of earlier versions do not name the file.
    if not (facts.get("weights_file") or facts["pretraining"].startswith("unknown (weights file")):
        return name
    if not have_file:
        raise FileNotFoundError(f"the features were made with weights of your own ({name}); name the file by --weights")
    return name.partition(".")[0]


def _options(facts: dict[str, Any]) -> EncodeOptions:
    """The EncodeOptions behind a manifest's words."""
    transform, encode = facts["transform"], facts["encode"] or {}
    side = transform["size"][0]
    given = EncodeOptions(
        crop_pct=transform["crop_pct"], crops=transform["crops"], flip=encode.get("flip", False),
        layer=encode.get("layer"), fp32_layers=tuple(encode.get("fp32_layers", ())),
    )  # fmt: skip
    sized = replace(given, image_size=side)
    return sized if re.search(rf"-{side}px(-|$)", facts["name"]) else given


def export(predictor: Predictor, folder: Path, source: Path, weights: Path | None = None) -> None:
    """Write a predictor with its backbone to a folder that needs neither run, data nor hub.

    Raises:
        FileExistsError: the folder is there and not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; --export makes a folder of its own")
    exported = source / BACKBONE_FILE
    file = weights or (exported if exported.is_file() else None)
    name = _architecture(predictor, file)
    with atomic_path(folder / BACKBONE_FILE) as temporary:
        export_weights(name, temporary, file)
    if file:
        export_manifest(folder / BACKBONE_FILE, file)
    save_predictor(predictor, folder)
