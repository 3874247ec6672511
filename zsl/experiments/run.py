"""A run folder: config, log, one model and score file a seed, results; a restart does only what is missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from zsl.common.files import read_json, remove_leftovers, write_json
from zsl.common.provenance import note_start
from zsl.dcrgan.saved import MODEL_FILE, save_synthesizer, save_tensors
from zsl.experiments.reads import ACCESS_FILE, note_reads, record_to, rows_read
from zsl.experiments.results import CONFIG_FILE, LOG_FILE, summarise, write_results
from zsl.features.split import TestSplit, TrainSplit
from zsl.scores.details import DETAILS_FILE, save_details
from zsl.scores.evaluate import evaluate_details
from zsl.scores.model import ZeroShotModel
from zsl.scores.summary import Scores, scores_of
from zsl.training.journal import Journal
from zsl.training.log import Log

SCORES_FILE = "scores.json"

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
