"""Keep or roll back: zero-shot scores on validation classes with the encoder's features before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

import backbones
from zsl.common.config import override
from zsl.common.progress import progress_bar
from zsl.datasets.splits import Splits
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.recipes import find_recipe
from zsl.experiments.methods import find_method
from zsl.features.split import split_features
from zsl.features.table import FORMAT, FeatureTable
from zsl.finetune.images import TrainImages
from zsl.scores.curves import choose_gamma
from zsl.scores.details import Details
from zsl.scores.evaluate import evaluate_details
from zsl.scores.summary import curve_of, scores_of

Judge = Literal["dcrgan", "eszsl"]
JUDGE_STEPS = 100  # of a judging DCR-GAN, at most; as many as CUB's: the closed-form start of G does most of the work
JUDGE_SHORTCUT = 0.3  # its ridge where the recipe has none: from noise, 100 steps would not get G anywhere
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class FoldScores:
    """Means over folds and seeds; H at the one γ that is best for all of them."""

    acc_zsl: float
    harmonic: float
    gamma: float


@torch.inference_mode()
def encode_images(backbone: backbones.Backbone, images: Tensor, accelerator: Accelerator, what: str) -> Tensor:
    """Features [N, D] float32, on the CPU, of photos uint8 [N, 3, H, W] at the backbone's input size."""
    backbone.encoder.to(accelerator.device)
    features = []
    with accelerator.autocast(), progress_bar(total=len(images), what=what, unit=" images") as bar:
        for some in images.split(BATCH):
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
    """Scores on validation folds, of features [N, D] of all trainval photos, one set for each of `folds`.

    Everything here is a trainval row: the folds' validation classes play unseen.
    """
    method = find_method(judge, find_recipe(benchmark))
    config = method.configured(method.config)
    if judge == "dcrgan":
        config = judge_config(config)
    details: list[Details] = []
    for of_fold, splits in zip(features, folds, strict=True):
        table = FeatureTable(
            features=of_fold.numpy(),
            labels=images.labels.astype(np.int64),
            rows=images.rows,
            manifest={"format": FORMAT, "benchmark": benchmark},
        )
        train, test = split_features(table, splits)
        for seed in seeds if judge == "dcrgan" else (0,):
            details.append(evaluate_details(method.train(train, config, seed=seed), test, lambda note: None))
    curves = [curve_of(detail) for detail in details]
    gamma = choose_gamma(curves)
    return FoldScores(
        acc_zsl=sum(scores_of(detail).acc_zsl for detail in details) / len(details),
        harmonic=sum(curve.harmonic_at(gamma) for curve in curves) / len(curves),
        gamma=gamma,
    )


def judge_config(config: DCRGANConfig) -> DCRGANConfig:
    """A recipe as a judge uses it: short, from a closed-form start, and without the γ of other features."""
    ridge = JUDGE_SHORTCUT if config.gan.shortcut_ridge is None else config.gan.shortcut_ridge
    short = {"gan.steps": min(config.gan.steps, JUDGE_STEPS), "gan.shortcut_ridge": ridge, "classifiers.gamma": 0.0}
    return override(config, short)


def decide(before: FoldScores, after: Mapping[float, FoldScores], margin: float) -> dict[str, Any]:
    """Keep the share of tuned weights with the highest H if it gains more than `margin` on the encoder as it was."""
    share = max(after, key=lambda candidate: (after[candidate].harmonic, -candidate))
    gain = after[share].harmonic - before.harmonic
    return {
        "verdict": "keep" if gain > margin else "roll back",
        "gain": gain,
        "margin": margin,
        "share": share,
        "before": asdict(before),
        "after": asdict(after[share]),
        "candidates": [{"share": candidate, **asdict(scores)} for candidate, scores in after.items()],
    }


def verdict_text(verdict: Mapping[str, Any]) -> str:
    """The verdict, its two numbers, the γ that features of the weights need, and what was chosen how."""
    before, after = verdict["before"], verdict["after"]
    return (
        f"{verdict['verdict']}: H on the validation classes of fold {' '.join(map(str, verdict['folds']))} "
        f"{100 * before['harmonic']:.1f} before, {100 * after['harmonic']:.1f} after; "
        f"T1 {100 * before['acc_zsl']:.1f} before, {100 * after['acc_zsl']:.1f} after "
        f"({verdict['judge']}, share of tuned weights {verdict['share']:g}, {verdict['epochs']} epochs)\n"
        f"γ there {before['gamma']:.3g} before, {after['gamma']:.3g} after\n{verdict['meaning']}"
    )
