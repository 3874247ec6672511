"""The judge of a fine-tuning: zero-shot scores on validation classes with the features of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

import backbones
from backbones.tuned import TunedGamma
from zsl.common.config import override
from zsl.common.progress import progress_bar
from zsl.datasets.splits import Splits, attributes_hash
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.recipes import find_recipe
from zsl.dcrgan.variants import form_of
from zsl.experiments.calibration import config_sha256
from zsl.experiments.methods import find_method
from zsl.features.manifest import Manifest
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable
from zsl.finetune.answers import Answers
from zsl.finetune.crossfit_verdict import CrossfitVerdict
from zsl.finetune.images import EVALUATION_BATCH, TrainImages
from zsl.scores.details import Details
from zsl.scores.evaluate import evaluate_details
from zsl.scores.folds import FoldScores, score_folds
from zsl.scores.units import logit_gap
from zsl.training.method import Method

if TYPE_CHECKING:
    from accelerate import Accelerator

Judge = Literal["dcrgan+", "eszsl"]
JUDGE: Judge = "dcrgan+"
JUDGE_STEPS = 100  # of a judging DCR-GAN, at most: the closed-form start of G does most of the work


@torch.inference_mode()
def encode_images(backbone: backbones.Backbone, images: Tensor, accelerator: Accelerator, what: str) -> Tensor:
    """Features [N, D] float32, on the CPU, of photos uint8 [N, 3, H, W] at the backbone's input size."""
    backbone.encoder.to(accelerator.device)
    features = []
    with accelerator.autocast(), progress_bar(total=len(images), what=what, unit=" images") as bar:
        for some in images.split(EVALUATION_BATCH):
            features.append(backbone.encode(some.to(accelerator.device)).float().cpu())
            bar.update(len(some))
    return torch.cat(features)


def judge_features(
    features: Sequence[Tensor],
    images: TrainImages,
    folds: Sequence[Splits],
    *,
    benchmark: str,
    judge: Judge,
    seeds: Sequence[int],
) -> FoldScores:
    """Scores of a zero-shot method on validation folds, whose validation classes play the unseen ones.

    features: [N, D] of all trainval photos, for each of `folds` by the encoder that was tuned without its validation
    classes.  seeds: of the method; a closed form has need of none.
    """
    method, config = judging_method(benchmark, judge)
    details: list[Details] = []
    for of_fold, splits in zip(features, folds, strict=True):
        train, test = _on_fold(of_fold, images, splits, benchmark)
        for seed in seeds if judge == JUDGE else (0,):
            details.append(evaluate_details(method.train(train, config, seed=seed), test, lambda note: None))
    return score_folds(details)


@torch.no_grad()
def answers_on(features: Tensor, images: TrainImages, splits: Splits, *, benchmark: str, judge: Judge) -> Answers:
    """What the method `judge`, trained with seed 0, says about the held-out photos of a fold's `splits`.

    features: [N, D] of all trainval photos, by an encoder that was tuned without those that judge.
    """
    method, config = judging_method(benchmark, judge)
    train, test = _on_fold(features, images, splits, benchmark)
    with torch.enable_grad():
        model = method.train(train, config, seed=0)
    scores, is_seen = model.gzsl_scores(train.features), torch.isin(model.gzsl_classes, train.seen)
    return Answers(
        details=evaluate_details(model, test, lambda note: None),
        alg=logit_gap(scores, train.labels, model.gzsl_classes, is_seen),
    )


def judging_method(benchmark: str, judge: Judge) -> tuple[Method, Any]:
    """The method that judges, and its configuration."""
    method = find_method(judge, find_recipe(benchmark, form=form_of(judge)).config)
    config = method.configured(method.config)
    return method, judge_config(config) if judge == JUDGE else config


def gamma_of(
    crossfit: CrossfitVerdict, benchmark: str, judge: Judge, *, size: tuple[int, int], attributes: np.ndarray
) -> TunedGamma:
    """The γ of a cross-fitting as weights and feature tables carry it.

    size: height and width of the photos in pixels.  attributes: of the classes [C, A].
    """
    method, config = judging_method(benchmark, judge)
    return TunedGamma(
        method=method.name, config_sha256=config_sha256(config), unit=crossfit.unit, value=crossfit.value,
        folds=crossfit.folds, harmonic=crossfit.harmonic_tuned, size=size, attributes_hash=attributes_hash(attributes),
    )  # fmt: skip


def _on_fold(features: Tensor, images: TrainImages, splits: Splits, benchmark: str) -> tuple[TrainSplit, TestSplit]:
    """A fold's training part, and the part that judges."""
    table = FeatureTable(
        features=features.numpy(),
        labels=images.labels.astype(np.int64),
        rows=images.rows,
        manifest=Manifest.in_memory(benchmark, count=len(features), dim=features.shape[1]),
    )
    return split_features(table, splits)


def judge_config(config: DCRGANConfig) -> DCRGANConfig:
    """A recipe as a judge uses it: short."""
    return override(config, {"gan.steps": min(config.gan.steps, JUDGE_STEPS)})
