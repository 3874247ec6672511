"""The Python code of the pages runs in its order on the tiny drawn benchmark."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from zsl.datasets.class_vectors import read_class_vectors
from zsl.datasets.split_file import read_split_file

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_code_of_the_page_runs(
    tiny_shapes: Path, tiny_features: Path, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").symlink_to(tiny_shapes)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "python.md").read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:  # another backbone, and a method of a second
        exec(block.replace("efficientnet_lite0", tiny_features.name).replace("dcrgan+", "eszsl"), names)
    assert len(blocks) == 3
    (first, *_) = names["results"].seeds
    assert first["acc_zsl"] == names["scores"].acc_zsl
    assert first["ausuc"] == names["scores"].ausuc
    assert names["number"] == 3


def test_the_vectors_of_the_page_are_of_all_classes(
    tiny_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").symlink_to(tiny_shapes)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(
        r"python - <<'PY'\n(.*?)^ *PY$", (DOCS / "class-vectors.md").read_text(), re.MULTILINE | re.DOTALL
    )
    exec(textwrap.dedent(code), {})
    assert read_class_vectors(Path("vectors.npy")).names == read_split_file(Path("data/shapes/splits")).class_names
