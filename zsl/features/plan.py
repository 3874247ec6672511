"""The manifest of a table before it is made, and whether a table that exists is the one that it describes."""

from __future__ import annotations

import platform
from dataclasses import asdict, replace
from pathlib import Path

import timm
import torch
import torchvision

from backbones import Backbone, unseen_classes
from backbones.engines import TORCH, Engine, engine_versions
from backbones.tuned import TunedFacts
from shards import ShardIndex
from zsl.features.manifest import (
    MANIFEST_FILE,
    EncodeFacts,
    Manifest,
    Source,
    TransformFacts,
    read_manifest,
    write_manifest,
)
from zsl.features.stream import Decoder, OnError
from zsl.features.table import lacks_files

# What all numbers of a table depend on.  `source` and `finetuned` are not compared: equal shards and equal weights have
# equal numbers, whatever an earlier version wrote of them.  Versions may differ.
COMPARED = (
    "backbone", "benchmark", "dim", "encode", "engine", "format", "precision", "pretraining", "shards_sha256",
    "transform", "weights_sha256",
)  # fmt: skip
# What the numbers of one part depend on, beside the part's own shard.
OF_PART = (
    "finetuned", "tuned_photos", "format", "benchmark", "backbone", "pretraining", "weights_sha256", "transform",
    "encode", "precision", "engine", "versions", "dim",
)  # fmt: skip


def plan_table(
    backbone: Backbone, index: ShardIndex, precision: str, decoder: Decoder, engine: Engine = TORCH
) -> Manifest:
    """The manifest of the table to be, before anything is computed; `compute` and speed are not known yet."""
    options = backbone.options
    crop = "the row's box" if "shared_photos" in index.source else "none, whole image"
    return Manifest(
        benchmark=index.benchmark,
        source=Source.read(index.source, f"the index of the shards of {index.benchmark}: source"),
        shards_sha256=index.sha256,
        backbone=backbone.name,
        pretraining=backbone.pretraining,
        weights_sha256=backbone.weights_sha256,
        weights_file=backbone.weights_file,
        finetuned=backbone.finetuned,
        tuned_photos=len(backbone.tuned_photos) or None,
        transform=TransformFacts(**asdict(backbone.transform), crop=crop, decoder=decoder),
        encode=EncodeFacts(flip=options.flip, layer=options.layer, fp32_layers=options.fp32_layers),
        precision=precision,
        engine=None if engine == TORCH else engine,
        versions={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "torchvision": torchvision.__version__,
            "timm": timm.__version__,
            **engine_versions(engine),
        },
        dim=backbone.dim,
        count=index.count,
        unseen_classes=unseen_classes(backbone.pretraining),
    )


def finished_table(out: Path, plan: Manifest, on_error: OnError) -> Manifest | None:
    """The manifest of the table in `out`; None where there is no whole one, or one of its files is gone.

    An incomplete table counts as whole for "quarantine" only.  A table of the same photos under other splits, or of
    equal weights that another fine-tuning gave, stays as it is, and its manifest gets the splits and γ of `plan`.

    Raises:
        ValueError: the table was made from other input than `plan` says; the message names the first difference.
    """
    if not (out / MANIFEST_FILE).is_file():
        return None
    manifest = read_manifest(out / MANIFEST_FILE)
    incomplete = on_error == "stop" and manifest.quarantined > 0
    content, planned = manifest.as_json, plan.as_json
    for name in COMPARED:
        if incomplete and name == "shards_sha256":  # a mended photo changes its shard
            continue
        if content.get(name) != planned.get(name):
            raise ValueError(
                f"{out} was made with {name} = {content.get(name)!r}, asked for is {planned.get(name)!r}; "
                "delete that folder, or use another --data"
            )
    return None if incomplete or lacks_files(out, manifest) else _with_new_facts(manifest, plan, out)


def _with_new_facts(manifest: Manifest, plan: Manifest, out: Path) -> Manifest:
    """The manifest with the splits of `plan`, and with its γ, if it has one: features depend on neither."""
    before = manifest
    if manifest.source.split_hashes != plan.source.split_hashes:
        manifest = replace(manifest, source=plan.source)
    manifest = with_gamma(manifest, plan.finetuned)
    if manifest == before:
        return before
    write_manifest(out / MANIFEST_FILE, manifest)
    return manifest


def with_gamma(manifest: Manifest, tuned: TunedFacts | None) -> Manifest:
    """The manifest with the γ of its weights, which may have been cross-fitted after the table was made.

    tuned: what the weights state of their fine-tuning now; without a γ, that of the manifest stays.
    """
    if manifest.finetuned is None or tuned is None or tuned.gamma is None:
        return manifest
    return replace(manifest, finetuned=replace(manifest.finetuned, gamma=tuned.gamma))
