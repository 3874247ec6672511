"""Backbones x methods x seeds on one benchmark: missing feature tables are extracted, missing runs run.

All that is finished is a file (feature table, validation trials, run folder), so a killed study goes on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from accelerate import Accelerator

from backbones import EncodeOptions, find_preset, load_backbone, measure_cost
from shards import Location, ShardIndex
from shards.index import INDEX_FILE
from zsl.common.files import read_json, write_json
from zsl.common.ranges import Count, Whole, check_ranges
from zsl.datasets.class_lists import FOLDS
from zsl.datasets.pack import open_shards
from zsl.datasets.places import features_folder, shards_folder
from zsl.dcrgan.recipes import find_recipe
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.results import Results
from zsl.experiments.table import PUBLISHED, run_methods
from zsl.features.extract import extract_features
from zsl.features.load import load_folds, load_splits
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable, read_features

COST_FILE = "cost.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A backbone of the study: frozen with its published weights, or with a file of weights."""

    name: str  # preset or timm model
    weights: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`NAME` or `NAME@FILE`.

        Raises:
            ValueError: there is no backbone of that name.
        """
        name, at, file = text.partition("@")
        find_preset(name)
        if at and not file:
            raise ValueError(f"--backbones {text}: a weights file is to follow the @, as in {name}@runs/ft/weights.pth")
        return cls(name=name, weights=Path(file) if file else None)

    def __str__(self) -> str:
        return self.name if self.weights is None else f"{self.name}@{self.weights}"


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared, and where it lies."""

    benchmark: str
    entries: tuple[Entry, ...]
    methods: tuple[str, ...]
    seeds: tuple[Whole, ...]
    folder: Path
    data: Path
    options: EncodeOptions = field(default_factory=EncodeOptions)
    batch_size: Count = 32
    budget: Whole = 0  # configurations of DCR-GAN for which something is trained, at most; the recipe is always one
    every: Count | None = None  # GAN steps between two looks of the published protocol; None: a tenth of all
    shards: Location | None = None  # None: below `data`
    allow_pipe: bool = False  # let `shards` be a command

    def __post_init__(self) -> None:
        check_ranges(self)

    def check(self) -> None:
        """Refuse at once what would fail after hours.

        Raises:
            ValueError: an unknown or repeated method, backbone or seed.
        """
        for name in self.methods:
            if name != PUBLISHED:
                find_method(name, find_recipe(self.benchmark).config)
        for what, given in (("backbones", self.entries), ("methods", self.methods), ("seeds", self.seeds)):
            if not given or len(set(given)) != len(given):
                raise ValueError(f"--{what} {' '.join(map(str, given))}: at least one is needed, and each once")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method on one backbone."""

    entry: str  # as it was asked for
    backbone: str  # full name with weights tag
    method: str
    mean: dict[str, float]  # fractions, by score
    std: dict[str, float]
    seeds: int
    parameters: int
    flops: int  # an image
    images_per_second: float | None  # when the features were made; None where that is not known
    input_size: int
    pretraining: str
    unseen_classes: str
    protocol: str
    folds: tuple[int, ...]  # validation folds on which all was chosen; empty: nothing was
    calibrated: bool  # did calibration folds choose γ
    measured_on: str  # where and how images_per_second came about


def run_study(study: Study, accelerator: Accelerator) -> tuple[list[Row], dict[str, str]]:
    """Rows of all backbones that could be run, and {entry: message} of those that could not.

    Raises:
        ValueError: what is asked for makes no sense for any backbone, or there are several processes.
    """
    study.check()
    if accelerator.num_processes > 1:
        raise ValueError(
            f"a study runs in one process, this is one of {accelerator.num_processes}; extract the tables with "
            "accelerate launch scripts/extract.py before, then start python scripts/study.py"
        )
    rows: list[Row] = []
    failures: dict[str, str] = {}
    first: dict[str, Any] = {}  # the manifest of the first table
    for entry in study.entries:
        try:
            rows += _run_backbone(study, entry, accelerator, first)
        except (ValueError, OSError, FloatingPointError) as error:
            failures[str(entry)] = str(error).strip() or type(error).__name__
        except (RuntimeError, AssertionError) as error:  # of a model, or of a device that is too small for it
            failures[str(entry)] = f"{type(error).__name__}: {error}".strip(": \n")
        if str(entry) in failures:
            log.warning("%s failed, going on with the others: %s", entry, failures[str(entry)])
    return rows, failures


def find_or_extract(study: Study, entry: Entry, accelerator: Accelerator) -> FeatureTable:
    """The feature table of `entry`, made from the shards where it is not there.

    Raises:
        FileNotFoundError: neither table nor weights, or no shards.
        ValueError: the weights do not fit, or the table is incomplete or of other shards than those that are there.
    """
    table = _find_or_extract(study, entry, accelerator)
    if index := _shards_at_hand(study):
        has, have = (table.manifest.get("shards_sha256"), len(table.rows)), (index.sha256, index.count)
        if has != have:
            raise ValueError(
                f"the features of {table.manifest['backbone']} have {has[1]:,} rows of shards {str(has[0])[:12]}…, "
                f"the shards that are there have {have[1]:,} photos ({have[0][:12]}…); delete that table, and it is "
                "extracted anew"
            )
    return table


def _shards_at_hand(study: Study) -> ShardIndex | None:
    """The index to compare tables with; tables can be there without shards."""
    if study.shards is None and not (shards_folder(study.data, study.benchmark) / INDEX_FILE).is_file():
        return None
    return open_shards(study.benchmark, study.data, study.shards, allow_pipe=study.allow_pipe)


def _find_or_extract(study: Study, entry: Entry, accelerator: Accelerator) -> FeatureTable:
    published = f"{find_preset(entry.name).full_name}{study.options.tag}"
    folder = features_folder(study.data, study.benchmark, published)
    if entry.weights is None and (folder / "manifest.json").is_file():
        return read_features(folder)  # weights that made a table need not be had again
    backbone = load_backbone(entry.name, entry.weights, study.options)
    folder = features_folder(study.data, study.benchmark, backbone.name)
    if not (folder / "manifest.json").is_file():
        index = open_shards(study.benchmark, study.data, study.shards, allow_pipe=study.allow_pipe)
        extract_features(
            backbone, study.shards or shards_folder(study.data, study.benchmark), index, folder, accelerator,
            batch_size=study.batch_size, allow_pipe=study.allow_pipe,
        )  # fmt: skip
    return read_features(folder)


def _run_backbone(study: Study, entry: Entry, accelerator: Accelerator, first: dict[str, Any]) -> list[Row]:
    table = find_or_extract(study, entry, accelerator)
    folds = fold_tables(study, entry, table, accelerator)
    for one in (table, *folds.values()):
        first.update(first or one.manifest)
        _check_alike(one.manifest, first)
    folder = study.folder / str(table.manifest["backbone"])
    results = run_on_table(table, folds, study, folder, accelerator)
    (side, _) = table.manifest["transform"]["size"]
    cost = _cost(folder / COST_FILE, entry.name, replace(study.options, image_size=side))
    return [_row(entry, table.manifest, name, result, cost, tuple(sorted(folds))) for name, result in results.items()]


def _check_alike(manifest: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    """Tables of one study differ in the backbone alone."""
    for key, remedy in (("shards_sha256", "other photos"), ("precision", "another precision")):
        if manifest[key] != first[key]:
            raise ValueError(
                f"the features of {manifest['backbone']} were made with {key} {manifest[key]}, those of "
                f"{first['backbone']} with {first[key]}: {remedy} cannot stand in one table; delete one of the two "
                "tables and give --precision"
            )


def fold_tables(study: Study, entry: Entry, table: FeatureTable, accelerator: Accelerator) -> dict[int, FeatureTable]:
    """The table to choose on, for each validation fold.

    Weights that were fine-tuned on all seen classes know each fold's validation classes, so there the weights that were
    fine-tuned for a fold take their place; scripts/finetune.py leaves them beside the others.

    Raises:
        ValueError: there are none.
    """
    weights = entry.weights
    if not table.manifest.get("finetuned") or weights is None:
        return dict.fromkeys(FOLDS, table)
    tables = {}
    for fold in FOLDS:
        of_fold = weights.parent / f"fold-{fold}" / weights.name
        if _may_choose(study, table, fold):
            tables[fold] = table
        elif of_fold.is_file():
            tables[fold] = find_or_extract(study, replace(entry, weights=of_fold), accelerator)
    if not tables:
        raise ValueError(
            f"{weights} was fine-tuned on all seen classes, so that nothing can be chosen on validation folds, and "
            f"beside it is no {Path('fold-1') / weights.name}; fine-tune without --skip-verdict"
        )
    return tables


def _may_choose(study: Study, table: FeatureTable, fold: int) -> bool:
    """Whether the weights behind `table` were taught no validation class of `fold`."""
    try:
        load_splits(study.benchmark, study.data, table, fold=fold)
    except ValueError:
        return False
    return True


def run_on_table(
    table: FeatureTable,
    tables: Mapping[int, FeatureTable],
    study: Study,
    folder: Path,
    accelerator: Accelerator,
) -> dict[str, Results]:
    """Results of the study's methods on `table` by name; chosen on the folds of `tables`, tested once a seed."""
    splits = load_splits(study.benchmark, study.data, table)
    device = accelerator.device
    train, test = split_features(table, splits, device)
    folds: dict[int, tuple[TrainSplit, TestSplit]] = {}
    for fold, of_fold in tables.items():
        folds |= load_folds(study.benchmark, study.data, of_fold, device, (fold,))
    data = Experiment(
        table=table, splits=splits, train=train, test=test, seeds=study.seeds, accelerator=accelerator, validation=folds
    )
    config = find_recipe(study.benchmark).config
    return run_methods(data, folds, study.methods, config, folder, study.budget, study.every)


def _cost(path: Path, name: str, options: EncodeOptions) -> dict[str, Any]:
    """Costs at the input size that `options` has, measured once."""
    asked = json.loads(json.dumps(asdict(options)))
    known = read_json(path) if path.is_file() else {}
    if known.get("options") != asked:
        known = asdict(measure_cost(name, options)) | {"options": asked}
        write_json(path, known)
    return known


def _row(
    entry: Entry,
    manifest: dict[str, Any],
    method: str,
    result: Results,
    cost: dict[str, Any],
    folds: tuple[int, ...],
) -> Row:
    compute = manifest.get("compute", {})
    facts = [f"{compute[key]} {key}" for key in ("processes", "threads") if key in compute]
    return Row(
        entry=str(entry),
        backbone=manifest["backbone"],
        method=method,
        mean=result.mean,
        std=result.std,
        seeds=len(result.seeds),
        parameters=cost["parameters"],
        flops=cost["flops"],
        images_per_second=manifest.get("images_per_second"),
        input_size=cost["input_size"],
        pretraining=result.pretraining,
        unseen_classes=result.unseen_classes,
        protocol=result.protocol.split(":")[0],
        folds=folds if result.selection else (),
        calibrated=not manifest.get("finetuned"),
        measured_on=", ".join([str(compute.get("device", "?")), f"precision {manifest['precision']}", *facts]),
    )


def names_of(entries: Sequence[str]) -> tuple[Entry, ...]:
    """Entries of the words behind `--backbones`."""
    return tuple(Entry.parse(text) for text in entries)
