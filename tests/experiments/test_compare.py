"""The paired bootstrap against a plain loop and a closed form; planted and absent differences; refusals; the script."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from zsl.common.files import write_json
from zsl.experiments.compare import Difference, check_comparable, compare, read_run, resampled_shares
from zsl.scores.details import Details, save_details
from zsl.scores.summary import scores_of

SEEN, UNSEEN = torch.arange(4), torch.arange(4, 7)
COUNTS = {"seen": [6, 9, 12, 5], "unseen": [10, 4, 7]}


def details(seed: int, right: float = 0.6, scale: int = 1) -> Details:
    """Answers that are right with probability `right`."""
    generator = torch.Generator().manual_seed(seed)

    def answers(labels: Tensor) -> Tensor:
        hit = torch.rand(len(labels), generator=generator) < right
        return torch.where(hit, labels, (labels + 1) % 7)

    seen, unseen = (
        ids.repeat_interleave(torch.tensor(COUNTS[part]) * scale) for ids, part in ((SEEN, "seen"), (UNSEEN, "unseen"))
    )
    return Details(
        zsl_classes=UNSEEN,
        gzsl_classes=torch.cat([SEEN, UNSEEN]),
        seen_rows=torch.arange(len(seen)),
        seen_labels=seen,
        seen_predicted=answers(seen),
        seen_scores=torch.randn(len(seen), 7, generator=generator),
        unseen_rows=torch.arange(len(seen), len(seen) + len(unseen)),
        unseen_labels=unseen,
        unseen_predicted=answers(unseen),
        unseen_scores=torch.randn(len(unseen), 7, generator=generator),
        unseen_zsl_predicted=answers(unseen),
    )


def by_name(differences: list[Difference]) -> dict[str, Difference]:
    return {difference.score: difference for difference in differences}


def loop_bootstrap(a: list[Details], b: list[Details], resamples: int) -> dict[str, list[float]]:
    """Differences of T1, U, S, H by the definition: draw image by image, score seed by seed."""
    rng = random.Random(1)

    def draw(labels: list[int]) -> list[list[int]]:
        members = [[i for i, label in enumerate(labels) if label == c] for c in sorted(set(labels))]
        return [[rng.choice(own) for _ in own] for own in members]

    def accuracy(predicted: Tensor, labels: Tensor, drawn: list[list[int]]) -> float:
        right = (predicted == labels).tolist()
        return statistics.fmean(statistics.fmean(right[i] for i in own) for own in drawn)

    differences: dict[str, list[float]] = {name: [] for name in ("T1", "U", "S", "H")}
    for _ in range(resamples):
        unseen, seen = draw(a[0].unseen_labels.tolist()), draw(a[0].seen_labels.tolist())
        means = []
        for run in (a, b):
            t1 = [accuracy(d.unseen_zsl_predicted, d.unseen_labels, unseen) for d in run]
            u = [accuracy(d.unseen_predicted, d.unseen_labels, unseen) for d in run]
            s = [accuracy(d.seen_predicted, d.seen_labels, seen) for d in run]
            h = [2 * x * y / (x + y) if x + y else 0.0 for x, y in zip(u, s, strict=True)]
            means.append([statistics.fmean(values) for values in (t1, u, s, h)])
        for name, x, y in zip(differences, *means, strict=True):
            differences[name].append(y - x)
    return differences


def test_the_bootstrap_agrees_with_a_plain_loop() -> None:
    a, b = {0: details(0), 1: details(1)}, {0: details(2, 0.7), 5: details(3, 0.7), 6: details(4, 0.7)}
    expected = loop_bootstrap([*a.values()], [*b.values()], 2000)
    for name, found in by_name(compare(a, b, resamples=4000)).items():
        low, high = np.quantile(expected[name], (0.025, 0.975))
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)
        share = np.mean([(d > 0) + (d == 0) / 2 for d in expected[name]])
        assert found.b_better == pytest.approx(share, abs=0.04)


def test_resamples_have_the_closed_forms_mean_and_variance() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([3, 8, 9], [20, 5, 50])
    hits = rng.integers(-1, 2, (75, 2)).astype(float)
    drawn = resampled_shares(hits, labels, 40_000, rng)
    own = [hits[labels == label] for label in (3, 8, 9)]
    variance = sum(part.var(0) / len(part) for part in own) / 3**2  # draws within classes are independent
    assert drawn.mean(0) == pytest.approx(np.mean([part.mean(0) for part in own], axis=0), abs=0.003)
    assert drawn.var(0) == pytest.approx(variance, rel=0.05)
    correlation = sum(np.cov(part.T, ddof=0)[0, 1] / len(part) for part in own) / 3**2
    assert np.cov(drawn.T)[0, 1] == pytest.approx(correlation, abs=0.1 * variance.max())  # one draw for all columns


def test_the_compared_scores_are_the_evaluators() -> None:
    a, b = {0: details(0), 1: details(1)}, {2: details(2)}
    found = by_name(compare(a, b, resamples=10))
    for name, key in (("T1", "acc_zsl"), ("U", "acc_unseen"), ("S", "acc_seen"), ("H", "harmonic")):
        mean_a, mean_b = (statistics.fmean(getattr(scores_of(d), key) for d in run.values()) for run in (a, b))
        expected = (mean_a, mean_b, mean_b - mean_a)
        assert (found[name].a, found[name].b, found[name].difference) == pytest.approx(expected, abs=1e-6)


def test_a_planted_difference_is_found_and_equal_runs_do_not_differ() -> None:
    a = {seed: details(seed, 0.5, scale=20) for seed in (0, 1, 2)}
    b = {seed: details(seed + 10, 0.6, scale=20) for seed in (0, 1, 2)}
    for found in compare(a, b):
        assert 0 < found.low < found.difference < found.high < 0.2
        assert found.b_better > 0.99
    for found in compare(a, a):
        assert (found.low, found.difference, found.high, found.b_better) == (0, 0, 0, 0.5)
    for found in compare(a, {seed: details(seed + 20, 0.5, scale=20) for seed in (0, 1, 2)}):
        assert found.low < 0 < found.high


def test_exchanging_the_runs_turns_the_sign_and_equal_seeds_give_equal_numbers() -> None:
    a, b = {0: details(0), 1: details(1)}, {0: details(2), 1: details(3)}
    assert compare(a, b) == compare(a, b)
    assert compare(a, b) != compare(a, b, seed=1)
    for forth, back in zip(compare(a, b), compare(b, a), strict=True):
        assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))
        assert back.b_better == pytest.approx(1 - forth.b_better)


def test_equal_seeds_are_compared_one_to_one() -> None:
    a, b = {0: details(0), 1: details(1), 2: details(2)}, {0: details(3), 1: details(4), 2: details(5)}
    t1_a, t1_b = ([scores_of(d).acc_zsl for d in run.values()] for run in (a, b))
    paired = statistics.stdev(y - x for x, y in zip(t1_a, t1_b, strict=True))
    assert compare(a, b)[0].seed_std == pytest.approx(paired, abs=1e-6)
    others = {7: b[0], 8: b[1], 9: b[2]}
    unpaired = (statistics.variance(t1_a) + statistics.variance(t1_b)) ** 0.5
    assert compare(a, others)[0].seed_std == pytest.approx(unpaired, abs=1e-6)
    assert compare(a, {0: b[0]})[0].seed_std is None


def write_run(folder: Path, run: dict[int, Details], benchmark: str = "toy") -> Path:
    write_json(folder / "config.json", {"benchmark": benchmark})
    for seed, tested in run.items():
        save_details(tested, folder / f"seed-{seed}" / "details.safetensors")
    return folder


def test_seeds_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", {seed: details(seed) for seed in (10, 2, 0)}))
    assert list(run.details) == [0, 2, 10]
    assert torch.equal(run.details[10].unseen_predicted, details(10).unseen_predicted)


def test_runs_that_were_not_tested_on_the_same_images_are_refused(tmp_path: Path) -> None:
    def other(name: str, benchmark: str = "toy", **changed: Tensor) -> Path:
        return write_run(tmp_path / name, {0: replace(details(0), **changed)}, benchmark)

    a, rows, labels = read_run(other("a")), details(0).unseen_rows, details(0).seen_labels
    check_comparable(a, read_run(other("same")))
    with pytest.raises(ValueError, match=r"a is a run on toy, .*birds on cub"):
        check_comparable(a, read_run(other("birds", "cub")))
    with pytest.raises(ValueError, match=r"21 rows \(hash \w+\), .*fold on 21 rows .* as test_unseen"):
        check_comparable(a, read_run(other("fold", unseen_rows=rows + 1)))
    with pytest.raises(ValueError, match="give the same test_seen rows other labels"):
        check_comparable(a, read_run(other("labels", seen_labels=labels.flip(0))))
    with pytest.raises(ValueError, match="does not say which test_seen rows"):
        read_run(other("unknown", seen_rows=torch.empty(0, dtype=torch.int64)))
    mixed = {0: details(0), 1: replace(details(1), unseen_rows=rows + 1)}
    with pytest.raises(ValueError, match=r"seed 0 of .*mixed was tested on"):
        read_run(write_run(tmp_path / "mixed", mixed))


def test_folders_without_details_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no run folder \(no config.json\)"):
        read_run(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no seed-\*/details.safetensors"):
        read_run(write_run(tmp_path / "old", {}))


def script(*words: str | Path) -> subprocess.CompletedProcess[str]:
    path = Path(__file__).parents[2] / "scripts" / "compare.py"
    return subprocess.run([sys.executable, str(path), *map(str, words)], capture_output=True, text=True, check=False)


def test_the_script_prints_a_table_and_writes_the_numbers(tmp_path: Path) -> None:
    a, b = {0: details(0), 1: details(1)}, {0: details(2, 0.9), 1: details(3, 0.9)}
    folders = write_run(tmp_path / "a", a), write_run(tmp_path / "b", b)
    done = script(*folders, "--json", tmp_path / "out.json", "--resamples", "300")
    assert done.returncode == 0, done.stderr
    found = compare(a, b, resamples=300)
    written = json.loads((tmp_path / "out.json").read_text())
    assert [Difference(**entry) for entry in written["differences"]] == found
    assert written["b"] == {"run": str(folders[1]), "seeds": [0, 1]}
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[3:7]] == ["T1", "U", "S", "H"]
    assert f"[{100 * found[0].low:+.1f}, {100 * found[0].high:+.1f}]" in lines[3]
    assert lines[7].startswith("sd of one seed's B - A: T1 ")


def test_the_scripts_refusal_is_one_line(tmp_path: Path) -> None:
    done = script(write_run(tmp_path / "a", {0: details(0)}), write_run(tmp_path / "b", {0: details(0)}, "cub"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "compare runs on one" in done.stderr
    assert "Traceback" not in done.stderr
