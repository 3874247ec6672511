"""What scripts/finetune.py does: tune on a fold's training classes, judge, tune on all trainval photos, write.

The validation classes that judge have to be unseen by the weights that are judged, so each fold has a fine-tuning of
its own.  From it come the number of epochs, the share of tuned weights and the γ; the weights that are written are
tuned on all seen classes after that, by the same schedule.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor

from backbones import Backbone, EncodeOptions, find_preset
from backbones.backbone import FINETUNED, as_backbone, create_model
from backbones.finetune import FinetuneConfig, average, without_classifier
from shards import Location, ShardIndex
from zsl.data import load_splits
from zsl.features import FeatureTable
from zsl.files import atomic_path, read_json, write_json
from zsl.finetune.images import TrainImages, load_train_images, read_labels
from zsl.finetune.train import CHECKPOINT_FILE, Tuned, TuningData, finetune
from zsl.finetune.verdict import Judge, decide, encode_images, judge_features
from zsl.run import claim_folder, name_of_run
from zsl.splits import Splits, rows_hash

WEIGHTS_FILE, MANIFEST_FILE, VERDICT_FILE = "weights.safetensors", "manifest.json", "verdict.json"
CACHE_SCALE = 1.15  # photos are kept this much larger than the input, for crops


@dataclass(frozen=True, kw_only=True)
class Finetuning:
    """One fine-tuning, complete."""

    benchmark: str
    backbone: str
    weights: Path | None = None  # start from these instead of the published ones
    data: Path = Path("data")
    shards: Location
    config: FinetuneConfig
    folds: tuple[int, ...] = (1,)  # judged on these; empty: no verdict
    judge: Judge = "dcrgan"
    judge_seeds: tuple[int, ...] = (0, 1)
    margin: float = 0.005  # gain of H on the folds below which the weights are not worth keeping
    checkpoint_seconds: float = 30.0
    memory: float = 4e9  # bytes of decoded photos in memory, a process


def run_finetuning(job: Finetuning, index: ShardIndex, folder: Path, accelerator: Accelerator) -> dict[str, Any]:
    """Fine-tune, judge, write weights, manifest and verdict into `folder`; returns the manifest.

    What is there already is not computed again.

    Raises:
        ValueError: `folder` holds a run of other configuration, weights or shards.
    """
    preset = find_preset(job.backbone)
    with accelerator.local_main_process_first():  # a download happens once
        model = create_model(preset, job.weights)
    options = EncodeOptions(image_size=job.config.image_size)
    backbone = as_backbone(
        without_classifier(model), preset.full_name + options.tag, options,
        pretraining=preset.pretraining if job.weights is None else f"unknown (weights file {job.weights.name})",
    )  # fmt: skip
    table = read_labels(job.shards, index)
    splits = load_splits(job.benchmark, job.data, table)
    facts = _facts(job, index, splits, backbone, accelerator.mixed_precision)
    with accelerator.main_process_first():
        claim_folder(folder, facts)
    if (folder / MANIFEST_FILE).is_file():
        return dict(read_json(folder / MANIFEST_FILE))
    size = backbone.transform.size
    larger = replace(backbone.transform, size=(round(CACHE_SCALE * size[0]), round(CACHE_SCALE * size[1])))
    images = load_train_images(job.shards, index, splits, (larger, backbone.transform), memory=job.memory)
    stage = _Stage(job, model, backbone, table, images, folder, name_of_run(facts, job.config.seed), facts, accelerator)
    verdict = stage.judge() if job.folds else None
    tuned = stage.tune(splits, folder, "all seen classes", epochs=verdict["epochs"] if verdict else None)
    share = verdict["share"] if verdict else max(job.config.wise)
    manifest = stage.write(tuned, share, splits, folder, verdict=verdict, fold=None)
    if accelerator.is_main_process:
        for checkpoint in folder.rglob(CHECKPOINT_FILE):
            checkpoint.unlink()
    accelerator.wait_for_everyone()
    return manifest


@dataclass(frozen=True, eq=False)
class _Stage:
    """What tuning on a fold and on all photos have in common."""

    job: Finetuning
    model: Any  # with its published classifier
    backbone: Backbone  # before
    table: FeatureTable  # rows and labels of all photos, without features
    images: TrainImages
    folder: Path
    key: str
    facts: dict[str, Any]
    accelerator: Accelerator

    def tune(self, splits: Splits, folder: Path, what: str, *, epochs: int | None = None) -> Tuned:
        """Fine-tune on the trainval rows of `splits`."""
        data = TuningData.of(self.images, splits)
        key = f"{self.key}/{rows_hash(splits.trainval_loc)}/{epochs}"
        return finetune(
            self.model, data, self.backbone.transform, self.job.config, self.accelerator, folder, key=key,
            epochs=epochs, checkpoint_seconds=self.job.checkpoint_seconds, what=f"fine-tune on {what}",
        )  # fmt: skip

    def judge(self) -> dict[str, Any]:
        """Fine-tune once a fold, compare features before and after, write the verdict."""
        path = self.folder / VERDICT_FILE
        if not path.is_file():
            job = self.job
            folds = [load_splits(job.benchmark, job.data, self.table, fold=fold) for fold in job.folds]
            tuned = [
                self.tune(splits, self.folder / f"fold-{fold}", f"fold {fold}")
                for fold, splits in zip(job.folds, folds, strict=True)
            ]
            if self.accelerator.is_main_process:
                verdict = self._compare(tuned, folds)
                for fold, splits, result in zip(job.folds, folds, tuned, strict=True):
                    at = self.folder / f"fold-{fold}"
                    self.write(result, verdict["share"], splits, at, verdict=None, fold=fold)
                write_json(path, verdict)
            self.accelerator.wait_for_everyone()
        return dict(read_json(path))

    def _compare(self, tuned: Sequence[Tuned], folds: Sequence[Splits]) -> dict[str, Any]:
        job = self.job
        before = self._features({}, 0.0)
        after = {share: [self._features(fold.state, share) for fold in tuned] for share in job.config.wise}
        scores = {share: self._scores(features, folds) for share, features in after.items()}
        return decide(self._scores([before] * len(folds), folds), scores, job.margin) | {
            "folds": list(job.folds),
            "judge": job.judge,
            "judge_seeds": list(job.judge_seeds),
            "epochs": round(sum(fold.progress.best_epoch for fold in tuned) / len(tuned)),
            "meaning": "mean over the folds; the classes that judge were not trained on; the share with the highest H "
            "was chosen by the same numbers, so that the gain is a little too high",
        }

    def _features(self, state: dict[str, Tensor], share: float) -> Tensor:
        encoder = without_classifier(self.model)
        state = {name: tensor.cpu() for name, tensor in state.items()}
        encoder.load_state_dict(average(encoder.state_dict(), state, share))
        after = as_backbone(encoder, self.backbone.name, self.backbone.options, pretraining="")
        what = f"features, share {share:g}"
        return encode_images(after, self.images.sizes[1], self.accelerator, what)

    def _scores(self, features: Sequence[Tensor], folds: Sequence[Splits]) -> Any:
        job = self.job
        return judge_features(
            features, self.images, folds, benchmark=str(self.facts["benchmark"]), judge=job.judge,
            seeds=job.judge_seeds,
        )  # fmt: skip

    def write(
        self, tuned: Tuned, share: float, splits: Splits, folder: Path, *, verdict: dict[str, Any] | None,
        fold: int | None,
    ) -> dict[str, Any]:  # fmt: skip
        """Weights in timm's names, with the published classifier so that they fit the architecture, and a manifest."""
        whole = self.model.state_dict()
        state = {name: tensor.cpu() for name, tensor in tuned.state.items()}
        mixed = average({name: whole[name] for name in state}, state, share)
        facts, progress = self.facts, tuned.progress
        part = "trainval" if fold is None else f"VALIDATION FOLD {fold} of trainval, for judging alone"
        rows = {"count": len(splits.trainval_loc), "hash": rows_hash(splits.trainval_loc)}
        manifest = {
            "kind": FINETUNED,
            "weights_file": WEIGHTS_FILE,
            "architecture": find_preset(self.job.backbone).timm_name,
            "pretraining": f"{self.backbone.pretraining}, fine-tuned on {facts['benchmark']} {part}",
            "image_size": self.backbone.transform.size[0],
            "fold": fold,
            "trainval": rows,
            "classes": [splits.class_names[class_id] for class_id in splits.seen],
            "rows_decoded": {"count": len(self.images.rows), "hash": self.images.rows_hash},
            "share_of_tuned_weights": share,
            "epochs": progress.best_epoch,
            "images_per_second": round(progress.trained_images / progress.seconds, 2) if progress.seconds else None,
            "curve": progress.epochs,
            "losses": progress.losses,
            "verdict": verdict,
            "processes": self.accelerator.num_processes,
            "threads": torch.get_num_threads(),
            "command": " ".join(sys.argv),
            **facts,
        }
        if self.accelerator.is_main_process:
            with atomic_path(folder / WEIGHTS_FILE) as temporary:
                save_file({name: tensor.contiguous() for name, tensor in (whole | mixed).items()}, temporary)
            write_json(folder / MANIFEST_FILE, manifest)
        return manifest


def _facts(job: Finetuning, index: ShardIndex, splits: Splits, backbone: Backbone, precision: str) -> dict[str, Any]:
    """All that the weights depend on."""
    return {
        "benchmark": index.benchmark,
        "data": index.source["verdict"],
        "splits": splits.verdict,
        "shards_sha256": index.sha256,
        "backbone": backbone.name,
        "started_from_sha256": backbone.weights_sha256,
        "config": asdict(job.config),
        "folds": list(job.folds),
        "judge": [job.judge, *job.judge_seeds],
        "precision": precision,
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
    }
