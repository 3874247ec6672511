"""Whether splits, features, scaler and run come from each other, as their manifests say."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from shards import ShardIndex
from zsl.audit.findings import Finding, fail, ok, warn
from zsl.audit.photos import Photo
from zsl.common.records import read_record
from zsl.common.room import pieces
from zsl.common.tensors import read_some_tensors
from zsl.datasets.folds import FOLD, fold_number
from zsl.datasets.split_file import PARTS, SplitFile
from zsl.datasets.splits import Splits, attributes_hash, classes_hash
from zsl.features.facts import TableFacts, describe_features, differing_facts
from zsl.features.manifest import Source
from zsl.features.scaling import FeatureScaler
from zsl.features.split import fit_scaler
from zsl.features.table import QUARANTINE_FILE, FeatureTable

CONFIG_FILE, TRAIN_ANEW = "config.json", "train the run anew"
FITTED_ON = "fitted on trainval rows only"


def check_overlap(splits: Splits) -> Finding:
    """Whether no row is in two parts and no class is both seen and unseen."""
    both = np.intersect1d(splits.seen, splits.unseen)
    if len(both):
        return fail("row overlap", f"{len(both)} classes are seen and unseen", classes=both.tolist())
    common = {}
    for first, second in combinations(PARTS, 2):
        rows = np.intersect1d(getattr(splits, first), getattr(splits, second))
        if len(rows):
            common[f"{first} and {second}"] = rows.tolist()
    if common:
        message = "; ".join(f"{len(rows)} rows in {where}, the first is {rows[0]}" for where, rows in common.items())
        return fail("row overlap", message, rows={where: rows[:100] for where, rows in common.items()})
    return ok("row overlap", f"none: {splits.describe()}")


def check_split_hashes(benchmark: str, split_file: SplitFile) -> list[Finding]:
    """Which split this is.  Reading has already refused a file of the vintage that leaks test rows."""
    official = split_file.dataset if split_file.dataset and split_file.dataset.official else None
    if official and official.name.lower() != benchmark.lower():
        finding = fail("splits", f"this is the {split_file.verdict}, the benchmark is {benchmark}")
    elif official:
        finding = ok("splits", split_file.verdict)
    else:
        finding = warn("splits", f"{split_file.verdict}: comparable with results on the same hash only")
    return [finding, ok("vintage", "no test row in train_loc or val_loc of the split file")]


def check_source(source: Source, split_file: SplitFile, what: str, *, tell_missing: bool = True) -> list[Finding]:
    """Whether shards or features were made with these splits and classes and, with `tell_missing`, of all photos."""
    if source.split_hashes != split_file.hashes:
        return [fail(what, f"made with splits {source.hashes_text}, these are {'/'.join(split_file.hashes)}")]
    if source.classes_hash not in (None, classes_hash(split_file.class_names)):
        return [fail(what, "made with other classes, or in another order, than those of the split files here")]
    if tell_missing and source.missing:
        return [warn(what, f"{source.verdict or ''}: not comparable with results on the whole benchmark")]
    return []


def check_table(table: FeatureTable, folder: Path, index: ShardIndex | None, photos: list[Photo]) -> list[Finding]:
    """Whether the table is as its manifest describes, which says how, and was made from these shards row for row."""
    check, manifest = f"features {folder.name}", table.manifest
    try:
        table.check_content()
    except ValueError as error:
        return [fail(check, str(error))]
    if manifest.imported:
        facts = manifest.imported
        return [
            warn(check, f"imported from {facts.file} (sha256 {facts.sha256[:12]}…): how they were made, and from "
                 "which photos, cannot be checked"),
            *_labels(table, photos, check),
        ]  # fmt: skip
    if index is None:
        return [warn(check, "there are no shards to compare it with")]
    if manifest.shards_sha256 != index.sha256:
        return [
            fail(
                check,
                f"made from other shards ({str(manifest.shards_sha256)[:12]}…) than those that are there "
                f"({index.sha256[:12]}…); extract anew",
            )
        ]
    rows = np.array([photo.row for photo in photos], dtype=np.int64)
    kept, left_out = rows[np.isin(rows, table.rows)], np.setdiff1d(rows, table.rows)
    is_whole = len(table.rows) + manifest.quarantined == index.count and len(left_out) == manifest.quarantined
    if not is_whole or not np.array_equal(np.sort(kept), table.rows):
        return [fail(check, f"{len(table.rows):,} rows for {index.count:,} photos, or other rows than the shards have")]
    findings = _labels(table, photos, check)
    if manifest.quarantined:
        findings.append(
            warn(check, f"lacks {manifest.quarantined} photos that could not be read (see its {QUARANTINE_FILE}): not "
                 "comparable with results on the whole benchmark", rows=left_out[:20].tolist())
        )  # fmt: skip
    if not manifest.weights_sha256:
        findings.append(warn(check, "the manifest does not say which weights (no weights_sha256)"))
    weights = str(manifest.weights_sha256)[:12]
    return findings or [
        ok(check, f"{len(table.rows):,} rows of these shards, weights {weights}…, precision {manifest.precision}")
    ]


def _labels(table: FeatureTable, photos: list[Photo], check: str) -> list[Finding]:
    rows, labels = (np.array([getattr(photo, name) for photo in photos], dtype=np.int64) for name in ("row", "label"))
    position = np.searchsorted(table.rows, rows)
    both = position < len(table.rows)
    both[both] = table.rows[position[both]] == rows[both]
    wrong = np.sort(rows[both][table.labels[position[both]] != labels[both]]).tolist()
    return [fail(check, f"{len(wrong)} labels differ from the shards', the first at row {wrong[0]}")] if wrong else []


def check_scaler(table: FeatureTable, splits: Splits, run: Path | None) -> list[Finding]:
    """Whether training's scaler, and those that a run saved, were fitted on the trainval rows and on no other.

    splits: of a run on a validation fold those of its fold.
    """
    expected = _refitted(table, splits.trainval_loc)
    scalers = {"the scaler made on loading": fit_scaler(table, splits.trainval_loc)}
    try:
        scalers |= _saved_scalers(run) if run else {}
    except ValueError as error:
        return [fail("scaler", str(error))]
    fold = fold_number(splits.verdict)
    fitted_on = FITTED_ON if fold is None else f"{FITTED_ON} of {FOLD} {fold}"
    wrong = {name for name, scaler in scalers.items() if not _same_scaler(scaler, expected)}
    if wrong:
        name = sorted(wrong)[0]
        everything = fit_scaler(table, table.rows)
        how = "on all rows, test rows included" if _same_scaler(scalers[name], everything) else "on other rows"
        return [fail("scaler", f"{name} is not {fitted_on}: it was fitted {how}")]
    saved = len(scalers) - 1
    others = (
        f", as are {saved} saved in {run}" if saved else f"; {run} saved none, it is refitted on loading" * bool(run)
    )
    return [ok("scaler", f"{fitted_on} ({len(splits.trainval_loc):,}), recomputed from the table{others}")]


def _refitted(table: FeatureTable, rows: np.ndarray) -> FeatureScaler:
    """The scaler of the features at `rows`, computed once more by other means where the table is one block."""
    position = table.positions(rows)
    if len(table.blocks) > 1:
        return FeatureScaler.fit(torch.from_numpy(table.features[position]), table.blocks)
    low, high = (np.full(table.features.shape[1], edge, dtype=np.float32) for edge in (np.inf, -np.inf))
    for some in pieces(len(rows), 4 * len(low)):
        values = table.features[position[some]]
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
    return FeatureScaler(torch.from_numpy(low), torch.from_numpy(np.where(high > low, high - low, np.float32(1))))


def _same_scaler(first: FeatureScaler, second: FeatureScaler) -> bool:
    return first.low.shape == second.low.shape and all(
        torch.allclose(a.float(), b.float(), rtol=1e-5, atol=1e-6)
        for a, b in ((first.low, second.low), (first.span, second.span))
    )


def _saved_scalers(run: Path) -> dict[str, FeatureScaler]:
    """The scalers in the safetensors files of `run`: each pair of tensors `…low` and `…span`.

    Raises:
        ValueError: a file is damaged.
    """
    scalers = {}
    for path in sorted(run.rglob("*.safetensors")):
        _, names, _ = read_some_tensors(path, [], TRAIN_ANEW)
        for low in sorted(n for n in names if n == "low" or n.endswith("scaler.low")):
            span = low.removesuffix("low") + "span"
            if span in names:
                where = f"{low.removesuffix('low').rstrip('.') or 'scaler'} in {path.relative_to(run)}"
                tensors, _, _ = read_some_tensors(path, [low, span], TRAIN_ANEW)
                scalers[where] = FeatureScaler(tensors[low], tensors[span])
    return scalers


@dataclass(frozen=True, kw_only=True)
class RunClaims:
    """What a run says of its data in `config.json`; what it does not say counts against it."""

    splits: str | None = None  # in words; those of a validation fold name it
    attributes: str | None = None  # kind of the class attributes
    attributes_hash: str | None = None
    protocol: str = "not stated"
    inductive: bool = False


def read_claims(run: Path) -> RunClaims:
    """What the run in the folder `run` says of its data.

    Raises:
        FileNotFoundError, ValueError: its `config.json` is absent, or damaged.
    """
    return read_record(run / CONFIG_FILE, RunClaims, TRAIN_ANEW)


def check_run(run: Path, table: FeatureTable, splits: Splits) -> list[Finding]:
    """Whether the run was made from this table and these splits, honestly and inductively."""
    claims = read_claims(run)
    check = f"run {run.name}"
    try:
        differing = differing_facts(_table_of(run), describe_features(table.manifest))
    except ValueError as error:
        return [fail(check, f"it does not say which features it was made from: {error}")]
    if differing:
        there = "; ".join(
            f"{fact} {str(then)[:80]} then, {str(now)[:80]} now" for fact, (then, now) in differing.items()
        )
        return [fail(check, f"made from other features than the table that is there: {there}", facts=list(differing))]
    same_kind = claims.attributes == splits.attribute_kind
    if same_kind and claims.attributes_hash not in (None, attributes_hash(splits.attributes)):
        return [fail(check, "made with other class attributes than those of the split files that are there")]
    findings = []
    if claims.splits != splits.verdict:
        findings.append(warn(check, f"made on {claims.splits}, the splits here are {splits.verdict}"))
    if not claims.protocol.startswith("honest"):
        findings.append(warn(check, f"protocol: {claims.protocol}"))
    if not claims.inductive:
        findings.append(warn(check, "not inductive: unseen classes' attributes were in a training loss"))
    return findings or [ok(check, f"made from this table and these splits; protocol {claims.protocol}")]


def _table_of(run: Path) -> TableFacts:
    """The feature table that the run was made from, as its `config.json` says.

    Raises:
        ValueError: it says less than tells tables apart.
    """
    return read_record(run / CONFIG_FILE, TableFacts, TRAIN_ANEW)
