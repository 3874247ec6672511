"""A study: all methods on the features of all backbones, with all seeds, on one benchmark.

It extracts missing feature tables, and starts missing runs.  Finished work is on disk (feature tables, validation
trials, run folders), so a killed study continues.
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
from backbones.options import named_options
from shards import Location, ShardIndex
from shards.index import INDEX_FILE
from zsl.common.files import read_object, write_json
from zsl.common.long_work import PROGRESS_FILE, LongWork
from zsl.common.ranges import Count, Whole, check_ranges
from zsl.datasets.class_lists import FOLDS
from zsl.datasets.class_vectors import ClassVectors
from zsl.datasets.pack import open_or_draw_shards, open_shards
from zsl.datasets.places import features_folder, shards_folder
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import PUBLISHED, check_vectors, find_method
from zsl.experiments.results import Results
from zsl.experiments.table import check_every, run_methods, start_of
from zsl.experiments.workers import open_trainer
from zsl.features.class_folds import check_all_folds, class_fold_parts, class_fold_weights
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.join import SIGN, check_distinct, join_tables, part_names
from zsl.features.load import load_folds, load_splits
from zsl.features.manifest import MANIFEST_FILE, Manifest, read_manifest
from zsl.features.origin import check_shards
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable, lacks_files, read_features

COST_FILE = "cost.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A backbone, with its published weights or with the weights of a file."""

    name: str  # name of a preset or of a timm model, and its options of extraction
    weights: Path | None = None

    @property
    def class_folds(self) -> dict[int, Path]:
        """The weights of each class fold of a fine-tuning, beside the weights; none where it was not cross-fitted."""
        return {} if self.weights is None else class_fold_weights(self.weights)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `NAME` or `NAME@FILE`.

        Raises:
            ValueError: there is no backbone of that name.
        """
        name, at, file = text.partition("@")
        find_preset(named_options(name)[0])
        if at and not file:
            raise ValueError(f"--backbones {text}: a weights file is to follow the @, as in {name}@runs/ft/weights.pth")
        return cls(name=name, weights=Path(file) if file else None)

    def of_fold(self, fold: int) -> Self:
        """The part with the weights that scripts/finetune.py wrote for a validation fold, if it wrote any."""
        file = self.weights and self.weights.parent / f"fold-{fold}" / self.weights.name
        return replace(self, weights=file) if file and file.is_file() else self

    def __str__(self) -> str:
        return self.name if self.weights is None else f"{self.name}@{self.weights}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A backbone of the study, or several whose features are joined."""

    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `NAME` or `NAME@FILE`, or several of them with a + between two.

        Raises:
            ValueError: there is no backbone of that name, or a part is empty or occurs twice.
        """
        words: list[str] = []
        for word in text.split(SIGN):
            if words and "@" in words[-1] and not _is_backbone(word):
                words[-1] += SIGN + word  # the sign is one of the file's name
            else:
                words.append(word)
        if not all(words):
            part_names(text)  # it has the message
        parts = tuple(map(Part.parse, words))
        check_distinct(words, words)
        return cls(parts=parts)

    def of_class_fold(self, number: int) -> Self:
        """The entry with the weights that were cross-fitted for a class fold, where there are any."""
        parts = (replace(part, weights=part.class_folds.get(number, part.weights)) for part in self.parts)
        return replace(self, parts=tuple(parts))

    def of_fold(self, fold: int) -> Self:
        """The entry with the weights that were fine-tuned for a validation fold, where there are any."""
        return replace(self, parts=tuple(part.of_fold(fold) for part in self.parts))

    def __str__(self) -> str:
        return SIGN.join(map(str, self.parts))


def _is_backbone(text: str) -> bool:
    """Whether the text before an @ is the name of a backbone."""
    try:
        find_preset(named_options(text.partition("@")[0])[0])
    except ValueError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Study:
    """The backbones, methods and seeds of a study, and its folders."""

    benchmark: str
    entries: tuple[Entry, ...]
    methods: tuple[str, ...]
    seeds: tuple[Whole, ...]
    folder: Path
    data: Path
    options: EncodeOptions = field(default_factory=EncodeOptions)
    batch_size: Count = 32
    budget: Whole | None = None  # most configurations of each method for which something is trained
    every: Count | None = None  # GAN steps between two looks of the published protocol; None: a tenth of all steps
    workers: Count | None = None  # processes that train at the same time; None: see `count_workers`
    shards: Location | None = None  # folder or URL of the shards; None: below `data`
    allow_pipe: bool = False  # whether `shards` may be a command
    vectors: ClassVectors | None = None  # class vectors in place of attributes, or beside them

    def __post_init__(self) -> None:
        check_ranges(self)

    def piece(self, entry: Entry) -> str:
        """The work on one backbone, in the notes of times; with other methods or seeds it is another piece."""
        return f"{entry}: {' '.join(self.methods)}, seeds {' '.join(map(str, self.seeds))}"

    def check(self) -> None:
        """Check the study before any work, because the same errors later would cost hours.

        Raises:
            ValueError: a method, backbone or seed is unknown or occurs twice, or there is none; or as in `check_every`
                and `check_vectors`.
        """
        for name in self.methods:
            if name != PUBLISHED:
                find_method(name, start_of(self.benchmark)(name))
        for flag, values in (("backbones", self.entries), ("methods", self.methods), ("seeds", self.seeds)):
            if not values or len(set(values)) != len(values):
                raise ValueError(f"--{flag} {' '.join(map(str, values))}: at least one is needed, and each once")
        check_every(self.every, self.methods)
        check_vectors(self.methods, self.vectors, None)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the study's table: one method on one backbone."""

    entry: str  # the text of the entry
    backbone: str  # full name with the tag of its weights
    method: str
    mean: dict[str, float]  # mean over seeds of each score, as a fraction
    std: dict[str, float]
    seeds: int
    parameters: int
    flops: int  # for one image
    images_per_second: float | None  # rate of the extraction; None if unknown
    input_size: int  # side in pixels; the largest of joined backbones
    pretraining: str
    unseen_classes: str
    protocol: str
    folds: tuple[int, ...]  # validation folds of all choices; empty: there was no choice
    side_information: str  # what the models know of classes
    calibrated: bool  # whether calibration folds chose γ
    measured_on: str  # device, precision and threads of the extraction


def run_study(study: Study, accelerator: Accelerator) -> tuple[list[Row], dict[str, str]]:
    """Run the study, and return the rows that worked, and {entry or "entry, method": message} of what failed.

    A backbone that fails costs its own rows, and a method that fails in training costs its row on that backbone.

    Raises:
        ValueError: the study is wrong for all backbones, or there are several processes.
    """
    study.check()
    if accelerator.num_processes > 1:
        raise ValueError(
            f"a study runs in one process, this is one of {accelerator.num_processes}; extract the tables with "
            "accelerate launch scripts/extract.py before, then start python scripts/study.py"
        )
    rows: list[Row] = []
    failures: dict[str, str] = {}
    first: list[Manifest] = []  # that of the first table
    work = LongWork(
        study.folder / PROGRESS_FILE, {study.piece(entry): 1 for entry in study.entries},
        what=f"backbones of {study.folder}",
    )  # fmt: skip
    for entry in study.entries:
        of_methods: dict[str, str] = {}
        try:
            with work.piece(study.piece(entry)):
                rows += _run_backbone(study, entry, accelerator, first, of_methods)
        except (ValueError, OSError, FloatingPointError) as error:
            failures[str(entry)] = str(error).strip() or type(error).__name__
        except (RuntimeError, AssertionError, MemoryError) as error:  # of a model, or of too small a device
            failures[str(entry)] = f"{type(error).__name__}: {error}".strip(": \n")
        failures |= {f"{entry}, {name}": message for name, message in of_methods.items()}
        if str(entry) in failures:
            log.warning("%s failed, going on with the others: %s", entry, failures[str(entry)])
    return rows, failures


def find_or_extract(study: Study, entry: Entry, accelerator: Accelerator) -> FeatureTable:
    """Read the feature table of `entry`, or extract it from the shards; those of its parts one after the other.

    Raises:
        FileNotFoundError: there are neither table nor weights, or no shards.
        ValueError: the weights do not fit, the table is incomplete, or it was made from other shards.
    """
    table = join_tables([_find_or_extract(study, part, accelerator) for part in entry.parts])
    if index := _find_shards(study):
        check_shards(table.manifest, index)
    return table


def _find_shards(study: Study) -> ShardIndex | None:
    """Read the index of the shards, to compare tables with; None if there are no shards, only tables."""
    if study.shards is None and not (shards_folder(study.data, study.benchmark) / INDEX_FILE).is_file():
        return None
    return open_shards(study.benchmark, study.data, study.shards, allow_pipe=study.allow_pipe)


def _find_or_extract(study: Study, part: Part, accelerator: Accelerator) -> FeatureTable:
    name, options = named_options(part.name, study.options)
    folder = features_folder(study.data, study.benchmark, f"{find_preset(name).full_name}{options.tag}")
    if part.weights is None and _has_table(folder):
        return read_features(folder)  # the table is enough; its weights are not needed
    backbone = load_backbone(name, part.weights, options)
    folder = features_folder(study.data, study.benchmark, backbone.name)
    if not _has_table(folder):
        index = open_or_draw_shards(study.benchmark, study.data, study.shards, allow_pipe=study.allow_pipe)
        extract_features(
            backbone, study.shards or shards_folder(study.data, study.benchmark), index, folder, accelerator,
            ExtractSettings(batch_size=study.batch_size, allow_pipe=study.allow_pipe),
        )  # fmt: skip
    return read_features(folder)


def _has_table(folder: Path) -> bool:
    """Whether there is a feature table in `folder`; one of which a file was deleted is to be made again."""
    if not (folder / MANIFEST_FILE).is_file():
        return False
    if lacks_files(folder, read_manifest(folder / MANIFEST_FILE)):
        log.warning("the feature table in %s lacks a file, so it is made again", folder)
        return False
    return True


def _run_backbone(
    study: Study, entry: Entry, accelerator: Accelerator, first: list[Manifest], failures: dict[str, str]
) -> list[Row]:
    table = find_or_extract(study, entry, accelerator)
    crossfit = crossfit_tables(study, entry, table, accelerator)
    folds = crossfit or fold_tables(study, entry, table, accelerator)
    for other in (table, *folds.values()):
        if not first:
            first.append(other.manifest)
        _check_equal_inputs(other.manifest, first[0])
    folder = study.folder / table.manifest.backbone
    results = run_on_table(table, folds, study, folder, accelerator, failures, class_folds=bool(crossfit))
    cost = _cost_of(study, entry, table.manifest, folder)
    return [_row(entry, table.manifest, name, result, cost, tuple(sorted(folds))) for name, result in results.items()]


def _check_equal_inputs(manifest: Manifest, first: Manifest) -> None:
    """Check that a table has the photos and the precision of the study's first table."""
    for key, remedy in (("shards_sha256", "other photos"), ("precision", "another precision")):
        here, there = getattr(manifest, key), getattr(first, key)
        if here != there:
            raise ValueError(
                f"the features of {manifest.backbone} were made with {key} {here}, those of "
                f"{first.backbone} with {there}: {remedy} cannot stand in one table; delete one of the two "
                "tables and give --precision"
            )


def crossfit_tables(
    study: Study, entry: Entry, table: FeatureTable, accelerator: Accelerator
) -> dict[int, FeatureTable]:
    """Find the feature table of each class fold of a fine-tuning, for choices; none where it was not cross-fitted.

    Raises:
        ValueError: a fold is missing, or joined backbones have unlike folds.
    """
    tuned = [
        (part, manifest.finetuned)
        for part, manifest in zip(entry.parts, table.manifest.parts, strict=True)
        if manifest.finetuned
    ]
    numbers = {str(part): set(part.class_folds) for part, _ in tuned}
    if not any(numbers.values()):
        return {}
    check_all_folds(numbers, {facts.gamma.folds for _, facts in tuned if facts.gamma})
    return {
        number: find_or_extract(study, entry.of_class_fold(number), accelerator)
        for number in sorted(set.intersection(*numbers.values()))
    }


def fold_tables(study: Study, entry: Entry, table: FeatureTable, accelerator: Accelerator) -> dict[int, FeatureTable]:
    """Find the feature table of each validation fold, for choices.

    Weights that were fine-tuned on all seen classes know each fold's validation classes.  For a fold, the weights that
    were fine-tuned on its training classes replace them.  scripts/finetune.py writes these beside the others.

    Raises:
        ValueError: there are no such weights for any fold.
    """
    files = [part.weights for part in entry.parts if part.weights is not None]
    if not table.manifest.finetuned or not files:
        return dict.fromkeys(FOLDS, table)
    tables = {}
    for fold in FOLDS:
        if _may_choose(study, table, fold):
            tables[fold] = table
        elif entry.of_fold(fold) != entry:
            tables[fold] = find_or_extract(study, entry.of_fold(fold), accelerator)
    if not tables:
        raise ValueError(
            f"{' or '.join(map(str, files))} was fine-tuned on all seen classes, so that nothing can be chosen on "
            f"validation folds, and beside it is no {Path('fold-1') / files[0].name}; fine-tune without --skip-verdict"
        )
    return tables


def _may_choose(study: Study, table: FeatureTable, fold: int) -> bool:
    """Whether the weights behind `table` know no validation class of `fold`."""
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
    failures: dict[str, str],
    *,
    class_folds: bool = False,
) -> dict[str, Results]:
    """Run the study's methods on `table`: the folds of `tables` choose, then each seed is tested once.

    failures: gets the error message of each method that fails in training.  class_folds: whether `tables` are of the
    class folds of a fine-tuning; else they are of the validation folds.

    Returns the results by the name of the method.
    """
    check_vectors(study.methods, study.vectors, table.manifest)
    splits = load_splits(study.benchmark, study.data, table, vectors=study.vectors)
    device = accelerator.device
    train, test = split_features(table, splits, device)
    folds: dict[int, tuple[TrainSplit, TestSplit]] = {}
    if class_folds:
        folds = class_fold_parts(tables, splits, device)
    for fold, fold_table in () if class_folds else tables.items():
        folds |= load_folds(study.benchmark, study.data, fold_table, device, (fold,), study.vectors)
    pieces = max(len(study.seeds), len(folds))
    with open_trainer(study.workers, pieces, table, accelerator) as trainer:
        data = Experiment(
            table=table, splits=splits, train=train, test=test, seeds=study.seeds, accelerator=accelerator,
            validation=folds, trainer=trainer,
        )  # fmt: skip
        start = start_of(study.benchmark)
        return run_methods(data, folds, study.methods, start, folder, study.budget, study.every, failures)


def _cost_of(study: Study, entry: Entry, manifest: Manifest, folder: Path) -> dict[str, Any]:
    """The costs of an entry's backbones together, and the largest of their input sizes."""
    costs = []
    for number, (part, facts) in enumerate(zip(entry.parts, manifest.parts, strict=True), 1):
        name, options = named_options(part.name, study.options)
        file = COST_FILE if len(entry.parts) == 1 else f"{number}-{COST_FILE}"
        side = facts.transform.size[0] if facts.transform else None
        costs.append(_cost(folder / file, name, replace(options, image_size=side)))
    sums = {key: sum(cost[key] for cost in costs) for key in ("parameters", "flops")}
    return sums | {"input_size": max(cost["input_size"] for cost in costs)}


def _cost(path: Path, name: str, options: EncodeOptions) -> dict[str, Any]:
    """Measure the costs of a backbone at the input size of `options`, or read them from an earlier call."""
    wanted = json.loads(json.dumps(asdict(options)))
    cost = read_object(path) if path.is_file() else {}
    if cost.get("options") != wanted:
        cost = asdict(measure_cost(name, options)) | {"options": wanted}
        write_json(path, cost)
    return cost


def _row(
    entry: Entry,
    manifest: Manifest,
    method: str,
    result: Results,
    cost: dict[str, Any],
    folds: tuple[int, ...],
) -> Row:
    compute = manifest.compute
    facts = [f"{compute.processes} processes", f"{compute.threads} threads"] if compute else []
    return Row(
        entry=str(entry),
        backbone=manifest.backbone,
        method=method,
        mean=result.mean,
        std=result.std,
        seeds=len(result.seeds),
        parameters=cost["parameters"],
        flops=cost["flops"],
        images_per_second=manifest.images_per_second,
        input_size=cost["input_size"],
        pretraining=result.pretraining,
        unseen_classes=result.unseen_classes,
        protocol=result.protocol.split(":")[0],
        folds=folds if result.selection else (),
        side_information=result.side_information,
        calibrated=not manifest.finetuned,
        measured_on=", ".join([compute.device if compute else "?", f"precision {manifest.precision}", *facts]),
    )


def names_of(entries: Sequence[str]) -> tuple[Entry, ...]:
    """Parse the words after `--backbones` into entries."""
    return tuple(Entry.parse(text) for text in entries)
