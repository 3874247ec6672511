"""The data behind a run, as far as they are below `--data`: class names, features and photos."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import get_args

from shards import ShardIndex, read_index
from zsl.datasets.attribute_names import find_names_below, read_names_file, readable_attribute
from zsl.datasets.folds import fold_number
from zsl.datasets.places import shards_folder, splits_folder
from zsl.datasets.split_file import AttributeKind
from zsl.datasets.splits import ATTRIBUTES, Splits, attributes_hash
from zsl.features.facts import TableFacts, describe_features, differing_facts
from zsl.features.join import find_tables, read_tables
from zsl.features.load import load_splits
from zsl.features.side_information import with_kept
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable
from zsl.report.runs import ReportRun


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """The data behind a run; None stands for what is not there, and `notes` say so in words."""

    benchmark: str
    data: Path
    table_folders: tuple[Path, ...] = ()  # of the parts of joined backbones
    table: FeatureTable | None = None
    splits: Splits | None = None
    train: TrainSplit | None = None
    test: TestSplit | None = None  # for zsl.scores.evaluate alone
    attribute_names: tuple[str, ...] | None = None
    index: ShardIndex | None = None
    notes: list[str] = field(default_factory=list)

    def class_name(self, class_id: int) -> str:
        """The class's name for a reader (`names.csv`); without names its id."""
        return f"class {class_id}" if self.splits is None else self.splits.names[class_id]

    def attribute_name(self, number: int) -> str:
        """The attribute's name, such as `bill shape: hooked`; without names its number from 1."""
        return f"attribute {number + 1}" if self.attribute_names is None else self.attribute_names[number]

    @property
    def shards(self) -> Path:
        """The folder of the photos."""
        return shards_folder(self.data, self.benchmark)


def find_context(run: ReportRun, data: Path, *, features: Path | None, attribute_names: Path | None) -> Context:
    """Load the data of a run that are there.

    features: the folder of the feature table; None looks for the backbone's below `data`.  attribute_names: a file of
    names; None looks for one below `data`.

    Raises:
        ValueError: the features or attributes are not those that the run was made from, or the file `attribute_names`
            does not fit them.
        FileNotFoundError: `features` or `attribute_names` is not there.
    """
    benchmark = run.results.benchmark
    notes: list[str] = []
    folders = (features,) if features else _find_tables(run, data, notes)
    index = _find_shards(data, benchmark, notes)
    if not folders:
        return Context(benchmark=benchmark, data=data, index=index, notes=notes)
    table = read_tables(folders, allow_incomplete=True)
    check_table(run, table, " and ".join(map(str, folders)))
    splits = _splits_of(run, data, table)
    if run.results.attributes_hash != attributes_hash(splits.attributes):
        raise ValueError(
            f"{run.folder} was trained on other attributes than {splits_folder(data, benchmark)} has now; give the "
            "--data that it was trained on, or train it anew under another --name"
        )
    train, test = split_features(table, splits)
    return Context(
        benchmark=benchmark, data=data, table_folders=folders, table=table, splits=splits, train=train, test=test,
        attribute_names=_attribute_names(splits, data / benchmark, attribute_names, notes), index=index, notes=notes,
    )  # fmt: skip


def _find_tables(run: ReportRun, data: Path, notes: list[str]) -> tuple[Path, ...]:
    try:
        return find_tables(data, run.results.benchmark, run.results.backbone)
    except (FileNotFoundError, ValueError):
        notes.append(
            f"No features of {run.results.backbone} for {run.results.benchmark} below {data}: classes have numbers "
            "instead of names, and nothing that needs the features is shown; --data says where they are."
        )
        return ()


def _find_shards(data: Path, benchmark: str, notes: list[str]) -> ShardIndex | None:
    try:
        return read_index(shards_folder(data, benchmark))
    except FileNotFoundError:
        notes.append(
            f"No shards of {benchmark} below {data}, so there is no gallery; scripts/make_shards.py packs photos."
        )
        return None


def _attribute_names(splits: Splits, folder: Path, file: Path | None, notes: list[str]) -> tuple[str, ...] | None:
    """Names from `file`, else those that make_shards kept, else those of a file below `folder`."""
    count = splits.attributes.shape[1]
    if file is not None:
        names = read_names_file(file, count)
    else:
        names = splits.attribute_names or find_names_below(folder, count)
    if not names:
        notes.append(
            f"No file with {count} attribute names is at hand, so attributes have numbers; --attribute-names names one."
        )
        return None
    return tuple(map(readable_attribute, names))


def check_table(run: ReportRun, table: FeatureTable, folder: Path | str) -> None:
    """Refuse the feature table of `folder` that the run was not made from.

    Raises:
        ValueError: a fact that tells tables apart differs (`TableFacts`); the message names the first.
    """
    then = TableFacts(
        benchmark=run.results.benchmark, backbone=run.results.backbone, features=run.results.features
    )  # fmt: skip
    for fact, (there, here) in differing_facts(then, describe_features(table.manifest)).items():
        raise ValueError(
            f"{run.folder} was made from other features than {folder} ({fact} differs: {there} there, {here} here); "
            "give the --data or --features that it was trained on"
        )


def _splits_of(run: ReportRun, data: Path, table: FeatureTable) -> Splits:
    """The splits with the kind of attributes, and of the fold, that the run's results name.

    Raises:
        ValueError: the split file has no such attributes.
    """
    fold = fold_number(run.results.splits)
    if run.results.side_information != ATTRIBUTES:
        return with_kept(load_splits(run.results.benchmark, data, table, fold=fold), run.results, run.folder)
    kinds: tuple[AttributeKind, ...] = get_args(AttributeKind)
    for kind, normalise in product(kinds, (False, True)):
        try:
            splits = load_splits(run.results.benchmark, data, table, fold=fold, attributes=kind, normalise=normalise)
        except ValueError:
            if kind == "att":  # every split file has it
                raise
            continue
        if run.results.attributes == splits.attribute_kind:
            return splits
    wanted = run.results.attributes
    raise ValueError(f"{run.folder} was trained with attributes {wanted!r}, which the splits below {data} do not have")
