"""The notebook: it holds no outputs, and its cells run in their order on the tiny drawn benchmark."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "first_hour.ipynb"
SHORT = {
    "metric.steps": 20, "srn.steps": 20, "gan.steps": 5, "gan.hidden_dim": 32, "regressors.hidden_dim": 16,
    "classifiers.images_per_unseen_class": 10,
}  # fmt: skip


def code_cells() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_holds_no_outputs() -> None:
    assert len(code_cells()) > 5
    for cell in code_cells():
        assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]


def test_the_cells_run_in_their_order(
    tiny_shapes: Path, tiny_weights: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    shutil.copytree(tiny_shapes / "shapes" / "raw", tmp_path / "data" / "shapes" / "raw")
    changed = {
        "data": tmp_path / "data", "runs": tmp_path / "runs", "backbone": "test_vit", "weights": tiny_weights,
        "seeds": (0,), "gamma": 1.5, "settings": SHORT,
    }  # fmt: skip
    names: dict[str, Any] = {"__name__": "first_hour"}
    for cell in code_cells():
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
        if "parameters" in cell["metadata"].get("tags", ()):
            assert changed.keys() <= names.keys()
            names |= changed
    assert names["manifest"].count == 72
    assert [Path(answer.photo) for answer in names["answers"]] == names["photos"][:3]
    (details,) = names["second"].details.values()
    right = details.unseen_zsl_predicted == details.unseen_labels
    assert names["results"].mean["acc_zsl"] == pytest.approx(right.float().mean().item())  # classes of equal size
