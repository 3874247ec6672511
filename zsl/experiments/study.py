"""A study: all methods on the features of all backbones, with all seeds, on one benchmark.

It extracts missing feature tables, and starts missing runs.  Finished work is on disk (feature tables, validation
trials, run folders), so a killed study continues.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from backbones import EncodeOptions, measure_cost
from backbones.options import named_options
from zsl.common.files import read_object, write_json
from zsl.common.long_work import PROGRESS_FILE, LongWork
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import check_vectors
from zsl.experiments.results import Results
from zsl.experiments.study_features import check_equal_inputs, crossfit_tables, find_or_extract, fold_tables
from zsl.experiments.study_plan import Entry, Study
from zsl.experiments.table import run_methods, start_of
from zsl.experiments.workers import count_workers, open_trainer
from zsl.features.class_folds import class_fold_parts
from zsl.features.load import load_folds, load_splits
from zsl.features.manifest import Manifest
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable

BACKBONE_COST_FILE = "cost.json"

log = logging.getLogger(__name__)


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
    count_workers(study.workers, 1, 0, accelerator)  # refused before the first backbone is extracted, not after it
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


def _run_backbone(
    study: Study, entry: Entry, accelerator: Accelerator, first: list[Manifest], failures: dict[str, str]
) -> list[Row]:
    table = find_or_extract(study, entry, accelerator)
    crossfit = crossfit_tables(study, entry, table, accelerator)
    folds = crossfit or fold_tables(study, entry, table, accelerator)
    for other in (table, *folds.values()):
        if not first:
            first.append(other.manifest)
        check_equal_inputs(other.manifest, first[0])
    folder = study.folder / table.manifest.backbone
    results = run_on_table(table, folds, study, folder, accelerator, failures, class_folds=bool(crossfit))
    cost = _cost_of(study, entry, table.manifest, folder)
    return [_row(entry, table.manifest, name, result, cost, tuple(sorted(folds))) for name, result in results.items()]


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
        file = BACKBONE_COST_FILE if len(entry.parts) == 1 else f"{number}-{BACKBONE_COST_FILE}"
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
