"""What scripts/finetune.py does: tune on folds' training classes, judge, tune on all trainval photos, write.

The weights that are judged must not know the classes that judge, so each fold has a fine-tuning of its own.  From the
class folds of the cross-fitting come the verdict, the share of tuned weights and γ.  The weights that are written are
tuned on all seen classes after that, by the same schedule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from accelerate import Accelerator

from backbones import Backbone, EncodeOptions, find_preset
from backbones.backbone import (
    as_backbone,
    create_model,
    pretraining_of,
    read_finetuning,
    resize_model,
    tuned_options,
)
from backbones.finetune import without_classifier
from backbones.finetune_config import FinetuneConfig
from backbones.options import named_options
from backbones.presets import OPENCLIP
from backbones.tuned import read_tuned_photos
from shards import Location, ShardIndex
from zsl.common.launch import of_first_process, sole_launch
from zsl.common.ranges import Count, NotNegative, Share, Whole, check_ranges
from zsl.datasets.held_out import hold_out
from zsl.datasets.splits import Splits
from zsl.experiments.run import claim_folder, name_of_run
from zsl.features.class_folds import fold_name
from zsl.features.join import SIGN
from zsl.features.load import load_splits
from zsl.features.manifest import Source
from zsl.features.table import FeatureTable
from zsl.finetune.crossfit import Crossfit, class_folds
from zsl.finetune.crossfit_verdict import CROSSFIT_FILE, CrossfitVerdict, read_crossfit
from zsl.finetune.data import without_copies, without_share
from zsl.finetune.decision import Verdict
from zsl.finetune.images import TrainImages, load_train_images, read_rows
from zsl.finetune.manifest import MANIFEST_FILE, RunFacts, TuningManifest, has_weights, read_manifest
from zsl.finetune.train import CHECKPOINT_FILE, check_possible
from zsl.finetune.tuning import Tuning, validation_folder
from zsl.finetune.verdict import JUDGE, Judge, gamma_of
from zsl.training.trackers import LogWith

CACHE_SCALE = 1.15  # photos are kept this much larger than the input, for crops
EARLIER_CHECKPOINT = "checkpoint.pt"  # of earlier versions


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
    crossfit: Whole | None = None  # number of class folds; None: by the test's share of classes, at most 4; 0: none
    hold_out: Share = 0.0  # of each class's photos, which the final weights do not know, so that γ is measured on these
    folds: tuple[Count, ...] = ()  # validation folds to judge on besides
    judge: Judge = JUDGE
    judge_seeds: tuple[Whole, ...] = (0, 1)
    margin: Share = 0.005  # gain of H on the folds below which the weights are not worth keeping
    checkpoint_seconds: NotNegative = 30.0
    memory: NotNegative = 4e9  # bytes of decoded photos in memory, a process
    log_with: LogWith | None = None  # also shows losses elsewhere

    def __post_init__(self) -> None:
        check_ranges(self)
        if len(set(self.folds)) < len(self.folds):
            raise ValueError(f"--folds {' '.join(map(str, self.folds))}: name each once")
        if self.crossfit == 1:
            raise ValueError("--crossfit 1: two folds are needed at least, or 0 for none")
        if self.hold_out and self.crossfit == 0:
            raise ValueError(
                f"--hold-out {self.hold_out:g} leaves photos out that tell γ of the class folds, and without class "
                "folds there is no γ; leave it out, or --crossfit 0 and --skip-verdict"
            )
        if self.hold_out == 1:
            raise ValueError("--hold-out 1 leaves no photo to tune on")


def run_finetuning(job: Finetuning, index: ShardIndex, folder: Path, accelerator: Accelerator) -> TuningManifest:
    """Fine-tune, judge, write weights, manifest and verdict into `folder`; gives the manifest.

    What `folder` holds already is not computed again; what someone deleted from it is made again.

    Raises:
        FoldsPending: other processes still make class folds; the one that ends last goes on.
        ValueError: `folder` holds a run of other configuration, weights or shards; the model cannot be tuned so; or the
            weights to start from were tuned on validation classes of a fold.
    """
    with accelerator.local_main_process_first():  # a download happens once
        model, backbone = _open(job)
    check_possible(model, backbone.dim, job.config, accelerator.num_processes)
    table, hashes = read_rows(job.shards, index, backbone, allow_pipe=job.allow_pipe)
    splits = load_splits(job.benchmark, job.data, table)
    folds = {fold: without_copies(load_splits(job.benchmark, job.data, table, fold=fold), hashes) for fold in job.folds}
    of_classes = {
        number: without_copies(of_fold, hashes) for number, of_fold in class_folds(splits, table, job.crossfit).items()
    }
    own = without_share(splits, _trainval_labels(table, splits), job.hold_out, job.config.seed)
    own = without_copies(own, hashes)
    _check_enough(job.config, table, own, folds, of_classes)
    facts = _facts(job, index, splits, backbone, accelerator.mixed_precision, len(of_classes))
    with accelerator.main_process_first():
        claim_folder(folder, facts.content(), added={"crossfit": 0, "hold_out": 0.0})
    finished = has_weights(folder) and (not of_classes or (folder / CROSSFIT_FILE).is_file())
    finished = of_first_process(finished, accelerator)
    folders = [
        *(folder / fold_name(number) for number in of_classes), *(validation_folder(folder, fold) for fold in folds)
    ]  # fmt: skip
    if finished and of_first_process(all(map(has_weights, folders)), accelerator):
        _remove_checkpoints([folder, *folders], accelerator)  # a kill may have come between the manifest and this
        return read_manifest(folder / MANIFEST_FILE)
    tuning = Tuning(
        config=job.config,
        model=model,
        backbone=backbone,
        architecture=find_preset(job.backbone).timm_name,
        images=_decode(job, index, splits, backbone),
        facts=facts,
        key=name_of_run(facts.content(), job.config.seed),
        checkpoint_seconds=job.checkpoint_seconds,
        accelerator=accelerator,
        folder=folder,
        log_with=job.log_with,
    )
    crossfit = None
    if of_classes:
        crossfit = Crossfit(
            tuning=tuning, folds=of_classes, folder=folder, judge=job.judge, held_out=job.hold_out > 0
        ).run()  # fmt: skip
    with sole_launch(folder, accelerator):
        verdict = (
            tuning.judge(folds, folder, judge=job.judge, seeds=job.judge_seeds, margin=job.margin) if folds else None
        )
        if not finished:
            _tune_all(job, tuning, own, folder, verdict, crossfit)
        _remove_checkpoints([folder, *folders], accelerator)
        return read_manifest(folder / MANIFEST_FILE)


def verdicts(manifest: TuningManifest, folder: Path) -> list[CrossfitVerdict | Verdict]:
    """The verdicts of a finished run: of the class folds, then of the validation folds."""
    crossfit = [read_crossfit(folder / CROSSFIT_FILE)] if manifest.facts.crossfit else []
    return [*crossfit, *([manifest.verdict] if manifest.verdict else [])]


def _tune_all(
    job: Finetuning, tuning: Tuning, own: Splits, folder: Path, verdict: Verdict | None,
    crossfit: CrossfitVerdict | None,
) -> None:  # fmt: skip
    """Tune on all seen classes, and write the result; the cross-fitting chooses before the validation folds.

    own: the splits without the photos that the final weights do not know.
    """
    share, epochs = max(job.config.wise), job.config.epochs
    if crossfit:
        share = crossfit.share
    elif verdict:
        share, epochs = verdict.decision.share, verdict.epochs
    tuned = tuning.tune(own, folder, "all seen classes", epochs=epochs)
    gamma = None
    if crossfit:
        size = tuning.backbone.transform.size
        gamma = gamma_of(crossfit, job.benchmark, job.judge, size=size, attributes=own.attributes)
    tuning.write(tuned, share, own, folder, verdict=verdict, gamma=gamma)


def _check_enough(
    config: FinetuneConfig, table: FeatureTable, own: Splits, folds: Mapping[int, Splits],
    of_classes: Mapping[int, Splits],
) -> None:  # fmt: skip
    """Refuse before anything is decoded or written a tuning whose photos are less than one batch.

    table: rows and labels at hand.  own: the splits of the final weights.  folds: of `--folds`; each also holds out a
    share for early stopping.  of_classes: the class folds.

    Raises:
        ValueError: one of the tunings has too few photos; the message names it.
    """
    counts = {"all seen classes": len(own.trainval_loc)}
    counts |= {f"class fold {number}": len(splits.trainval_loc) for number, splits in of_classes.items()}
    for number, splits in folds.items():
        held = hold_out(_trainval_labels(table, splits), config.held_out, lambda _: np.random.default_rng(0))
        counts[f"validation fold {number}"] = len(splits.trainval_loc) - len(held)
    fewest = min(counts, key=lambda name: counts[name])
    if counts[fewest] < config.batch_size:
        raise ValueError(
            f"{counts[fewest]} training images of {fewest} are less than one batch of {config.batch_size}; give a "
            "smaller --config.batch-size"
        )


def _trainval_labels(table: FeatureTable, splits: Splits) -> np.ndarray:
    """Class ids of the trainval rows [n] of `splits`."""
    return table.labels[table.positions(splits.trainval_loc)]


def _open(job: Finetuning) -> tuple[Any, Backbone]:
    """Timm's model to tune, with its published classifier, at its input size; and the encoder that it is before.

    Raises:
        ValueError: there is no such backbone, it is not one alone, or its weights do not fit.
    """
    if SIGN in job.backbone:
        raise ValueError(
            f"--backbone {job.backbone}: joined backbones are tuned one by one; then join their features, as in "
            "scripts/study.py --backbones A@FILE+B@FILE"
        )
    name, extraction = named_options(job.backbone)
    if extraction != EncodeOptions():
        raise ValueError(
            f"--backbone {job.backbone}: the name has options of extraction; give --backbone {name}, and the input "
            "size by --config.image-size"
        )
    preset = find_preset(job.backbone)
    if preset.timm_name.startswith(OPENCLIP):
        raise ValueError(f"--backbone {job.backbone}: models of open_clip are not fine-tuned here; take one of timm")
    model = create_model(preset, job.weights)
    earlier = read_finetuning(preset, job.weights)
    options = tuned_options(model, earlier, EncodeOptions(image_size=job.config.image_size))
    resize_model(model, options)
    backbone = as_backbone(
        without_classifier(model), preset.full_name + options.tag, options,
        pretraining=pretraining_of(preset, job.weights), finetuned=earlier.facts if earlier else None,
        tuned_photos=read_tuned_photos(job.weights),
    )  # fmt: skip
    return model, backbone


def _decode(job: Finetuning, index: ShardIndex, splits: Splits, backbone: Backbone) -> TrainImages:
    """All trainval photos in two sizes: larger ones to train on, and the input size to judge on."""
    height, width = backbone.transform.size
    larger = replace(backbone.transform, size=(round(CACHE_SCALE * height), round(CACHE_SCALE * width)))
    return load_train_images(
        job.shards, index, splits, (larger, backbone.transform), memory=job.memory, allow_pipe=job.allow_pipe
    )


def _remove_checkpoints(folders: Sequence[Path], accelerator: Accelerator) -> None:
    """Remove the checkpoints of a run that has ended from its `folders`; another run may lie in one of them."""
    if accelerator.is_main_process:
        for folder in folders:
            for name in (CHECKPOINT_FILE, EARLIER_CHECKPOINT):
                (folder / name).unlink(missing_ok=True)
    accelerator.wait_for_everyone()


def _facts(
    job: Finetuning, index: ShardIndex, splits: Splits, backbone: Backbone, precision: str, class_folds: int
) -> RunFacts:
    source = Source.read(index.source, f"the index of the shards of {index.benchmark}: source")
    return RunFacts(
        benchmark=index.benchmark,
        data=source.verdict or "unknown",  # an index of one's own may not say it
        splits=splits.verdict,
        split_hashes=source.split_hashes or (),
        shards_sha256=index.sha256,
        backbone=backbone.name,
        started_from_sha256=backbone.weights_sha256,
        config=asdict(job.config),
        folds=job.folds,
        crossfit=class_folds,
        hold_out=job.hold_out,
        judge=(job.judge, *job.judge_seeds),
        margin=job.margin,
        precision=precision,
        versions={"torch": torch.__version__, "timm": timm.__version__},
    )
