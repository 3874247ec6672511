"""What scripts/finetune.py does: tune on a fold's training classes, judge, tune on all trainval photos, write.

The validation classes that judge have to be unseen by the weights that are judged, so each fold has a fine-tuning of
its own.  From it come the number of epochs, the share of tuned weights and the γ; the weights that are written are
tuned on all seen classes after that, by the same schedule.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor

from backbones import Backbone, EncodeOptions, find_preset
from backbones.backbone import (
    FINETUNED,
    as_backbone,
    create_model,
    pretraining_of,
    read_finetuning,
    resize_model,
    tuned_facts,
    tuned_options,
)
from backbones.finetune import average, without_classifier
from backbones.finetune_config import FinetuneConfig
from shards import Location, ShardIndex
from zsl.common.files import atomic_path, read_json, write_json
from zsl.datasets.split_file import rows_hash
from zsl.datasets.splits import Splits
from zsl.experiments.run import claim_folder, name_of_run
from zsl.features.load import load_splits
from zsl.finetune.images import TrainImages, load_train_images, read_labels
from zsl.finetune.train import CHECKPOINT_FILE, Tuned, TuningData, check_possible, finetune
from zsl.finetune.verdict import Judge, decide, encode_images, judge_features

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
    allow_pipe: bool = False  # let `shards` be a command
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
        ValueError: `folder` holds a run of other configuration, weights or shards; the model cannot be tuned so; or the
            weights to start from were tuned on validation classes of a fold.
    """
    with accelerator.local_main_process_first():  # a download happens once
        model, backbone = _open(job)
    check_possible(model, backbone.dim, job.config, accelerator.num_processes)
    table = read_labels(job.shards, index, backbone.finetuned, allow_pipe=job.allow_pipe)
    splits = load_splits(job.benchmark, job.data, table)
    folds = {fold: load_splits(job.benchmark, job.data, table, fold=fold) for fold in job.folds}
    facts = _facts(job, index, splits, backbone, accelerator.mixed_precision)
    with accelerator.main_process_first():
        claim_folder(folder, facts)
    if (folder / MANIFEST_FILE).is_file():
        _remove_checkpoints(folder, accelerator)  # a kill may have come between the manifest and this
        return dict(read_json(folder / MANIFEST_FILE))
    size = backbone.transform.size
    larger = replace(backbone.transform, size=(round(CACHE_SCALE * size[0]), round(CACHE_SCALE * size[1])))
    images = load_train_images(
        job.shards, index, splits, (larger, backbone.transform), memory=job.memory, allow_pipe=job.allow_pipe
    )
    stage = _Stage(job, model, backbone, folds, images, folder, name_of_run(facts, job.config.seed), facts, accelerator)
    verdict = stage.judge() if folds else None
    epochs = verdict["epochs"] if verdict else job.config.epochs
    tuned = stage.tune(splits, folder, "all seen classes", epochs=epochs)
    share = verdict["share"] if verdict else max(job.config.wise)
    manifest = stage.write(tuned, share, splits, folder, verdict=verdict, fold=None)
    _remove_checkpoints(folder, accelerator)
    return manifest


def _open(job: Finetuning) -> tuple[Any, Backbone]:
    """Timm's model to tune, with its published classifier, at its input size; and the encoder that it is before."""
    preset = find_preset(job.backbone)
    model = create_model(preset, job.weights)
    started = read_finetuning(preset, job.weights)
    options = tuned_options(model, started, EncodeOptions(image_size=job.config.image_size))
    resize_model(model, options)
    backbone = as_backbone(
        without_classifier(model), preset.full_name + options.tag, options,
        pretraining=pretraining_of(preset, job.weights), finetuned=tuned_facts(started),
    )  # fmt: skip
    return model, backbone


def _remove_checkpoints(folder: Path, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        for checkpoint in folder.rglob(CHECKPOINT_FILE):
            checkpoint.unlink()
    accelerator.wait_for_everyone()


@dataclass(frozen=True, eq=False)
class _Stage:
    """What tuning on a fold and on all photos have in common."""

    job: Finetuning
    model: Any  # with its published classifier
    backbone: Backbone  # before
    folds: Mapping[int, Splits]  # that judge
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
            at = {fold: self.folder / f"fold-{fold}" for fold in self.folds}
            tuned = {fold: self.tune(splits, at[fold], f"fold {fold}") for fold, splits in self.folds.items()}
            if self.accelerator.is_main_process:
                verdict = self._compare(list(tuned.values()), list(self.folds.values()))
                for fold, splits in self.folds.items():
                    self.write(tuned[fold], verdict["share"], splits, at[fold], verdict=None, fold=fold)
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
            "validation_classes": {str(fold): len(splits.unseen) for fold, splits in self.folds.items()},
            "meaning": f"the {sum(len(splits.unseen) for splits in folds)} validation classes that judge were not "
            "trained on; on them were chosen the share (by the highest H, so that the gain is a little too high), each "
            "side's γ and this verdict; the number of epochs on held-out photos of the training classes",
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
        facts, progress, before = self.facts, tuned.progress, self.backbone
        part = "trainval" if fold is None else f"VALIDATION FOLD {fold} of trainval, for judging alone"
        rows = {"count": len(splits.trainval_loc), "hash": rows_hash(splits.trainval_loc)}
        manifest = {
            "kind": FINETUNED,
            "weights_file": WEIGHTS_FILE,
            "architecture": find_preset(self.job.backbone).timm_name,
            "pretraining": f"{before.pretraining}, fine-tuned on {facts['benchmark']} {part}",
            "image_size": before.transform.size[0],
            "fold": fold,
            "trainval": rows,
            "classes": [splits.class_names[class_id] for class_id in splits.seen],
            "started_from": before.finetuned,  # an earlier fine-tuning, whose rows and classes these weights know too
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
        "split_hashes": index.source["split_hashes"],
        "shards_sha256": index.sha256,
        "backbone": backbone.name,
        "started_from_sha256": backbone.weights_sha256,
        "config": asdict(job.config),
        "folds": list(job.folds),
        "judge": [job.judge, *job.judge_seeds],
        "margin": job.margin,
        "precision": precision,
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
    }
