"""The attributes that a run's regressor F1 reads from photos of unseen classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zsl.dcrgan.evidence import attribute_evidence, usual_strengths
from zsl.dcrgan.model import DCRGAN
from zsl.dcrgan.saved import MODEL_FILE, SYNTHESIZER_FILE, load_model, read_config
from zsl.experiments.reads import ACCESS_FILE, record_to
from zsl.report.context import Context
from zsl.report.runs import ReportRun
from zsl.scores.evaluate import open_for_figures


@dataclass(frozen=True, kw_only=True, eq=False)
class Readings:
    """Attributes of n photos and of all classes, scaled as the networks see them."""

    photos: Tensor  # F1(x) [n, A]
    classes: Tensor  # [C, A]
    usual: Tensor  # mean of the seen classes [A]

    def evidence(self, photo: int, class_id: int) -> Tensor:
        """The evidence of each attribute [A] of a photo for a class; `photo` counts from 0."""
        return attribute_evidence(self.photos[photo], self.classes[class_id], self.usual)

    def is_more_than_usual(self, photo: int, attribute: int) -> bool:
        """Whether F1 reads more of the attribute from the photo than the seen classes have on average."""
        return bool(self.photos[photo, attribute] > self.usual[attribute])


def why_no_readings(run: ReportRun, context: Context) -> str | None:
    """Why there are no readings of this run; None where there are."""
    config = run.results.config
    trains_f1 = config.get("gan", {}).get("cycle_attributes") or config.get("regressors", {}).get("pretrain_epochs")
    if not trains_f1:
        return f"The method {run.results.method} trains no regressor F1, so no attributes are shown."
    if context.train is None or context.test is None:
        return "Without the feature table no attributes can be shown beside the photos."
    if not all((_folder(run) / name).is_file() for name in (MODEL_FILE, SYNTHESIZER_FILE)):
        return f"The run kept no model with F1 ({MODEL_FILE}), so no attributes are shown."
    return None


def read_attributes(run: ReportRun, context: Context, rows: Tensor) -> Readings | None:
    """What F1 of the first seed reads from the test photos of unseen classes at `rows` [n].

    None where the features have no such rows.  The opening of the test rows is a line in the run's `test_access.jsonl`.
    """
    assert context.train is not None
    assert context.test is not None
    config = read_config(run.results.config, str(run.folder))
    model: DCRGAN = load_model(_folder(run), context.train, config, run.first_seed).model
    unseen = open_for_figures(context.test, record_to(run.folder / ACCESS_FILE, run.first_seed))
    place = {row: i for i, row in enumerate([] if unseen.rows is None else unseen.rows.tolist())}
    if not all(row in place for row in rows.tolist()):
        return None
    features = unseen.features[[place[row] for row in rows.tolist()]]
    train = model.synthesizer.train
    with torch.no_grad():
        photos = model.regressors.attributes(model.inputs(features))
    return Readings(
        photos=photos, classes=train.attributes, usual=usual_strengths(train.attributes, train.seen)
    )  # fmt: skip


def _folder(run: ReportRun) -> Path:
    return run.folder / f"seed-{run.first_seed}"
