"""Photos of unseen classes with the model's first three answers and the attributes that speak for and against."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from safetensors import safe_open
from torch import Tensor

from shards import check_shard, read_shard
from zsl.common.config import flatten, override
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import as_networks_see, attribute_scaler
from zsl.dcrgan.networks import Output, Regressor
from zsl.experiments.reads import ACCESS_FILE, record_to
from zsl.features.scaling import signed_power
from zsl.report.context import Context
from zsl.report.runs import ReportRun
from zsl.scores.details import Details
from zsl.scores.evaluate import open_for_figures

CLASSES = 12
THUMBNAIL = 160  # longest side, pixels
QUALITY = 72
SPEAKING = 3  # attributes for, and as many against
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Answer:
    """One of the three likeliest classes, and what F1 has to say about it."""

    name: str
    is_seen: bool
    is_right: bool
    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """One photo."""

    row: int
    class_name: str
    is_right: bool
    photo: str  # data URI
    answers: tuple[Answer, ...]


def make_gallery(run: ReportRun, context: Context) -> tuple[list[Card], list[str]]:
    """Cards of the first seed's answers, and notes on what could not be shown.

    Of each of the first CLASSES unseen classes: the first photo by row that is named right, and the first that is not.
    """
    details = run.first
    if details is None or context.index is None:
        return [], []
    if len(details.unseen_rows) != len(details.unseen_labels):
        return [], ["The run does not say which rows it was tested on, so there is no gallery."]
    chosen = choose(details)
    photos = thumbnails(context, [int(details.unseen_rows[i]) for i in chosen])
    regressed, attributes, note = _regressed(run, context, details, chosen)
    cards = []
    for number, i in enumerate(chosen):
        row = int(details.unseen_rows[i])
        if row in photos:
            own = None if regressed is None else regressed[number]
            cards.append(_card(details, i, photos[row], own, attributes, context))
    notes = [note] if note else []
    if len(photos) < len(chosen):
        notes.append(f"{len(chosen) - len(photos)} photos of the gallery are not in the shards or cannot be read.")
    return cards, notes


def choose(details: Details, classes: int = CLASSES) -> list[int]:
    """Positions of the images shown: by row the first right and the first wrong one of each class."""
    chosen = []
    for class_id in details.unseen_labels.unique().tolist()[:classes]:
        own = (details.unseen_labels == class_id).nonzero().squeeze(1)
        own = own[details.unseen_rows[own].argsort()]
        right = details.unseen_predicted[own] == class_id
        chosen += [int(part[0]) for part in (own[right], own[~right]) if len(part)]
    return chosen


def thumbnails(context: Context, rows: Iterable[int]) -> dict[int, str]:
    """Data URIs of small JPEGs by row; a photo that cannot be read is left out."""
    wanted, found = set(rows), {}
    assert context.index is not None
    for shard in context.index.shards:
        if not any(shard.first_row <= row <= shard.last_row for row in wanted):
            continue
        for sample in read_shard(check_shard(context.shards, shard)):
            if sample.row in wanted:
                try:
                    found[sample.row] = thumbnail(sample.image, sample.box)
                except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
                    continue
    return found


def thumbnail(photo: bytes, box: tuple[int, int, int, int] | None = None) -> str:
    """A data URI of the photo, or of a box in it, as a JPEG of at most THUMBNAIL pixels a side."""
    with Image.open(io.BytesIO(photo)) as opened:
        image = opened.convert("RGB") if box else ImageOps.exif_transpose(opened).convert("RGB")
    if box:
        image = image.crop(box)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _card(
    details: Details, i: int, photo: str, regressed: Tensor | None, attributes: Tensor | None, context: Context
) -> Card:
    truth = int(details.unseen_labels[i])
    answers = []
    for column in details.unseen_scores[i].topk(min(3, len(details.gzsl_classes))).indices.tolist():
        class_id = int(details.gzsl_classes[column])
        pro, contra = _evidence_for(class_id, regressed, attributes, context)
        is_seen = not bool((details.zsl_classes == class_id).any())
        answers.append(Answer(context.class_name(class_id), is_seen, class_id == truth, pro, contra))
    is_right = int(details.unseen_predicted[i]) == truth
    return Card(int(details.unseen_rows[i]), context.class_name(truth), is_right, photo, tuple(answers))


def evidence(
    regressed: Tensor, attributes: Tensor, context: Context, number: int = SPEAKING
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the attributes in which F1(x) [A] and the class [A] agree most, and in which they contradict most.

    Both are taken minus the seen classes' mean, so that their product is positive where both have more of an attribute
    than usual, or both less (then it is "no …").
    """
    product = regressed * attributes

    def named(order: list[int], sign: int) -> tuple[str, ...]:
        return tuple(_told(a, float(regressed[a]), context) for a in order if sign * float(product[a]) > 0)

    order = product.argsort(descending=True).tolist()
    return named(order[:number], 1), named(order[::-1][:number], -1)


def _evidence_for(
    class_id: int, regressed: Tensor | None, attributes: Tensor | None, context: Context
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if regressed is None or attributes is None:
        return (), ()
    return evidence(regressed, attributes[class_id], context)


def _told(attribute: int, seen_in_photo: float, context: Context) -> str:
    name = context.attribute_name(attribute)
    return name if seen_in_photo > 0 else f"no {name}"


def _regressed(
    run: ReportRun, context: Context, details: Details, chosen: list[int]
) -> tuple[Tensor | None, Tensor | None, str | None]:
    """F1 of the chosen images [n, A], the classes' attributes [C, A] as F1 knows them, or why there are none."""
    config = run.results.config
    trained = config.get("gan", {}).get("cycle_attributes") or config.get("regressors", {}).get("pretrain_epochs")
    path = run.folder / f"seed-{run.first_seed}" / MODEL_FILE
    if not trained:
        return None, None, f"The method {run.results.method} trains no regressor F1, so no attributes are shown."
    if context.train is None or context.test is None:
        return None, None, "Without the feature table no attributes can be shown beside the photos."
    settings = override(DCRGANConfig(), flatten(config))
    regressor = load_regressor(path, settings.regressors.attributes_output) if path.is_file() else None
    if regressor is None:
        return None, None, f"The run kept no model with F1 ({path.name}), so no attributes are shown."
    train = as_networks_see(context.train, attribute_scaler(context.train, settings), settings)
    centre = train.attributes[train.seen].mean(0)
    unseen = open_for_figures(context.test, record_to(run.folder / ACCESS_FILE, run.first_seed))
    position = {row: i for i, row in enumerate([] if unseen.rows is None else unseen.rows.tolist())}
    rows = details.unseen_rows[chosen].tolist()
    if not all(row in position for row in rows):
        return None, None, "The features have other test rows than the run, so no attributes are shown."
    with torch.no_grad():
        made = regressor(signed_power(unseen.features[[position[row] for row in rows]], settings.feature_power))
    return made - centre, train.attributes - centre, None


def load_regressor(path: Any, output: Output) -> Regressor | None:
    """F1, which ends in `output`, from a run's model file; None where there is none in it."""
    with safe_open(path, framework="pt") as file:
        keys = [key for key in file.keys() if "regressors.attributes." in key]  # noqa: SIM118  no mapping
        if not keys:
            return None
        state = {key.split("regressors.attributes.", 1)[1]: file.get_tensor(key) for key in keys}
    hidden, dim = state["layers.0.weight"].shape
    regressor = Regressor(dim, hidden, len(state["layers.2.bias"]), output)
    regressor.load_state_dict(state)
    return regressor.eval()
