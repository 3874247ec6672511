"""What lies below `--data` for a run: class names, features and photos.  What is absent is noted."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, get_args

from shards import ShardIndex, read_index
from zsl.common.files import read_json
from zsl.datasets.attribute_names import find_names
from zsl.datasets.places import shards_folder
from zsl.datasets.split_file import AttributeKind
from zsl.datasets.splits import Splits
from zsl.dcrgan.saved import FACTS_FILE
from zsl.features.load import find_features, load_splits
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable, read_features
from zsl.report.runs import ReportRun

NAME_FOLDERS = ("splits", "raw", ".")  # below `data/<benchmark>`, where a file of attribute names may lie


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """A run's data, as far as they are at hand."""

    benchmark: str
    data: Path
    table_folder: Path | None = None
    table: FeatureTable | None = None
    splits: Splits | None = None
    train: TrainSplit | None = None
    test: TestSplit | None = None  # handed on to zsl.evaluate only
    attribute_names: tuple[str, ...] | None = None
    index: ShardIndex | None = None
    notes: list[str] = field(default_factory=list)

    def class_name(self, class_id: int) -> str:
        """The class's name, without a number in front or underscores; its id where names are not at hand."""
        if self.splits is None:
            return f"class {class_id}"
        return readable(self.splits.class_names[class_id])

    def attribute_name(self, number: int) -> str:
        """`bill shape: hooked`, or the attribute's number."""
        return f"attribute {number + 1}" if self.attribute_names is None else self.attribute_names[number]

    @property
    def shards(self) -> Path:
        """Where the photos lie."""
        return shards_folder(self.data, self.benchmark)


def readable(name: str) -> str:
    """`087.Mallard_Duck` to `Mallard Duck`."""
    return re.sub(r"^\d+\.", "", name).replace("_", " ")


def find_context(run: ReportRun, data: Path, *, features: Path | None, attribute_names: Path | None) -> Context:
    """Load what is there; data that were not the run's are refused, those that are absent are noted.

    Raises:
        ValueError: the features are not those that the run was made from, or the file `attribute_names` does not fit
            them.
        FileNotFoundError: a file that was named is not there.
    """
    benchmark, notes = str(run.results["benchmark"]), []
    found, index = features, None
    if found is None:
        try:
            found = find_features(data, benchmark, str(run.results["backbone"]))
        except (FileNotFoundError, ValueError):
            notes.append(
                f"No features of {run.results['backbone']} for {benchmark} below {data}: classes have numbers "
                "instead of names, and nothing that needs the features is shown; --data says where they are."
            )
    try:
        index = read_index(shards_folder(data, benchmark))
    except FileNotFoundError:
        notes.append(
            f"No shards of {benchmark} below {data}, so there is no gallery; scripts/make_shards.py packs photos."
        )
    if found is None:
        return Context(benchmark=benchmark, data=data, index=index, notes=notes)
    table = read_features(found, allow_incomplete=True)
    check_table(run, table, found)
    splits = _splits_of(run, data, table)
    train, test = split_features(table, splits)
    names = _attribute_names(splits, data / benchmark, attribute_names)
    if not names:
        notes.append(
            f"No file with {splits.attributes.shape[1]} attribute names is at hand, so attributes have numbers; "
            "--attribute-names names one."
        )
    return Context(
        benchmark=benchmark, data=data, table_folder=found, table=table, splits=splits, train=train, test=test,
        attribute_names=names or None, index=index, notes=notes,
    )  # fmt: skip


def check_table(run: ReportRun, table: FeatureTable, folder: Path) -> None:
    """Refuse a table that the run was not made from.

    Raises:
        ValueError: photos, weights, precision, size or transform are others; the message names the first.
    """
    made_from = {"backbone": run.results["backbone"]} | run.results.get("features", {}) | _transform_of(run)
    content = table.manifest.as_json
    for key in ("shards_sha256", "weights_sha256", "backbone", "precision", "dim", "transform"):
        if key in made_from and made_from[key] != content.get(key):
            raise ValueError(
                f"{run.folder} was made from other features than {folder} ({key} differs: {made_from[key]} there, "
                f"{content.get(key)} here); give the --data or --features that it was trained on"
            )


def _transform_of(run: ReportRun) -> dict[str, Any]:
    """What was done to the photos, where the run kept it for prediction."""
    path = run.folder / FACTS_FILE
    return {"transform": read_json(path)["backbone"]["transform"]} if path.is_file() else {}


def _splits_of(run: ReportRun, data: Path, table: FeatureTable) -> Splits:
    """The splits with the attributes and the fold that the run says it had."""
    fold, wanted = int(run.fold.split()[-1]) if run.fold else None, run.results.get("attributes")
    benchmark = str(run.results["benchmark"])
    kinds: tuple[AttributeKind, ...] = get_args(AttributeKind)
    for kind, normalise in product(kinds, (False, True)):
        try:
            splits = load_splits(benchmark, data, table, fold=fold, attributes=kind, normalise=normalise)
        except ValueError:
            if kind == "att":  # always there
                raise
            continue
        if wanted in (None, splits.attribute_kind):
            return splits
    raise ValueError(f"{run.folder} was trained with attributes {wanted!r}, which the splits below {data} do not have")


def _attribute_names(splits: Splits, folder: Path, given: Path | None) -> tuple[str, ...]:
    """Names from the file `given`, else those that make_shards kept, else from a file below `folder`; () of none."""
    count = splits.attributes.shape[1]
    if given is not None:
        return read_attribute_names(given, count)
    lying = (find_names(folder / name, count) for name in NAME_FOLDERS)
    return tuple(map(plain, splits.attribute_names or next(filter(None, lying), ())))


def read_attribute_names(path: Path, count: int) -> tuple[str, ...]:
    """Names of `count` attributes: lines `number name` as in CUB's `attributes.txt`, or the head of an attributes.csv.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has another number of names.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of attribute names {path}; CUB's is attributes.txt, AWA's predicates.txt")
    lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    is_table = path.suffix == ".csv"
    names = next(csv.reader(lines), [])[1:] if is_table else [re.sub(r"^\s*\d+\s+", "", line) for line in lines]
    if len(names) != count:
        raise ValueError(f"{path} has {len(names)} attribute names, the split file has {count} attributes")
    return tuple(map(plain, names))


def plain(attribute: str) -> str:
    """`has_bill_shape::hooked` to `bill shape: hooked`."""
    return re.sub(r"^(has|is)_", "", attribute.strip()).replace("::", ": ").replace("_", " ")
