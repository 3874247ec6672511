"""The fine-tunings of one run: one for each fold that judges, one on all seen classes; and what each leaves on disk."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from backbones import Backbone
from backbones.backbone import as_backbone
from backbones.finetune import average, without_classifier
from backbones.finetune_config import FinetuneConfig
from backbones.tuned import Rows, TunedFacts, TunedGamma, TunedWeights, photos_metadata
from zsl.common.files import write_json
from zsl.common.launch import of_first_process, sole_launch
from zsl.common.tensors import write_tensors
from zsl.datasets.split_file import rows_hash
from zsl.datasets.splits import Splits
from zsl.features.class_folds import validation_fold_name
from zsl.finetune.data import TuningData
from zsl.finetune.decision import VERDICT_FILE, Decision, Verdict, decide, read_verdict
from zsl.finetune.images import TrainImages
from zsl.finetune.manifest import MANIFEST_FILE, WEIGHTS_FILE, RunFacts, TuningManifest, has_weights
from zsl.finetune.train import TunedEncoder, finetune
from zsl.finetune.verdict import Judge, encode_images, judge_features
from zsl.scores.folds import FoldScores
from zsl.training.trackers import LogWith, open_tracker

ALL_CLASSES = "all-classes"  # what a tracker calls the tuning on all seen classes


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """What the fine-tunings of a run have in common."""

    config: FinetuneConfig
    model: Any  # timm's model before, with its published classifier
    backbone: Backbone  # the encoder before
    architecture: str  # timm's name of it
    images: TrainImages
    facts: RunFacts
    key: str  # of the run's checkpoints
    checkpoint_seconds: float
    accelerator: Accelerator
    folder: Path  # of the run
    log_with: LogWith | None = None  # also shows losses elsewhere

    def tune(self, splits: Splits, folder: Path, classes: str, *, epochs: int | None = None) -> TunedEncoder:
        """Fine-tune on the trainval rows of `splits`, with checkpoints in `folder`.

        classes: which ones these are, in words.
        epochs: so many; None: early stopping on a held-out share.
        """
        name = ALL_CLASSES if folder == self.folder else folder.name
        log_with = self.log_with if self.accelerator.is_main_process else None
        with open_tracker(log_with, self.folder, name) as tracker:
            return finetune(
                self.model, TuningData.of(self.images, splits), self.backbone.transform, self.config, self.accelerator,
                folder, key=f"{self.key}/{rows_hash(splits.trainval_loc)}/{epochs}", epochs=epochs,
                checkpoint_seconds=self.checkpoint_seconds, what=f"fine-tune on {classes}", tracker=tracker,
            )  # fmt: skip

    def judge(
        self, folds: Mapping[int, Splits], folder: Path, *, judge: Judge, seeds: Sequence[int], margin: float
    ) -> Verdict:
        """Fine-tune once a fold, compare features before and after, write weights of each fold and the verdict.

        The method `judge` is trained on the features with each of `seeds`.  A verdict in `folder` is read; weights that
        were deleted are made again.
        """
        path = folder / VERDICT_FILE
        folders = {fold: validation_folder(folder, fold) for fold in folds}
        if not path.is_file():
            tuned = {fold: self.tune(splits, folders[fold], f"fold {fold}") for fold, splits in folds.items()}
            if self.accelerator.is_main_process:
                decision = self._compare(tuned, folds, judge, seeds, margin)
                verdict = _verdict(decision, tuned, folds, judge, seeds)
                for fold, splits in folds.items():
                    self.write(tuned[fold], decision.share, splits, folders[fold], fold=fold)
                write_json(path, verdict.content())
            self.accelerator.wait_for_everyone()
        verdict = read_verdict(path)
        self.write_lacking(folders, folds, verdict.decision.share)
        return verdict

    def write_lacking(
        self, folders: Mapping[int, Path], folds: Mapping[int, Splits], share: float, *, epochs: int | None = None
    ) -> None:
        """Tune the folds again whose weights were deleted, and write their mean with the old ones by `share`.

        folders: of the weights of each fold.  epochs: as in `tune`.

        Raises:
            FolderInUse: another process tunes one of them.
        """
        lacking = [fold for fold in folds if not has_weights(folders[fold])]
        for fold in of_first_process(lacking, self.accelerator):
            with sole_launch(folders[fold], self.accelerator):
                tuned = self.tune(folds[fold], folders[fold], f"fold {fold}", epochs=epochs)
                self.write(tuned, share, folds[fold], folders[fold], fold=fold)

    def write(
        self, tuned: TunedEncoder, share: float, splits: Splits, folder: Path, *, verdict: Verdict | None = None,
        fold: int | None = None, gamma: TunedGamma | None = None,
    ) -> TuningManifest:  # fmt: skip
        """Write the mean of the old weights and `share` of the tuned ones into `folder`, and their manifest.

        The file has timm's names, and the published classifier too, so that it fits the architecture.

        fold: the fold that these weights judge.  gamma: the γ of the folds, for features of the weights.
        """
        whole = self.model.state_dict()
        mixed = average({name: whole[name] for name in tuned.state}, _on_cpu(tuned.state), share)
        manifest = self._describe(tuned, share, verdict, self._tuned_facts(splits, fold, gamma))
        if self.accelerator.is_main_process:
            write_tensors(folder / WEIGHTS_FILE, whole | mixed, photos_metadata(self._photos(splits)))
            write_json(folder / MANIFEST_FILE, manifest.content())
        return manifest

    def _photos(self, splits: Splits) -> set[str]:
        """Hashes of the photos of trainval rows, and of those that the weights to start from were tuned on."""
        positions = self.images.position(splits.trainval_loc)
        return {*self.backbone.tuned_photos, *(self.images.photo_hashes[at] for at in positions)}

    def _compare(
        self, tuned: Mapping[int, TunedEncoder], folds: Mapping[int, Splits], judge: Judge, seeds: Sequence[int],
        margin: float,
    ) -> Decision:  # fmt: skip
        """Judge the encoder as it was, and each share of the tuned weights."""

        def scores(features: Sequence[Tensor]) -> FoldScores:
            return judge_features(
                features, self.images, list(folds.values()), benchmark=self.facts.benchmark, judge=judge, seeds=seeds
            )

        before = self.frozen
        after = {share: [self.features(each.state, share) for each in tuned.values()] for share in self.config.wise}
        of_shares = {share: scores(features) for share, features in after.items()}
        return decide(scores([before] * len(folds)), of_shares, margin)

    @cached_property
    def frozen(self) -> Tensor:
        """Features [N, D] of all photos with the weights before."""
        return self.features({}, 0.0)

    def features(self, state: Mapping[str, Tensor], share: float) -> Tensor:
        """Features [N, D] of all photos with the mean of the old weights and `share` of those in `state`."""
        encoder = without_classifier(self.model)
        encoder.load_state_dict(average(encoder.state_dict(), _on_cpu(state), share))
        after = as_backbone(encoder, self.backbone.name, self.backbone.options, pretraining="")
        return encode_images(after, self.images.sizes[1], self.accelerator, f"features, share {share:g}")

    def _describe(
        self, tuned: TunedEncoder, share: float, verdict: Verdict | None, facts: TunedFacts
    ) -> TuningManifest:
        fold = facts.fold
        part = "trainval" if fold is None else f"FOLD {fold} of trainval, for judging alone"
        progress = tuned.progress
        return TuningManifest(
            weights=TunedWeights(
                weights_file=WEIGHTS_FILE,
                architecture=self.architecture,
                pretraining=f"{self.backbone.pretraining}, fine-tuned on {self.facts.benchmark} {part}",
                image_size=self.backbone.transform.size[0],
                facts=facts,
            ),
            rows_decoded=Rows(count=len(self.images.rows), hash=self.images.rows_hash),
            share_of_tuned_weights=share,
            epochs=progress.best_epoch,
            images_per_second=round(progress.trained_images / progress.seconds, 2) if progress.seconds else None,
            curve=progress.epochs,
            losses=progress.losses,
            verdict=verdict,
            processes=self.accelerator.num_processes,
            threads=torch.get_num_threads(),
            command=" ".join(sys.argv),
            facts=self.facts,
        )

    def _tuned_facts(self, splits: Splits, fold: int | None, gamma: TunedGamma | None) -> TunedFacts:
        return TunedFacts(
            benchmark=self.facts.benchmark,
            fold=fold,
            trainval=Rows(count=len(splits.trainval_loc), hash=rows_hash(splits.trainval_loc)),
            split_hashes=self.facts.split_hashes,
            classes=tuple(splits.class_names[class_id] for class_id in splits.seen),
            started_from=self.backbone.finetuned,
            gamma=gamma,
        )


def validation_folder(folder: Path, fold: int) -> Path:
    """Where a run in `folder` keeps the weights of a validation fold."""
    return folder / validation_fold_name(fold)


def _verdict(
    decision: Decision, tuned: Mapping[int, TunedEncoder], folds: Mapping[int, Splits], judge: Judge,
    seeds: Sequence[int],
) -> Verdict:  # fmt: skip
    counts = {str(fold): len(splits.unseen) for fold, splits in folds.items()}
    return Verdict(
        decision=decision,
        folds=tuple(folds),
        judge=judge,
        judge_seeds=tuple(seeds),
        epochs=round(sum(each.progress.best_epoch for each in tuned.values()) / len(tuned)),
        validation_classes=counts,
        meaning=f"the {sum(counts.values())} validation classes that judge were not trained on; on them were chosen "
        "the share (by the highest H, so that the gain is a little too high), each side's γ and this verdict; the "
        "number of epochs on held-out photos of the training classes",
    )


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in state.items()}
