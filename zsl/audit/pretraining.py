"""Unseen classes against the data behind the backbone: a class it was trained to name was not unseen."""

from __future__ import annotations

from collections.abc import Sequence

from backbones.presets import IMAGENET, unseen_classes
from zsl.audit.findings import Finding, fail, ok, warn
from zsl.pretraining import in_imagenet


def check_pretraining(backbone: str, pretraining: str, unseen: Sequence[str]) -> list[Finding]:
    """Compare the names of the unseen classes with what `backbone` was trained on."""
    check = "pretraining"
    worst = unseen_classes(pretraining)
    unknown = worst == "unknown"
    found_names = in_imagenet(unseen)
    exact, other = found_names.exact, found_names.synonyms
    findings = []
    if unknown:
        findings.append(warn(check, f"{backbone}: what it was trained on is {pretraining}; the unseen classes may be"))
    elif worst == "probably seen":
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
