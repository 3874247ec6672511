"""The code of docs/python.md runs in its order on the tiny drawn benchmark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def test_the_code_of_the_page_runs(
    tiny_shapes: Path, tiny_features: Path, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").symlink_to(tiny_shapes)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:  # another backbone, and a method of a second
        exec(block.replace("efficientnet_lite0", tiny_features.name).replace("dcrgan+", "eszsl"), names)
    assert len(blocks) == 3
    (first, *_) = names["results"].seeds
    assert first["acc_zsl"] == names["scores"].acc_zsl
    assert first["ausuc"] == names["scores"].ausuc
    assert names["number"] == 3
