"""The ranking of methods: its order, its groups against pairwise comparisons, its text and drawing."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from zsl.experiments.compare import compare
from zsl.experiments.ranking import LEVELS, draw_ranking, rank_methods, ranking_text
from zsl.scores.details import Details
from zsl.scores.summary import scores_of

CLASSES, UNSEEN, IMAGES = 9, 3, 30


def details(strength: float, seed: int) -> Details:
    """Answers of a model whose scores of the true class are higher by `strength`, in units of the noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(CLASSES).repeat(IMAGES)
    scores = rng.normal(size=(len(labels), CLASSES)) + strength * (labels[:, None] == np.arange(CLASSES))
    seen = labels < CLASSES - UNSEEN
    answers = scores.argmax(1)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values)

    return Details(
        zsl_classes=torch.arange(CLASSES - UNSEEN, CLASSES), gzsl_classes=torch.arange(CLASSES),
        seen_rows=tensor(np.flatnonzero(seen)), seen_labels=tensor(labels[seen]),
        seen_predicted=tensor(answers[seen]), seen_scores=tensor(scores[seen]),
        unseen_rows=tensor(np.flatnonzero(~seen)), unseen_labels=tensor(labels[~seen]),
        unseen_predicted=tensor(answers[~seen]), unseen_scores=tensor(scores[~seen]),
        unseen_zsl_predicted=tensor(scores[~seen][:, -UNSEEN:].argmax(1) + CLASSES - UNSEEN),
    )  # fmt: skip


def runs(**strengths: float) -> dict[str, dict[int, Details]]:
    return {name: {seed: details(strength, seed + 10 * n) for seed in range(3)}
            for n, (name, strength) in enumerate(strengths.items())}  # fmt: skip


def test_methods_stand_by_their_ausuc_and_a_clear_difference_begins_a_group() -> None:
    given = runs(weak=0.3, strong=2.0, middle=1.0)
    ranks = rank_methods(given)
    assert [(rank.name, rank.group) for rank in ranks] == [("strong", 1), ("middle", 2), ("weak", 3)]
    for rank in ranks:
        scores = [scores_of(one) for one in given[rank.name].values()]
        assert rank.ausuc.mean == pytest.approx(statistics.fmean(score.ausuc for score in scores), abs=1e-6)
        assert rank.harmonic.mean == pytest.approx(statistics.fmean(score.harmonic for score in scores), abs=1e-6)
        assert rank.ausuc.low < rank.ausuc.mean < rank.ausuc.high


def test_groups_agree_with_the_comparison_of_two_runs() -> None:
    given = runs(a=1.0, b=1.02, c=0.8, d=0.4)
    ranks = {rank.name: rank for rank in rank_methods(given, resamples=4000)}
    best = next(iter(ranks))
    for name, rank in ranks.items():
        ausuc = compare(given[name], given[best], over=LEVELS, resamples=4000, seed=3)[-1]
        if abs(ausuc.low) > 0.01:  # two draws can disagree where an end of the interval is nearly 0
            assert (rank.group > 1) == (ausuc.low > 0), name


def test_a_copy_of_the_best_is_in_its_group() -> None:
    given = runs(a=1.0, z=0.2)
    given["copy"] = {seed: replace(one) for seed, one in given["a"].items()}
    assert {rank.name: rank.group for rank in rank_methods(given)} == {"a": 1, "copy": 1, "z": 2}


def test_the_text_and_the_drawing_have_all_methods(tmp_path: Path) -> None:
    ranks = rank_methods(runs(a=1.0, b=0.4), resamples=50)
    text = ranking_text(ranks, {"b": 49.7})
    assert [line.split("|")[2].strip() for line in text.splitlines()[2:]] == ["a", "b"]
    assert text.splitlines()[3].split("|")[-2].strip() == "49.7"
    plot = draw_ranking(ranks, {"b": 49.7}, tmp_path)
    assert {"ranking.svg", "ranking.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "the best is a" in plot.alt
    assert "as published" in (tmp_path / "ranking.svg").read_text()
    assert "as published" not in draw_ranking(ranks, {}, tmp_path).svg
