"""Names of unseen classes against the data behind a backbone: a class it was trained to name was not unseen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from timm.data.imagenet_info import ImageNetInfo

from backbones.presets import UnseenClasses, unseen_classes

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
    """Every name in ImageNet-1k's list (WordNet lemmas, as timm ships them), made plain, with its class in words."""
    info = ImageNetInfo()
    classes = [info.index_to_description(index) for index in range(info.num_classes())]
    return {plain(lemma): words for words in reversed(classes) for lemma in words.split(",")}


def in_imagenet(unseen: Sequence[str]) -> InImageNet:
    """Which of the classes named `unseen` are among ImageNet-1k's 1,000."""
    names = imagenet_names()
    exact = {name: names[plain(name)] for name in unseen if plain(name) in names}
    synonyms = {name: list(SYNONYMS[plain(name)]) for name in unseen if plain(name) in SYNONYMS and name not in exact}
    return InImageNet(exact=exact, synonyms=synonyms)


def judge_pretraining(pretraining: str, unseen: Sequence[str]) -> UnseenClasses:
    """What `pretraining` data means for the classes named `unseen`.

    A class that ImageNet-1k has under its very name counts as probably seen.
    """
    worst = unseen_classes(pretraining)
    if worst != "synonyms":
        return worst
    found = in_imagenet(unseen)
    return "probably seen" if found.exact else "synonyms" if found.synonyms else "clean"
