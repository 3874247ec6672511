"""Whether the backbone was trained on unseen classes: a class that it learned to name is not unseen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backbones.presets import IMAGENET, unseen_classes
from backbones.tuned import TunedFacts
from zsl.audit.findings import Finding, fail, ok, warn
from zsl.datasets.splits import Splits
from zsl.features.pretraining import check_tuned_photos, check_tuned_rows, in_imagenet, tuned_on, tunings


def check_pretraining(backbone: str, pretraining: str, unseen: Sequence[str]) -> list[Finding]:
    """Compare the names of the unseen classes with the data that `backbone` was trained on.

    pretraining: those data, as in a feature manifest.
    """
    check = "pretraining"
    worst = unseen_classes(pretraining)
    unknown = worst == "unknown"
    names = in_imagenet(unseen)
    exact, other = names.exact, names.synonyms
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
        message = f"{len(exact)} of {len(unseen)} unseen classes are classes of {IMAGENET}: {_listed(exact)}"
        findings.append(warn(check, message, exact=exact) if unknown else fail(check, message, exact=exact))
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


def check_finetuning(
    tuned: TunedFacts | None, benchmark: str, split_hashes: Sequence[str], trainval_hash: str, splits: Splits,
    tuned_rows: np.ndarray | None,
) -> list[Finding]:  # fmt: skip
    """Compare the rows and classes that the backbone was fine-tuned on with the splits and the unseen classes.

    tuned: the field `finetuned` of a feature manifest; None where the backbone was not fine-tuned.  tuned_rows: as in
    `FeatureTable`.
    """
    check, findings, unseen = "fine-tuning", [], splits.unseen_names
    try:
        check_tuned_rows(tuned, benchmark, split_hashes, trainval_hash)
        check_tuned_photos(tuned_rows, splits)
    except ValueError as error:
        findings.append(fail(check, str(error)))
    if names := tuned_on(tuned, unseen):
        listed = ", ".join(names[:5])
        message = f"the backbone was fine-tuned on {len(names)} of {len(unseen)} unseen classes: {listed}"
        findings.append(fail(check, message, classes=names))
    for tuning in tunings(tuned):
        if tuning.classes is None:
            message = f"the manifest does not name the classes of {tuning.benchmark} that the backbone was tuned on"
            findings.append(warn(check, f"{message}; extract anew"))
        if tuning.fold is not None:
            message = f"the backbone was fine-tuned for fold {tuning.fold} of {tuning.benchmark}"
            findings.append(warn(check, f"{message}; such features judge a recipe, they are not for results"))
    if tuned and not findings:
        stages = " and before that on ".join(
            f"{one.benchmark} ({len(one.classes or ())} classes)" for one in tunings(tuned)
        )
        findings.append(ok(check, f"on {stages}, with these splits; no unseen class among them"))
    return findings


def _listed(exact: dict[str, str]) -> str:
    return "; ".join(f"{name} = {words!r}" for name, words in list(exact.items())[:5])
