"""The difference between two runs: a paired bootstrap over their test, and the spread over seeds.

All models of both runs get the same draw, so easy images do not blur the difference.  Accuracies are means over
classes, so images are drawn within each class: the interval shows the effect of other test images of the same classes.
The bootstrap can also draw classes and seeds: the interval then shows the effect of other classes and seeds, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from zsl.common.files import read_object
from zsl.datasets.split_file import rows_hash
from zsl.datasets.splits import ATTRIBUTES
from zsl.experiments.results import CONFIG_FILE, HONEST
from zsl.scores.bootstrap import COLUMNS, IMAGES, Level, Resamples, resampled_seeds
from zsl.scores.curves import TIE
from zsl.scores.details import DETAILS_FILE, Details, load_details


@dataclass(frozen=True, eq=False)
class Run:
    """The tested models of one run folder."""

    folder: Path
    benchmark: str
    side_information: str
    details: dict[int, Details]  # by seed
    protocol: str = HONEST
    version: str = ""  # of the methods when it was trained; "" where it is not known


@dataclass(frozen=True, kw_only=True)
class Difference:
    """B minus A in one score; fractions."""

    score: str
    a: float  # mean over seeds
    b: float
    difference: float
    low: float  # 95 % of the resamples lie between
    high: float
    b_better: float  # share of the resamples in which B is better; ties count half
    seed_std: float | None  # standard deviation of the difference of one seed; None if a run has one seed


def read_run(folder: Path, seeds: Sequence[int] | None = None) -> Run:
    """Read the details of `seeds` in `folder`, or of every seed there.

    Raises:
        FileNotFoundError: `folder` is no run folder, or holds no details.
        ValueError: a details file is broken, or its seeds were tested on different rows.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{folder} is no run folder (no {CONFIG_FILE}); scripts/train_dcrgan.py makes one")
    paths = {
        int(path.parent.name.removeprefix("seed-")): path
        for path in folder.glob(f"seed-*/{DETAILS_FILE}")
        if path.parent.name.removeprefix("seed-").isdecimal()
    }
    if seeds is not None:
        paths = {seed: path for seed, path in paths.items() if seed in seeds}
    if not paths:
        raise FileNotFoundError(f"{folder} has no seed-*/{DETAILS_FILE}; it is unfinished or old: train it anew")
    details = {seed: load_details(paths[seed]) for seed in sorted(paths)}
    first = next(iter(details))
    for seed, other in details.items():
        _check_rows(details[first], other, f"seed {first} of {folder}", f"seed {seed}")
    facts = read_object(folder / CONFIG_FILE)
    side_information, protocol = facts.get("side_information", ATTRIBUTES), facts.get("protocol", HONEST)
    version = str(facts.get("method_version", "")).split(",")[0]  # without the file of a user's own method
    return Run(folder, facts.get("benchmark", "unknown"), side_information, details, protocol, version)


def check_comparable(a: Run, b: Run) -> None:
    """Check that both runs were tested on the same images.

    Raises:
        ValueError: they were tested on different images.
    """
    if a.benchmark != b.benchmark:
        raise ValueError(f"{a.folder} is a run on {a.benchmark}, {b.folder} on {b.benchmark}; compare runs on one")
    first, second = (next(iter(run.details.values())) for run in (a, b))
    _check_rows(first, second, str(a.folder), str(b.folder))


def _check_rows(a: Details, b: Details, name_a: str, name_b: str) -> None:
    for part in ("seen", "unseen"):
        rows_a, rows_b = getattr(a, f"{part}_rows"), getattr(b, f"{part}_rows")
        labels_a, labels_b = getattr(a, f"{part}_labels"), getattr(b, f"{part}_labels")
        for name, rows, labels in ((name_a, rows_a, labels_a), (name_b, rows_b, labels_b)):
            if len(rows) != len(labels):
                raise ValueError(f"{name} does not say which test_{part} rows it was tested on; train it anew")
        if not rows_a.equal(rows_b):
            raise ValueError(
                f"{name_a} was tested on {_describe(rows_a)}, {name_b} on {_describe(rows_b)} as test_{part}; "
                "compare runs on the same split or fold"
            )
        if not labels_a.equal(labels_b):
            raise ValueError(f"{name_a} and {name_b} give the same test_{part} rows other labels; extract anew")


def _describe(rows: Tensor) -> str:
    return f"{len(rows)} rows (hash {rows_hash(rows.numpy())})"


def compare(
    a: Mapping[int, Details],
    b: Mapping[int, Details],
    *,
    over: Collection[Level] = IMAGES,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Difference]:
    """Compute the differences of all COLUMNS between two runs; `a` and `b` hold details of equal rows, by seed.

    over: what the bootstrap draws.  Runs of equal seeds get the same draw of seeds.
    """
    rng = np.random.default_rng(seed)
    first = next(iter(a.values()))
    drawn, whole = Resamples.draw(first, resamples, rng, over), Resamples.none(first)
    paired = list(a) == list(b)
    seeds_a = resampled_seeds([*a], resamples, rng, over)
    seeds_b = seeds_a if paired else resampled_seeds([*b], resamples, rng, over)
    resampled = [
        (np.stack([drawn.scores(details) for details in run.values()], axis=-1) * weights).sum(-1)
        for run, weights in ((a, seeds_a), (b, seeds_b))
    ]  # of each run [5, resamples]
    scores_a, scores_b = (
        np.concatenate([whole.scores(details) for details in run.values()], axis=1) for run in (a, b)
    )  # [5, seeds]
    differences = resampled[1] - resampled[0]
    differences[np.abs(differences) < TIE] = 0
    low, high = np.quantile(differences, (0.025, 0.975), axis=1)
    better = (differences > 0).mean(1) + (differences == 0).mean(1) / 2
    spread = seed_spread(scores_a, scores_b, paired=paired)
    return [
        Difference(
            score=name,
            a=scores_a[i].mean().item(),
            b=scores_b[i].mean().item(),
            difference=(scores_b[i].mean() - scores_a[i].mean()).item(),
            low=low[i].item(),
            high=high[i].item(),
            b_better=better[i].item(),
            seed_std=None if spread is None else spread[i].item(),
        )
        for i, name in enumerate(COLUMNS)
    ]


def seed_spread(a: np.ndarray, b: np.ndarray, *, paired: bool) -> np.ndarray | None:
    """Compute the standard deviation of the difference between one seed of A and one seed of B: [5]; a, b: [5, seeds].

    paired: whether both runs have the same seeds in the same order; then equal seeds are compared.
    """
    if min(a.shape[1], b.shape[1]) < 2:
        return None
    return (b - a).std(1, ddof=1) if paired else np.sqrt(a.var(1, ddof=1) + b.var(1, ddof=1))


def table(a: Run, b: Run, differences: Sequence[Difference]) -> str:
    """Write the differences in per cent, one line for each score, then the spread over seeds."""
    lines = [f"{name}: {run.folder}, seeds {' '.join(map(str, run.details))}" for name, run in (("A", a), ("B", b))]
    if a.side_information != b.side_information:
        lines.append(f"NOT THE SAME SIDE INFORMATION: A has {a.side_information}, B has {b.side_information}")
    if a.version != b.version:
        versions = " and ".join(run.version or "unknown" for run in (a, b))
        lines.append(f"NOT THE SAME VERSION: {versions}; the methods changed between them, so train the older run anew")
    for name, run in (("A", a), ("B", b)):
        if not run.protocol.startswith(HONEST):
            lines.append(f"{name} IS NOT HONEST: {run.protocol}")
    lines.append(f"{'':>6}{'A':>8}{'B':>8}{'B - A':>8}{'95 % interval':>18}{'B better':>11}")
    for d in differences:
        interval = f"[{100 * d.low:+.1f}, {100 * d.high:+.1f}]"
        lines.append(
            f"{d.score:>6}{100 * d.a:>8.1f}{100 * d.b:>8.1f}{100 * d.difference:>+8.1f}{interval:>18}"
            f"{100 * d.b_better:>9.1f} %"
        )
    spread = ", ".join(f"{d.score} {100 * d.seed_std:.1f}" for d in differences if d.seed_std is not None)
    return "\n".join([*lines, f"sd of one seed's B - A: {spread or 'unknown, a run has one seed'}"])
