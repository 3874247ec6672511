"""Names of unseen classes against the data behind a backbone: a class it was trained to name was not unseen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from backbones.presets import UnseenClasses, unseen_classes
from backbones.tuned import TunedFacts
from zsl.datasets.splits import Splits

# ImageNet-1k's classes, one a line: WordNet's lemmas, as timm ships them too.  timm itself takes seconds to import, and
# every result of a training says what the pretraining data knows.
CLASSES_FILE = Path(__file__).with_name("imagenet_classes.txt")

# Unseen classes of the official splits that ImageNet-1k holds under another name or as a part: lemmas of its list.
SYNONYMS = {
    "tvmonitor": ("monitor", "television"),  # aPY
    "motorbike": ("moped", "motor scooter"),
    "train": ("bullet train", "electric locomotive", "steam locomotive"),
    "pottedplant": ("pot",),
    "sheep": ("ram", "bighorn"),  # aPY, AWA
    "horse": ("sorrel",),
    "cow": ("ox",),
    "mallard": ("drake",),  # CUB
    "greenvioletear": ("hummingbird",),
}


@dataclass(frozen=True, kw_only=True)
class InImageNet:
    """Unseen classes that ImageNet-1k holds, with the names it has for them."""

    exact: dict[str, str]  # under their own name: the ImageNet class in words
    synonyms: dict[str, list[str]]  # under other names, or as a part


def plain(name: str) -> str:
    """Letters alone, without a leading class number: `087.Mallard`, `blue+whale` and `Blue Whale` can be compared."""
    return re.sub(r"[^a-z]", "", re.sub(r"^\d+\.", "", name).lower())


@cache
def imagenet_names() -> dict[str, str]:
    """Every name in ImageNet-1k's list, made plain, with its class in words."""
    classes = CLASSES_FILE.read_text(encoding="utf-8").splitlines()
    return {plain(lemma): words for words in reversed(classes) for lemma in words.split(",")}


def in_imagenet(unseen: Sequence[str]) -> InImageNet:
    """Which of the classes named `unseen` are among ImageNet-1k's 1,000."""
    names = imagenet_names()
    exact = {name: names[plain(name)] for name in unseen if plain(name) in names}
    synonyms = {name: list(SYNONYMS[plain(name)]) for name in unseen if plain(name) in SYNONYMS and name not in exact}
    return InImageNet(exact=exact, synonyms=synonyms)


def judge_pretraining(pretraining: str, unseen: Sequence[str], tuned: TunedFacts | None = None) -> UnseenClasses:
    """What `pretraining` data, and the fine-tuning `tuned` of the weights, mean for the classes named `unseen`.

    A class that ImageNet-1k or a fine-tuning has under its very name counts as probably seen.
    """
    if tuned_on(tuned, unseen):
        return "probably seen"
    worst = unseen_classes(pretraining)
    if worst != "synonyms":
        return worst
    in_list = in_imagenet(unseen)
    return "probably seen" if in_list.exact else "synonyms" if in_list.synonyms else "clean"


# --- fine-tuned weights: `tuned` is the field `finetuned` of a feature manifest, None for other weights --------------


class TaughtBefore(ValueError):
    """Error: the weights behind features were fine-tuned on a class or a photo that is to judge here."""


def tunings(tuned: TunedFacts | None) -> list[TunedFacts]:
    """Each fine-tuning behind the weights, the last one first: one may have started from another's weights."""
    return [tuned, *tunings(tuned.started_from)] if tuned else []


def tuned_on(tuned: TunedFacts | None, names: Sequence[str]) -> list[str]:
    """Those of `names` that the weights were taught, under that name or one that differs in case and punctuation."""
    return _among(names, [name for tuning in tunings(tuned) for name in tuning.classes or ()])


def check_tuned_rows(tuned: TunedFacts | None, benchmark: str, split_hashes: Sequence[str], trainval_hash: str) -> None:
    """Refuse weights that were tuned on other splits of `benchmark`, whose trainval rows may be test rows here.

    split_hashes: of the split files now.  trainval_hash: of the rows now, for a fine-tuning by an earlier version,
    which did not write the hashes of its splits.

    Raises:
        ValueError: the weights were tuned on other splits.
    """
    for tuning in tunings(tuned):
        if tuning.benchmark != benchmark:
            continue
        if tuning.split_hashes is not None:
            then, now = "/".join(tuning.split_hashes), "/".join(split_hashes)
        elif tuning.fold is None:
            then, now = tuning.trainval.hash, trainval_hash
        else:
            continue  # nothing to compare with: a fold's rows are a part of trainval
        if then != now:
            raise ValueError(
                f"the weights behind these features were fine-tuned on {benchmark} with splits {then}, these are "
                f"{now}: photos that they were tuned on may be test photos here; fine-tune on these splits"
            )


def check_tuned_photos(tuned_rows: np.ndarray | None, splits: Splits) -> None:
    """Refuse weights that were tuned on test photos of `splits`, under whatever name of photo or benchmark.

    tuned_rows: official rows of the photos that the weights were tuned on [n]; None: not known.

    Raises:
        TaughtBefore: a test row is one of them.
    """
    if tuned_rows is None:
        return
    test = np.intersect1d(tuned_rows, np.concatenate([splits.test_seen_loc, splits.test_unseen_loc]))
    if len(test):
        raise TaughtBefore(
            f"the weights behind these features were fine-tuned on {len(test)} photos that are test photos here (row "
            f"{test[0]} is the first): their scores would not be honest; fine-tune on these splits, or take weights "
            "that were not tuned on these photos"
        )


def knows_judges(tuned: TunedFacts | None, tuned_rows: np.ndarray | None, splits: Splits, benchmark: str) -> bool:
    """Whether weights were tuned on an unseen class or a test photo of `splits`, a part of the trainval of `benchmark`.

    A fine-tuning on `benchmark` counts as one, and so does one whose classes are not known.

    tuned_rows: as in `check_tuned_photos`.
    """
    if any(tuning.benchmark == benchmark or tuning.classes is None for tuning in tunings(tuned)):
        return True
    judges = np.concatenate([splits.test_seen_loc, splits.test_unseen_loc])
    known = np.intersect1d(judges, [] if tuned_rows is None else tuned_rows)
    return len(known) > 0 or bool(tuned_on(tuned, splits.unseen_names))


def check_tuned_fold(tuned: TunedFacts | None, benchmark: str, fold: int, classes: Sequence[str]) -> None:
    """Refuse weights that were taught the validation `classes` of `fold`: nothing can be chosen there with them.

    Raises:
        TaughtBefore: the weights were taught a class of the fold.
    """
    taught = tuned_on(tuned, classes)
    for tuning in tunings(tuned):
        # Feature tables of earlier versions say the fold, but no classes.
        unnamed = tuning.classes is None and tuning.benchmark == benchmark and tuning.fold != fold
        if unnamed or _among(taught, tuning.classes or ()):
            part = "all of trainval" if tuning.fold is None else f"fold {tuning.fold}"
            raise TaughtBefore(
                f"the weights were fine-tuned on {part} of {tuning.benchmark}, so that they know "
                f"{'the' if unnamed else f'{len(taught)} of {len(classes)}'} validation classes of fold {fold}: "
                f"nothing can be chosen or judged there.  scripts/finetune.py --folds {fold} writes the weights of the "
                f"fold beside the others: extract with, or start from, fold-{fold}/weights.safetensors for this fold "
                "alone.  scripts/study.py chooses on the class folds of a fine-tuning"
            )


def _among(names: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Those of `names` that are one of `classes`."""
    comparable = {_comparable(name) for name in classes}
    return [name for name in names if _comparable(name) in comparable]


def _comparable(name: str) -> str:
    """As `plain`, but numbers within a name count: `class 1` and `class 2` are two classes."""
    return re.sub(r"[\W_]", "", re.sub(r"^\d+\.", "", name).lower()) or name
