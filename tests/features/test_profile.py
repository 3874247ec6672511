"""`extract.py --profile`: every batch and photo is counted in its stage, and the stages divide the time."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from accelerate import Accelerator
from command_line import load_script

from backbones import Backbone
from zsl.common.profile import TABLE_FILE, TRACE_FILE
from zsl.datasets.places import features_folder


@pytest.mark.parametrize("profile", [True, False])
def test_the_script_writes_the_stages_beside_the_table(
    tiny_shapes: Path, tiny_weights: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], profile: bool,
) -> None:  # fmt: skip
    shutil.copytree(tiny_shapes / "shapes" / "shards", tmp_path / "shapes" / "shards")
    script = load_script("extract.py")
    monkeypatch.setattr(script, "make_accelerator", lambda _: accelerator)
    script.main(
        script.Args(
            data=tmp_path, backbone="test_vit", weights=tiny_weights, precision="no", batch_size=10, profile=profile
        )
    )
    out = features_folder(tmp_path, "shapes", tiny_backbone.name)
    assert (out / TRACE_FILE).is_file() == (out / TABLE_FILE).is_file() == profile
    if not profile:
        return
    times = Counter(event["name"] for event in json.loads((out / TRACE_FILE).read_text())["traceEvents"])
    batches = 8  # of 10 photos, for 72
    expected = {"model": batches, "decoding and transform": batches, "decoding": 72, "transform": 72, "writing": 1}
    assert {name: times[name] for name in expected} == expected
    table = (out / TABLE_FILE).read_text()
    assert table in capsys.readouterr().out
    rows = [line.split(" | ") for line in table.splitlines()[2:] if "other threads" not in line]
    assert {"preparing the model", "reading", "merging"} < {row[0].removeprefix("| ") for row in rows}
    shares = [float(row[2].removesuffix("%")) for row in rows]
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares) + 0.01)
