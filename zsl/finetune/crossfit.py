"""Cross-fitting by classes: per fold a backbone that knows neither the left-out classes nor the held-out photos.

Each fold's answers are files of their own below the run's folder.  So a killed run goes on, and several processes that
were started by the same command take one fold each.  Every fold is tuned by the final recipe with as many epochs, and
without early stopping.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zsl.common.launch import of_first_process, sole_launch
from zsl.common.locks import FolderInUse
from zsl.common.long_work import PROGRESS_FILE, LongWork
from zsl.common.records import write_record
from zsl.datasets.folds import calibration_folds, fold_count
from zsl.datasets.splits import Splits
from zsl.features.class_folds import check_class_fold, fold_name
from zsl.features.table import FeatureTable
from zsl.finetune.answers import Answers, load_answers
from zsl.finetune.crossfit_verdict import CROSSFIT_FILE, CrossfitVerdict, conclude, read_crossfit
from zsl.finetune.train import TunedEncoder
from zsl.finetune.tuning import Tuning
from zsl.finetune.verdict import Judge, answers_on

FROZEN = 0.0  # the share of tuned weights in the frozen encoder
PENDING = "other processes still tune class folds of this run; the one that ends last goes on"
MOST_FOLDS = 4  # without --crossfit; each is one more fine-tuning
ALL = "all seen classes"
LEAST_HELD_OUT = 4  # photos of seen classes that a fold holds out: two in each half


class FoldsPending(Exception):
    """Other processes still make class folds of the run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossfit:
    """The class folds of one run."""

    tuning: Tuning
    folds: Mapping[int, Splits]  # by number; in each, a part of the seen classes plays unseen
    folder: Path  # of the run
    judge: Judge
    held_out: bool  # whether the final weights leave seen photos out, so that γ can be measured on these

    def run(self) -> CrossfitVerdict:
        """Make the folds that are not there yet, and the verdict.

        The fold's weights, with the share of new ones that the verdict chose, lie beside its answers.  Weights that
        were deleted are made again.

        Raises:
            FoldsPending: other processes still make folds.
        """
        path = self.folder / CROSSFIT_FILE
        if not self._agreed(path.is_file()):
            work = self._work()
            for number in self.folds:
                with work.piece(fold_name(number)):
                    self._make_fold(number)
            if not self._agreed(all(self._is_made(number) for number in self.folds)):
                raise FoldsPending(PENDING)
            try:
                self._conclude(path)
            except FolderInUse as error:  # another process has ended its fold at the same time
                raise FoldsPending(PENDING) from error
        verdict = read_crossfit(path)
        self.tuning.write_lacking(self._folders, self.folds, verdict.share, epochs=self.tuning.config.epochs)
        return verdict

    def _work(self) -> LongWork:
        """The folds and the last tuning, on all seen classes, as pieces of one work; their sizes are photos."""
        sizes = {fold_name(number): len(splits.trainval_loc) for number, splits in self.folds.items()}
        made = {fold_name(number): number for number in self.folds}
        return LongWork(
            self.folder / PROGRESS_FILE,
            sizes | {ALL: len(self.tuning.images.rows)},
            what=f"fine-tunings of {self.folder}",
            is_done=lambda name: name != ALL and self._is_made(made[name]),
            shown=self.tuning.accelerator.is_main_process,
        )

    def _make_fold(self, number: int) -> None:
        """Tune and judge a fold, but not one that is made, or that another launch is making."""
        accelerator = self.tuning.accelerator
        if self._agreed(self._is_made(number)):
            return
        with suppress(FolderInUse), sole_launch(self._folder(number), accelerator):
            tuned = self._tune(number)
            if accelerator.is_main_process:
                self._answer(number, tuned)
        accelerator.wait_for_everyone()

    def _tune(self, number: int) -> TunedEncoder:
        """The encoder of a fold; from its checkpoint if that is there."""
        config = self.tuning.config
        what = f"fold {number} of {len(self.folds)}"
        return self.tuning.tune(self.folds[number], self._folder(number), what, epochs=config.epochs)

    def _answer(self, number: int, tuned: TunedEncoder) -> None:
        """Write what the judge says with each share of the tuned weights."""
        for share in self._shares:
            path = self._file(number, share)
            if path.is_file():
                continue
            features = self.tuning.frozen if share == FROZEN else self.tuning.features(tuned.state, share)
            answers_on(
                features, self.tuning.images, self.folds[number], benchmark=self.tuning.facts.benchmark,
                judge=self.judge,
            ).save(path)  # fmt: skip

    def _conclude(self, path: Path) -> None:
        tuning = self.tuning
        with sole_launch(self.folder, tuning.accelerator):
            answers = {share: self._answers(share) for share in self._shares}
            frozen = answers.pop(FROZEN)
            verdict = conclude(frozen, answers, held_out=self.held_out, judge=self.judge, epochs=tuning.config.epochs)
            for number, splits in self.folds.items():
                tuning.write(self._tune(number), verdict.share, splits, self._folder(number), fold=number)
            if tuning.accelerator.is_main_process:
                write_record(path, verdict)
            tuning.accelerator.wait_for_everyone()

    def _answers(self, share: float) -> dict[int, Answers]:
        return {number: load_answers(self._file(number, share)) for number in self.folds}

    def _agreed(self, fact: bool) -> bool:
        """What the first process of this launch sees; another launch may be changing it."""
        return of_first_process(fact, self.tuning.accelerator)

    def _is_made(self, number: int) -> bool:
        return all(self._file(number, share).is_file() for share in self._shares)

    @property
    def _shares(self) -> tuple[float, ...]:
        return FROZEN, *self.tuning.config.wise

    @property
    def _folders(self) -> dict[int, Path]:
        return {number: self._folder(number) for number in self.folds}

    def _folder(self, number: int) -> Path:
        return self.folder / fold_name(number)

    def _file(self, number: int, share: float) -> Path:
        return self._folder(number) / f"share-{share:g}.safetensors"


def class_folds(splits: Splits, table: FeatureTable, count: int | None) -> dict[int, Splits]:
    """The folds of a cross-fitting by number.

    table: rows and labels at hand, and what the weights to start from know.  count: number of folds; None: by the
    test's share of classes; 0: none.

    Raises:
        ValueError: the weights to start from know the seen classes; or there are too few of these.
    """
    count = fold_count(splits, MOST_FOLDS) if count is None else count
    if count == 0:
        return {}
    remedy = "give a larger --crossfit, or 0 for no class folds" if count < len(splits.seen) else "give --crossfit 0"
    try:
        folds = calibration_folds(splits, table.rows, table.labels, count=count)
    except ValueError as error:  # no class has a photo that could be held out, whatever the number of folds
        raise ValueError(f"no class folds: {error}; give --crossfit 0") from error
    if not folds:
        raise ValueError(
            f"{count} class folds leave less than two of {len(splits.seen)} seen classes to tune on; {remedy}"
        )
    for number, of_fold in folds.items():
        check_class_fold(table, of_fold, number)
        if len(of_fold.test_seen_loc) < LEAST_HELD_OUT:
            raise ValueError(
                f"class fold {number} holds out {len(of_fold.test_seen_loc)} photos of seen classes, which are too few "
                f"to measure γ; {LEAST_HELD_OUT} are needed: {remedy}"
            )
    return folds
