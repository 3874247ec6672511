"""The scripts of examples/, called on the tiny drawn benchmark: what they print is what the program itself finds."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from command_line import load_script
from finished import finish_run
from torch.nn.functional import softplus

from zsl.experiments.results import read_results
from zsl.predict.answers import Answer
from zsl.predict.photos import Limits
from zsl.predict.reader import Reader

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str) -> ModuleType:
    return load_script(str(EXAMPLES / name))


def test_each_example_is_called_here() -> None:
    called = set(re.findall(r'example\("(\w+\.py)"\)\.main', Path(__file__).read_text()))
    assert called == {path.name for path in EXAMPLES.glob("*.py")}


def test_six_lines_give_the_scores_of_a_run(
    tiny_shapes: Path, tiny_features: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    scores = example("train_and_score.py").main(backbone=tiny_features.name, method="eszsl", data=tiny_shapes)
    run = finish_run(tiny_shapes, tiny_features, tmp_path / "run", accelerator, method="eszsl", seeds=(0,))
    (of_run,) = read_results(run / "results.json").seeds
    for name in ("acc_zsl", "harmonic", "ausuc"):
        assert getattr(scores, name) == of_run[name]


def test_the_loss_of_ones_own_is_that_of_its_docstring_and_learns(tiny_shapes: Path, tiny_features: Path) -> None:
    smooth_loss = example("own_loss.py").smooth_loss
    scores, targets = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 1, 1, 2])
    terms = [
        softplus(1.5 + row[k] - row[y])
        for row, y in zip(scores, targets, strict=True) for k in range(4) if k != y
    ]  # fmt: skip
    torch.testing.assert_close(smooth_loss(scores, targets, 1.5), torch.stack(terms).sum() / 5)
    result = example("own_loss.py").main(backbone=tiny_features.name, data=tiny_shapes)
    assert result.acc_seen > 1 / 6  # chance among the seen classes alone


def test_a_benchmark_of_ones_own_goes_from_drawn_photos_to_scores(
    tiny_weights: Path, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "colours").mkdir()
    monkeypatch.chdir(tmp_path / "colours")
    scores = example("own_benchmark.py").main(
        folder=Path(), backbone="test_vit", weights=tiny_weights, photos=6, data=tmp_path / "data"
    )
    assert len(list((tmp_path / "colours" / "images").glob("*/*.png"))) == 6 * 6
    assert scores.acc_zsl == 1  # one unseen class: no other choice
    assert scores.acc_seen > 1 / 6


def test_a_photo_gets_the_answer_of_its_run(
    tiny_run: Path, tiny_weights: Path, tiny_reader: Reader, tiny_shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = min((tiny_shapes / "shapes" / "raw" / "images").glob("*/*.jpg"))
    (answer,) = example("predict.py").main(tiny_run, (str(photo), str(tiny_weights)), (tiny_weights,))
    (expected,) = tiny_reader.read([photo], Limits(), 1)
    assert isinstance(expected, Answer)
    assert [(c.name, c.score) for c in answer.classes] == [(c.name, c.score) for c in expected.classes[:3]]
    printed, unread = sorted(capsys.readouterr().out.splitlines(), key=lambda line: line.startswith(str(tiny_weights)))
    assert printed == f"{photo}: {answer.classes[0].name} ({answer.classes[0].kind})"
    assert unread.startswith(f"{tiny_weights}: ")


def test_two_methods_are_compared_by_the_scores_of_their_runs(
    tiny_shapes: Path, tiny_features: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    differences = example("compare.py").main(
        methods=("eszsl", "sae"), backbone=tiny_features.name, seeds=(0, 1), data=tiny_shapes, runs=tmp_path
    )
    first, second = (read_results(tmp_path / f"example-{name}" / "results.json").mean for name in ("eszsl", "sae"))
    t1 = next(one for one in differences if one.score == "T1")
    assert t1.difference == pytest.approx(second["acc_zsl"] - first["acc_zsl"])
    assert all(one.low <= one.difference <= one.high or np.isclose(one.low, one.high) for one in differences)
