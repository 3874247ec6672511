"""The content of `results.json`, and the tables that a terminal shows of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from zsl.common.files import atomic_path, remove_leftovers, write_json
from zsl.experiments.published import ORACLE
from zsl.scores.summary import SCORES, Scores

CONFIG_FILE, RESULTS_FILE, LOG_FILE = "config.json", "results.json", "metrics.jsonl"
TABLE = {"T1": "acc_zsl", "U": "acc_unseen", "S": "acc_seen", "H": "harmonic", "AUSUC": "ausuc"}

AVERAGED = (*SCORES, "pulled_to_seen", "harmonic_oracle")  # of these results have mean and standard deviation


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


def _join_logs(folder: Path, seeds: Sequence[int]) -> None:
    """All seeds' logs in one `metrics.jsonl`, each line with its seed."""
    with atomic_path(folder / LOG_FILE) as temporary, temporary.open("w") as stream:
        for seed in seeds:
            path = folder / f"seed-{seed}" / LOG_FILE
            for line in path.read_text().splitlines() if path.is_file() else ():  # closed forms log nothing
                stream.write(json.dumps({"seed": seed} | json.loads(line)) + "\n")
