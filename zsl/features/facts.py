"""What a run or a search says about its data: frozen dataclasses, made from a feature table and its splits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from backbones.presets import WORST_FIRST, UnseenClasses
from zsl.common.records import content_of
from zsl.datasets.split_file import PARTS
from zsl.datasets.splits import ATTRIBUTES, Splits, attributes_hash
from zsl.features.manifest import UNKNOWN, EncodeFacts, Manifest, TransformFacts
from zsl.features.pretraining import judge_pretraining
from zsl.features.table import FeatureTable


@dataclass(frozen=True, kw_only=True)
class FeatureFacts:
    """What tells a feature table from another one of the same benchmark and backbone."""

    shards_sha256: str | None
    weights_sha256: str | None
    precision: str
    dim: int
    count: int
    transform: TransformFacts | None
    encode: EncodeFacts | None
    imported_sha256: str | None  # of the file that the table was imported from
    engine: str | None = None  # the program that ran the encoder; None: PyTorch
    parts: tuple[FeatureFacts, ...] = ()  # of joined backbones, in the order of their columns


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """What tells a feature table from any other one."""

    benchmark: str
    backbone: str
    features: FeatureFacts

    @property
    def as_json(self) -> dict[str, Any]:
        """The part of `selection.json`, and of the head of a file of trials, that names the features."""
        return content_of(self)


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The data behind a result: the part of `config.json` and `results.json` that is about data."""

    benchmark: str
    backbone: str
    pretraining: str
    unseen_classes: UnseenClasses  # what the pretraining data mean for this benchmark's unseen classes
    data: str  # which photos, in words
    missing_photos: int  # official rows without a photo
    quarantined_photos: int  # photos that could not be read
    splits: str  # in words
    attributes: str  # kind of the class attributes
    attributes_hash: str
    side_information: str = ATTRIBUTES  # what the models know of classes: attributes, vectors, names
    rows: dict[str, int]  # by part
    classes: dict[str, int]  # seen and unseen
    features: FeatureFacts


def describe_features(manifest: Manifest) -> TableFacts:
    """Benchmark, backbone, and what the values of the features depend on."""
    return TableFacts(benchmark=manifest.benchmark, backbone=manifest.backbone, features=_facts_of(manifest))


def _facts_of(manifest: Manifest) -> FeatureFacts:
    return FeatureFacts(
        shards_sha256=manifest.shards_sha256,
        weights_sha256=manifest.weights_sha256,
        precision=manifest.precision,
        dim=manifest.dim,
        count=manifest.count,
        transform=manifest.transform,
        encode=manifest.encode,
        imported_sha256=manifest.imported.sha256 if manifest.imported else None,
        engine=manifest.engine,
        parts=tuple(map(_facts_of, manifest.parts)) if len(manifest.parts) > 1 else (),
    )


def differing_facts(then: TableFacts, now: TableFacts) -> dict[str, tuple[Any, Any]]:
    """The facts in which two feature tables differ, by name, each with both values; none of a table and itself."""
    pairs = ((then, now), (then.features, now.features))
    values = {
        field.name: (getattr(one, field.name), getattr(other, field.name))
        for one, other in pairs
        for field in fields(one)
        if field.name != "features"
    }
    return {name: both for name, both in values.items() if both[0] != both[1]}


def with_parts(content: dict[str, Any]) -> dict[str, Any]:
    """The JSON of facts with what files of earlier versions lack: fields of `features`, and `side_information`."""
    features, selection = content.get("features"), content.get("selection")
    added: dict[str, Any] = {"features": _with_all_fields(features)} if isinstance(features, dict) else {}
    if "attributes" in content:
        added["side_information"] = content.get("side_information", ATTRIBUTES)
    return content | added | ({"selection": with_parts(selection)} if isinstance(selection, dict) else {})


def _with_all_fields(features: dict[str, Any]) -> dict[str, Any]:
    """The JSON of `FeatureFacts` with `engine` and `parts`, in the parts, too."""
    parts = features.get("parts", [])
    if isinstance(parts, list):
        parts = [_with_all_fields(part) if isinstance(part, dict) else part for part in parts]
    return {"engine": None} | features | {"parts": parts}


def describe_data(table: FeatureTable, splits: Splits) -> DataFacts:
    """The facts about `table` and its `splits` that go into every result."""
    manifest = table.manifest
    quarantined = f"; {manifest.quarantined} photos QUARANTINED" if manifest.quarantined else ""
    return DataFacts(
        benchmark=manifest.benchmark,
        backbone=manifest.backbone,
        pretraining=manifest.pretraining,
        unseen_classes=min(
            (judge_pretraining(part.pretraining, splits.unseen_names, part.finetuned) for part in manifest.parts),
            key=WORST_FIRST.index,
        ),
        data=f"{manifest.source.verdict or UNKNOWN}{quarantined}",
        missing_photos=manifest.source.missing or 0,
        quarantined_photos=manifest.quarantined,
        splits=splits.verdict,
        attributes=splits.attribute_kind,
        attributes_hash=attributes_hash(splits.attributes),
        side_information=splits.side_information,
        rows={part: len(getattr(splits, part)) for part in PARTS},
        classes={"seen": len(splits.seen), "unseen": len(splits.unseen)},
        features=describe_features(manifest).features,
    )
