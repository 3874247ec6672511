"""A run folder: config, log, one model and score file a seed, results; a restart does only what is missing."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from zsl.evaluate import (
    DETAILS_FILE,
    SCORES,
    Record,
    Scores,
    ZeroShotModel,
    evaluate_details,
    save_details,
    scores_of,
)
from zsl.features import RowsRead, TestSplit, TrainSplit
from zsl.files import atomic_path, read_json, remove_leftovers, write_json
from zsl.journal import Journal
from zsl.predictor import MODEL_FILE, save_synthesizer, save_tensors
from zsl.provenance import note_start
from zsl.published import ORACLE
from zsl.stages import Log

CONFIG_FILE, RESULTS_FILE, LOG_FILE = "config.json", "results.json", "metrics.jsonl"
SCORES_FILE = "scores.json"
READS_FILE, ACCESS_FILE = "rows_read.json", "test_access.jsonl"
TABLE = {"T1": "acc_zsl", "U": "acc_unseen", "S": "acc_seen", "H": "harmonic", "AUSUC": "ausuc"}

AVERAGED = (*SCORES, "pulled_to_seen", "harmonic_oracle")  # of these results have mean and standard deviation

Train = Callable[[TrainSplit, int, Log], ZeroShotModel]
Finish = Callable[[int, Path, Journal], None]  # seed, its folder, its journal


def run_seeds(
    train_method: Train,
    train: TrainSplit,
    test: TestSplit,
    seeds: Sequence[int],
    folder: Path,
    facts: dict[str, Any],
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Train and score every seed in `folder`, each once, and return what `results.json` holds.

    Seeds are dealt to the processes of `accelerator`.  `facts` (config, data, protocol) describe the run; a folder in
    which another run was begun is refused.  Each model is tested once, after its training;
    `test_access.jsonl` has a line for each time that test rows were opened, and `rows_read` in the results says which
    rows each stage was given.

    Raises:
        ValueError: `folder` belongs to a run of other facts, a seed is given twice, or a stage was given a test row.
    """
    train, test = train.to(accelerator.device), test.to(accelerator.device)

    def finish(seed: int, own_folder: Path, journal: Journal) -> None:
        own = replace(train, reads=[])  # a list of this seed's alone
        model = train_method(own, seed, journal)
        note_reads(own.reads, test, own_folder)
        if isinstance(model, nn.Module):
            save_tensors(model.state_dict(), own_folder / MODEL_FILE)
            save_synthesizer(model, own_folder)
        details = evaluate_details(model, test, record_to(folder / ACCESS_FILE, seed))
        save_details(details, own_folder / DETAILS_FILE)
        write_json(own_folder / SCORES_FILE, asdict(scores_of(details)))

    finish_seeds(finish, SCORES_FILE, seeds, folder, facts, accelerator)
    results = summarise({seed: Scores(**read_json(folder / f"seed-{seed}" / SCORES_FILE)) for seed in seeds}, facts)
    results["rows_read"] = rows_read(folder, seeds)
    write_results(results, folder, accelerator)
    return results


def finish_seeds(
    finish: Finish,
    last_file: str,
    seeds: Sequence[int],
    folder: Path,
    facts: dict[str, Any],
    accelerator: Accelerator,
) -> None:
    """Call `finish` for each seed that has no `last_file` yet, which it writes; seeds are dealt to the processes.

    Raises:
        ValueError: `folder` belongs to a run of other facts, no seed is given, or one is given twice.
    """
    if not seeds:
        raise ValueError("--seeds without any: name at least one")
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"--seeds {' '.join(map(str, seeds))}: a seed that occurs twice is not a new sample")
    with accelerator.main_process_first():
        claim_folder(folder, facts)
    if accelerator.is_main_process:
        note_start(folder)
    for seed in seeds[accelerator.process_index :: accelerator.num_processes]:
        own_folder = folder / f"seed-{seed}"
        journal = Journal(own_folder / LOG_FILE, run=name_of_run(facts, seed))
        if not (own_folder / last_file).is_file():
            finish(seed, own_folder, journal)
        journal.clear()
        remove_leftovers(own_folder)
    accelerator.wait_for_everyone()


def write_results(results: dict[str, Any], folder: Path, accelerator: Accelerator) -> None:
    """Write `results.json` and the log of all seeds, once all processes are done."""
    if accelerator.is_main_process:
        remove_leftovers(folder)
        _join_logs(folder, [entry["seed"] for entry in results["seeds"]])
        write_json(folder / RESULTS_FILE, results)
    accelerator.wait_for_everyone()


def summarise(scores: dict[int, Scores], facts: dict[str, Any]) -> dict[str, Any]:
    """The content of `results.json`: facts, scores by seed, mean and sample standard deviation (0 for one seed)."""
    per_seed = [{"seed": seed} | asdict(score) for seed, score in scores.items()]
    return facts | {"seeds": per_seed} | spread({key: [entry[key] for entry in per_seed] for key in AVERAGED})


def spread(columns: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation (0 for one seed) of each score over the seeds."""
    return {
        "mean": {key: statistics.fmean(values) for key, values in columns.items()},
        "std": {key: float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for key, values in columns.items()},
    }


def score_table(results: dict[str, Any]) -> str:
    """Per cent, one line a seed and, of several, the mean ± sd."""
    lines = [f"{'seed':>12}  " + "  ".join(f"{name:>12}" for name in TABLE)]
    for entry in results["seeds"]:
        lines.append(f"{entry['seed']:>12}  " + "  ".join(f"{100 * entry[key]:>12.1f}" for key in TABLE.values()))
    if len(results["seeds"]) > 1:
        lines.append(f"{'mean ± sd':>12}  " + "  ".join(f"{spread_text(results, key):>12}" for key in TABLE.values()))
    return "\n".join(lines)


def spread_text(results: dict[str, Any], key: str) -> str:
    """`percent` of one of the scores in `results.json`."""
    return percent(results["mean"][key], results["std"][key], len(results["seeds"]))


def percent(mean: float, std: float, seeds: int) -> str:
    """Per cent, mean ± sd over the seeds; one seed has no spread."""
    return f"{100 * mean:.1f}" + f" ± {100 * std:.1f}" * (seeds > 1)


def protocol_text(results: dict[str, Any]) -> str:
    """By which protocol the scores came about, and the bound that only the literature's has."""
    lines = [f"protocol {results['protocol']}"]
    if ORACLE in results["mean"]:
        oracle = spread_text(results, ORACLE)
        lines.append(f"H {oracle} with the reference code's fusion weights, which know which test images are unseen")
    return "\n".join(lines)


def claim_folder(folder: Path, facts: dict[str, Any]) -> None:
    """Write `config.json`, or check that the folder's is the same."""
    given = json.loads(json.dumps(facts))
    if not (folder / CONFIG_FILE).is_file():
        write_json(folder / CONFIG_FILE, given)
        return
    there = read_json(folder / CONFIG_FILE)
    different = [key for key in sorted(set(given) | set(there)) if given.get(key) != there.get(key)]
    if different:
        leaf = first_difference(there.get(different[0]), given.get(different[0]), different[0])
        raise ValueError(
            f"{folder} holds a run with other {', '.join(different)} ({leaf}); give this run another --name, or delete "
            "that folder"
        )


def first_difference(there: Any, given: Any, path: str) -> str:
    """The first leaf at which two JSON values differ, in words."""
    if isinstance(there, dict) and isinstance(given, dict):
        for key in [*there, *given]:
            if there.get(key) != given.get(key):
                return first_difference(there.get(key), given.get(key), f"{path}.{key}")
    return f"{path}: {there!r} there, {given!r} now"


def name_of_run(facts: dict[str, Any], seed: int) -> str:
    """A hash of all that a checkpoint depends on."""
    return hashlib.sha256(json.dumps([facts, seed], sort_keys=True).encode()).hexdigest()


def record_to(path: Path, seed: int) -> Record:
    """A Record that appends a line with time and seed to `path`; lines of earlier tests stay."""

    def record(note: dict[str, Any]) -> None:
        with path.open("a") as stream:
            stream.write(json.dumps({"time": datetime.now(UTC).isoformat(), "seed": seed} | note) + "\n")

    return record


def note_reads(reads: Sequence[RowsRead], test: TestSplit, folder: Path) -> None:
    """Write into `folder` which rows each stage was given.

    Raises:
        ValueError: a stage was given a row that the run is tested on.
    """
    tested = [part.rows for part in (test.seen, test.unseen) if part.rows is not None]
    for read in reads:
        common = np.intersect1d(read.rows.cpu().numpy(), np.concatenate([np.empty(0, np.int64), *tested]))
        if len(common):
            raise ValueError(f"{read.stage} was given {len(common)} test rows, the first is {common[0]}; not scored")
    write_json(folder / READS_FILE, _union(reads))


def _union(reads: Sequence[RowsRead]) -> dict[str, dict[str, Any]]:
    """{stage: {"count", "hash"}} of all rows that each stage was given, in one call or in several."""
    rows: dict[str, Tensor] = {}
    for read in reads:
        rows[read.stage] = torch.cat([rows.get(read.stage, read.rows[:0]), read.rows]).unique()
    return {stage: RowsRead(stage, union).facts for stage, union in rows.items()}


def rows_read(folder: Path, seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    """What the first seed's stages read; a seed that read other rows has entries of its own."""
    joined: dict[str, dict[str, Any]] = {}
    for seed in seeds:
        path = folder / f"seed-{seed}" / READS_FILE
        for stage, facts in (read_json(path) if path.is_file() else {}).items():
            if joined.setdefault(stage, facts) != facts:
                joined[f"{stage} (seed {seed})"] = facts
    return joined


def _join_logs(folder: Path, seeds: Sequence[int]) -> None:
    """All seeds' logs in one `metrics.jsonl`, each line with its seed."""
    with atomic_path(folder / LOG_FILE) as temporary, temporary.open("w") as stream:
        for seed in seeds:
            path = folder / f"seed-{seed}" / LOG_FILE
            for line in path.read_text().splitlines() if path.is_file() else ():  # closed forms log nothing
                stream.write(json.dumps({"seed": seed} | json.loads(line)) + "\n")
