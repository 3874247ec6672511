"""Joined backbones: the feature tables of several backbones side by side, read from their folders as one table.

`--backbone a+b` names a join.  Nothing is written for it: the parts' tables stay what they are, and their manifests say
what the join is.  What any part's weights know, the join knows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from backbones.presets import join_pretraining, unseen_classes
from backbones.tuned import TunedFacts
from zsl.common.hub import address_of, local_folder
from zsl.datasets.places import features_folder
from zsl.features.load import find_features, table_name
from zsl.features.manifest import MANIFEST_FILE, Manifest, read_manifest
from zsl.features.side_by_side import SideBySide
from zsl.features.table import FeatureTable, read_features

SIGN = "+"  # between the names of the parts
NEITHER = "extract both from the same shards: scripts/extract.py keeps features of the same photos and notes new splits"


@dataclass(frozen=True, kw_only=True)
class JoinedManifest(Manifest):
    """The manifest of tables side by side, which no file holds."""

    joined: tuple[Manifest, ...]  # of the parts, in the order of their columns

    @property
    def parts(self) -> tuple[Manifest, ...]:
        """The manifests of the parts."""
        return self.joined

    @property
    def as_json(self) -> dict[str, Any]:
        """The parts' manifests, which say everything."""
        return {"joined": [manifest.as_json for manifest in self.joined]}


# --- names and folders -----------------------------------------------------------------------------------------------


def part_names(backbone: str, known: Collection[str] = ()) -> tuple[str, ...]:
    """The names of the parts of `a+b`; a name alone is its only part.

    known: names that may have a + of their own, such as those of tables; the longest one that fits is a part.

    Raises:
        ValueError: a part is empty, or occurs twice.
    """
    words, names = backbone.split(SIGN), list[str]()
    if not all(words):
        raise ValueError(f"--backbone {backbone}: a name is missing beside a {SIGN}, which joins two backbones")
    while words:
        ends = (end for end in range(len(words), 0, -1) if SIGN.join(words[:end]) in known)
        end = next(ends, 1)
        names.append(SIGN.join(words[:end]))
        words = words[end:]
    check_distinct(names, names)
    return tuple(names)


def known_tables(data: Path, benchmark: str) -> set[str]:
    """The names of the benchmark's whole feature tables."""
    return {path.parent.name for path in features_folder(data, benchmark, "x").parent.glob(f"*/{MANIFEST_FILE}")}


def find_tables(data: Path, benchmark: str, backbone: str) -> tuple[Path, ...]:
    """The folders of the feature tables of the parts of `backbone`, as `find_features` finds each.

    Raises:
        FileNotFoundError: a part has no table; the message says how to make it.
        ValueError: a part is empty, unknown, or the same as another one; or there is no such benchmark.
    """
    names = part_names(backbone, known_tables(data, benchmark))
    folders = tuple(find_features(data, benchmark, name) for name in names)
    check_distinct(names, [folder.name for folder in folders])
    return folders


def named_table(features: Path, backbone: str | None) -> Path:
    """The folder of the table that `--features` names; a `--backbone` beside it has to name the same table.

    Raises:
        FileNotFoundError: as `local_folder`.
        ValueError: as `local_folder`; or `backbone` names another table.
    """
    folder = local_folder(features)
    if backbone is None or not (folder / MANIFEST_FILE).is_file():
        return folder
    of_table = read_manifest(folder / MANIFEST_FILE).backbone
    if not {backbone, _table_name(backbone)} & {of_table, folder.name}:
        raise ValueError(
            f"--features {address_of(features)} is a table of {of_table}, --backbone {backbone} names another "
            "one; leave one of the two out"
        )
    return folder


def _table_name(backbone: str) -> str | None:
    try:
        return table_name(backbone)
    except ValueError:  # a join, or no backbone
        return None


def check_distinct(names: Sequence[str], full_names: Sequence[str]) -> None:
    """Check that no part occurs twice, under whichever of its names.

    Raises:
        ValueError: two parts have the same full name.
    """
    for full_name in full_names:
        same = [other for other, of_other in zip(names, full_names, strict=True) if of_other == full_name]
        if len(same) > 1:
            raise ValueError(
                f"--backbone {SIGN.join(names)}: {' and '.join(same)} are the same features ({full_name}), which say "
                "nothing new a second time; name each part once"
            )


def read_tables(folders: Sequence[Path], *, allow_incomplete: bool = False) -> FeatureTable:
    """Open the table in one folder, or the join of those in several.

    Raises:
        FileNotFoundError, ValueError: as `read_features` and `join_tables`.
    """
    return join_tables([read_features(folder, allow_incomplete=allow_incomplete) for folder in folders])


# --- the join --------------------------------------------------------------------------------------------------------


def join_tables(tables: Sequence[FeatureTable]) -> FeatureTable:
    """Put tables of the same photos side by side; one table alone stays as it is.

    Raises:
        ValueError: two of them have other photos, splits, classes or precision; the message names both.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    for one, other in combinations(tables, 2):
        _check_fit(one, other)
    arrays = [array for table in tables for _, array in table.parts]
    tuned = [table.tuned_rows for table in tables if table.tuned_rows is not None]
    return FeatureTable(
        features=SideBySide(tuple(arrays)),
        labels=first.labels,
        rows=first.rows,
        manifest=_join_manifests([manifest for table in tables for manifest, _ in table.parts]),
        tuned_rows=np.unique(np.concatenate(tuned)) if tuned else None,
    )


def _check_fit(first: FeatureTable, other: FeatureTable) -> None:
    """Check that two tables are of the same photos, in the same order, and of the same splits.

    Raises:
        ValueError: they are not; the message names both backbones and the first difference.
    """
    one, two = first.manifest, other.manifest
    facts: dict[str, tuple[object, object]] = {
        "benchmark": (one.benchmark, two.benchmark),
        "splits": (one.source.hashes_text, two.source.hashes_text),
        "classes": (one.source.classes_hash, two.source.classes_hash),
    }
    if not (one.imported or two.imported):
        facts |= {"shards": (one.shards_sha256, two.shards_sha256), "precision": (one.precision, two.precision)}
    if None in facts["classes"]:  # a table that an earlier version imported does not say it
        del facts["classes"]
    for name, (here, there) in facts.items():
        if here != there:
            raise ValueError(
                f"the features of {one.backbone} and of {two.backbone} cannot be joined: {name} {here} and {there}; "
                f"{NEITHER}"
            )
    if one.arrays_sha256 and two.arrays_sha256 and one.arrays_sha256["features"] == two.arrays_sha256["features"]:
        raise ValueError(
            f"{one.backbone} and {two.backbone} are the same features, which say nothing new a second time; leave out "
            "one of them"
        )
    if not np.array_equal(first.rows, other.rows) or not np.array_equal(first.labels, other.labels):
        raise ValueError(
            f"the features of {one.backbone} ({len(first.rows):,} rows) and of {two.backbone} ({len(other.rows):,}) "
            f"cannot be joined: rows or labels differ; {NEITHER}"
        )


def _join_manifests(parts: Sequence[Manifest]) -> JoinedManifest:
    """The manifest of tables side by side: what is common to all, the sum of their sizes, the worst of their pasts."""
    first = parts[0]
    pretraining = join_pretraining([part.pretraining for part in parts])
    hashes = [part.source.classes_hash for part in parts]
    rates = [part.images_per_second for part in parts if part.images_per_second]
    return JoinedManifest(
        joined=tuple(parts),
        benchmark=first.benchmark,
        source=replace(first.source, classes_hash=next(filter(None, hashes), None)),
        shards_sha256=next((part.shards_sha256 for part in parts if part.shards_sha256), None),
        backbone=SIGN.join(part.backbone for part in parts),
        pretraining=pretraining,
        weights_sha256=SIGN.join(str(part.weights_sha256) for part in parts),
        finetuned=reduce(_chain, (part.finetuned for part in parts)),
        precision=SIGN.join(dict.fromkeys(part.precision for part in parts)),
        dim=sum(part.dim for part in parts),
        count=first.count,
        quarantined=max(part.quarantined for part in parts),
        unseen_classes=unseen_classes(pretraining),
        compute=first.compute if all(part.compute == first.compute for part in parts) else None,
        # One after the other; a single pass decodes each photo once and is faster.
        images_per_second=round(1 / sum(1 / rate for rate in rates), 1) if len(rates) == len(parts) else None,
    )


def _chain(first: TunedFacts | None, second: TunedFacts | None) -> TunedFacts | None:
    """The fine-tunings behind either part, as if one had started from the other's weights."""
    return second if first is None else replace(first, started_from=_chain(first.started_from, second))
