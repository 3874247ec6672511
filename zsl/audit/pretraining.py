"""Unseen classes against the data behind the backbone: a class it was trained to name was not unseen."""

from __future__ import annotations

import re
from collections.abc import Sequence

from timm.data.imagenet_info import ImageNetInfo

from zsl.audit.findings import Finding, fail, ok, warn

IMAGENET = "ImageNet-1k"
UNKNOWN = "unknown"

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


def plain(name: str) -> str:
    """Letters alone, without a leading class number: `087.Mallard`, `blue+whale` and `Blue Whale` can be compared."""
    return re.sub(r"[^a-z]", "", re.sub(r"^\d+\.", "", name).lower())


def imagenet_names() -> dict[str, str]:
    """Every name in ImageNet-1k's list (WordNet lemmas, as timm ships them), made plain, with its class in words."""
    info = ImageNetInfo()
    classes = [info.index_to_description(index) for index in range(info.num_classes())]
    return {plain(lemma): words for words in reversed(classes) for lemma in words.split(",")}


def check_pretraining(backbone: str, pretraining: str, unseen: Sequence[str]) -> list[Finding]:
    """Compare the names of the unseen classes with what `backbone` was trained on."""
    check = "pretraining"
    names = imagenet_names()
    unknown = pretraining.startswith(UNKNOWN)
    exact = {name: names[plain(name)] for name in unseen if plain(name) in names}
    other = {name: list(SYNONYMS[plain(name)]) for name in unseen if plain(name) in SYNONYMS and name not in exact}
    findings = []
    if unknown:
        findings.append(warn(check, f"{backbone}: what it was trained on is {pretraining}; the unseen classes may be"))
    elif not pretraining.startswith(IMAGENET):
        findings.append(
            warn(
                check,
                f"{backbone} was trained on {pretraining}, which has seen most of the {len(unseen)} unseen classes; "
                f"results are not comparable with {IMAGENET} backbones",
            )
        )
    if exact:
        found = f"{len(exact)} of {len(unseen)} unseen classes are classes of {IMAGENET}: {_listed(exact)}"
        findings.append(warn(check, found, exact=exact) if unknown else fail(check, found, exact=exact))
    if other:
        findings.append(
            warn(
                check,
                f"{len(other)} of {len(unseen)} unseen classes are in {IMAGENET} under another name: "
                + "; ".join(f"{name} as {', '.join(lemmas)}" for name, lemmas in other.items()),
                synonyms=other,
            )
        )
    if not findings:
        findings.append(
            ok(check, f"{backbone} ({pretraining}): none of {len(unseen)} unseen classes is among its 1,000")
        )
    return findings


def _listed(exact: dict[str, str]) -> str:
    return "; ".join(f"{name} = {words!r}" for name, words in list(exact.items())[:5])
