"""The paired bootstrap against a plain loop and a closed form; planted and absent differences; refusals; the script."""

from __future__ import annotations

import json
import random
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run as run_command
from torch import Tensor

from zsl.common.files import write_json
from zsl.experiments.compare import Difference, check_comparable, compare, read_run, table
from zsl.scores.bootstrap import Level, Resamples, equal_weights, resampled_weights
from zsl.scores.details import Details, save_details
from zsl.scores.summary import scores_of

SEEN, UNSEEN = torch.arange(4), torch.arange(4, 7)
KEYS = {"T1": "acc_zsl", "U": "acc_unseen", "S": "acc_seen", "H": "harmonic", "AUSUC": "ausuc"}
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


def drawn(of: Details, rng: random.Random) -> tuple[list[int], list[int]]:
    """Positions of test_seen and test_unseen images, drawn with replacement within each class, image by image."""

    def draw(labels: list[int]) -> list[int]:
        members = [[i for i, label in enumerate(labels) if label == c] for c in sorted(set(labels))]
        return [rng.choice(own) for own in members for _ in own]

    return draw(of.seen_labels.tolist()), draw(of.unseen_labels.tolist())


def of_images(of: Details, seen: list[int], unseen: list[int]) -> Details:
    """The answers for these images alone."""
    parts = {"seen": seen, "unseen": unseen}
    names = [name for name in vars(of) if name.split("_")[0] in parts]
    return replace(of, **{name: getattr(of, name)[parts[name.split("_")[0]]] for name in names})


def loop_bootstrap(a: list[Details], b: list[Details], resamples: int) -> dict[str, list[float]]:
    """Differences of all scores by the definition: draw image by image, score seed by seed."""
    rng = random.Random(1)
    differences: dict[str, list[float]] = {name: [] for name in KEYS}
    for _ in range(resamples):
        images = drawn(a[0], rng)
        scores_a, scores_b = ([scores_of(of_images(d, *images)) for d in run] for run in (a, b))
        for name, key in KEYS.items():
            mean_a, mean_b = (statistics.fmean(getattr(s, key) for s in scores) for scores in (scores_a, scores_b))
            differences[name].append(mean_b - mean_a)
    return differences


def test_the_bootstrap_agrees_with_a_plain_loop() -> None:
    a, b = {0: details(0), 1: details(1)}, {0: details(2, 0.7), 5: details(3, 0.7), 6: details(4, 0.7)}
    expected = loop_bootstrap([*a.values()], [*b.values()], 400)
    for name, found in by_name(compare(a, b, resamples=4000)).items():
        low, high = np.quantile(expected[name], (0.025, 0.975))
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)
        share = np.mean([(d > 0) + (d == 0) / 2 for d in expected[name]])
        assert found.b_better == pytest.approx(share, abs=0.08)


def test_a_resamples_scores_are_the_evaluators_on_its_images() -> None:
    of, rng = details(0), random.Random(2)
    for _ in range(20):
        images = drawn(of, rng)
        weights = [
            np.bincount(positions, minlength=len(labels)) * equal_weights(labels.numpy())
            for positions, labels in zip(images, (of.seen_labels, of.unseen_labels), strict=True)
        ]
        found = Resamples(seen=weights[0][None], unseen=weights[1][None]).scores(of)[:, 0]
        expected = scores_of(of_images(of, *images))
        assert found == pytest.approx([getattr(expected, key) for key in KEYS.values()], abs=1e-6)


def test_images_with_equal_margins_count_half() -> None:
    tied = replace(details(0), seen_scores=torch.zeros(32, 7), unseen_scores=torch.zeros(21, 7))
    found = Resamples.none(tied).scores(tied)[-1, 0]
    assert found == pytest.approx(scores_of(tied).ausuc)


@pytest.mark.parametrize("levels", [("images",), ("classes",), ("images", "classes")])
def test_resamples_have_the_closed_forms_mean_and_variance(levels: tuple[Level, ...]) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([3, 8, 9], [20, 5, 50])
    hits = rng.integers(-1, 2, 75).astype(float)
    weights = resampled_weights(labels, 40_000, rng, levels)
    of_classes = [hits[labels == label] for label in (3, 8, 9)]
    means = np.array([part.mean() for part in of_classes])
    assert (weights @ hits).mean() == pytest.approx(means.mean(), abs=0.003)
    # the variance of a mean of draws, of images within classes and of classes; a class drawn k times counts k times
    within = sum(part.var() / len(part) for part in of_classes) / 9
    between = means.var() / 3
    variance = {
        ("images",): within, ("classes",): between, ("images", "classes"): between + within * (1 + 1 - 1 / 3),
    }  # fmt: skip
    assert (weights @ hits).var() == pytest.approx(variance[levels], rel=0.05)


def test_seeds_are_drawn_with_replacement_and_equal_seeds_together() -> None:
    a = {seed: details(seed) for seed in range(4)}
    assert all((d.low, d.high) == (0, 0) for d in compare(a, a, over=("images", "classes", "seeds")))
    b = {seed: details(seed + 10) for seed in range(4)}
    of_seeds_alone: tuple[Level, ...] = ("seeds",)
    seeds_alone = by_name(compare(a, b, over=of_seeds_alone, resamples=20_000))["T1"]
    of_seeds = [scores_of(b[seed]).acc_zsl - scores_of(a[seed]).acc_zsl for seed in a]
    width = 2 * 1.96 * np.std(of_seeds) / 2  # of a mean over four draws
    assert seeds_alone.high - seeds_alone.low == pytest.approx(width, rel=0.15)
    everything = by_name(compare(a, b, over=("images", "classes", "seeds")))["T1"]
    assert everything.high - everything.low > seeds_alone.high - seeds_alone.low


def test_the_compared_scores_are_the_evaluators() -> None:
    a, b = {0: details(0), 1: details(1)}, {2: details(2)}
    found = by_name(compare(a, b, resamples=10))
    for name, key in KEYS.items():
        mean_a, mean_b = (statistics.fmean(getattr(scores_of(d), key) for d in run.values()) for run in (a, b))
        expected = (mean_a, mean_b, mean_b - mean_a)
        assert (found[name].a, found[name].b, found[name].difference) == pytest.approx(expected, abs=1e-6)


def test_a_planted_difference_is_found_and_equal_runs_do_not_differ() -> None:
    a = {seed: details(seed, 0.5, scale=20) for seed in (0, 1, 2)}
    b = {seed: details(seed + 10, 0.6, scale=20) for seed in (0, 1, 2)}
    for found in compare(a, b)[:-1]:  # the scores behind AUSUC are noise
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


def test_the_script_prints_a_table_and_writes_the_numbers(tmp_path: Path) -> None:
    a, b = {0: details(0), 1: details(1)}, {0: details(2, 0.9), 1: details(3, 0.9)}
    folders = write_run(tmp_path / "a", a), write_run(tmp_path / "b", b)
    done = run_command("compare.py", *folders, "--json", tmp_path / "out.json", "--resamples", "300")
    assert done.returncode == 0, done.stderr
    found = compare(a, b, resamples=300)
    written = json.loads((tmp_path / "out.json").read_text())
    assert [Difference(**entry) for entry in written["differences"]] == found
    assert written["b"] == {
        "run": str(folders[1]),
        "seeds": [0, 1],
        "side_information": "attributes",
        "protocol": "honest",
    }
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[3:8]] == [*KEYS]
    assert f"[{100 * found[0].low:+.1f}, {100 * found[0].high:+.1f}]" in lines[3]
    assert lines[8].startswith("sd of one seed's B - A: T1 ")


def test_the_scripts_refusal_is_one_line(tmp_path: Path) -> None:
    done = run_command(
        "compare.py", write_run(tmp_path / "a", {0: details(0)}), write_run(tmp_path / "b", {0: details(0)}, "cub")
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "compare runs on one" in done.stderr
    assert "Traceback" not in done.stderr


def test_runs_of_two_versions_are_named(tmp_path: Path) -> None:
    """Results of other versions are in no table; where they are compared, a line says so."""
    folders = [write_run(tmp_path / name, {0: details(0)}) for name in ("a", "b", "c")]
    for folder, version in zip(folders, (3, 4, "4, file 0123456789ab"), strict=True):
        write_json(folder / "config.json", {"benchmark": "toy", "method_version": version})
    a, b, own = map(read_run, folders)
    differences = compare(a.details, b.details, resamples=10)
    assert "NOT THE SAME VERSION: 3 and 4; " in table(a, b, differences)
    assert "VERSION" not in table(b, own, differences)


def test_a_run_that_looked_at_the_test_is_named(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, {0: details(0)}) for name in ("a", "b")]
    config = json.loads((runs[1] / "config.json").read_text()) | {"protocol": "published: epochs selected on test"}
    write_json(runs[1] / "config.json", config)
    done = run_command("compare.py", *runs, "--resamples", "100")
    assert done.returncode == 0, done.stderr
    assert "\nB IS NOT HONEST: published: epochs selected on test\n" in done.stdout
    assert "A IS NOT HONEST" not in done.stdout
