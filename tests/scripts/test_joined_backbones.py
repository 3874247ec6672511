"""`--backbone a+b` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import assert_refused, load_script, run

from backbones import EncodeOptions
from zsl.experiments.results import read_results


def test_training_takes_a_join_and_says_so(tiny_join: Path, tmp_path: Path) -> None:
    names = sorted(path.parent.name for path in tiny_join.glob("shapes/features/*/manifest.json"))
    words = ("--data", tiny_join, "--runs", tmp_path, "--method", "eszsl", "--gamma", "0", "--seeds", "0")
    process = run("train_dcrgan.py", *words, "--backbone", "+".join(names), "--name", "a+b")
    assert process.returncode == 0, process.stderr
    results = read_results(tmp_path / "a+b" / "results.json")
    assert results.backbone == "+".join(names)
    assert len(results.features.parts) == 2
    assert results.features.dim == sum(part.dim for part in results.features.parts)
    refused = run("train_dcrgan.py", *words, "--backbone", f"{names[0]}+")
    assert_refused(refused, f"--backbone {names[0]}+: a name is missing beside a +")


def test_extraction_reads_the_parts_and_their_options_from_the_name() -> None:
    script = load_script("extract.py")
    flags = EncodeOptions(flip=True)
    args = script.Args(backbone="resnet50-96px+efficientnet_lite0-5crops", options=flags)
    assert script._parts(args) == [
        ("resnet50", EncodeOptions(image_size=96, flip=True)),
        ("efficientnet_lite0", EncodeOptions(crops=5, flip=True)),
    ]
    for backbone, message in (
        ("resnet50+", r"a name is missing beside a \+"),
        ("resnet50+resnet5000", "no backbone 'resnet5000'"),
        ("resnet50+resnet50.a1_in1k", "are the same features"),
    ):
        with pytest.raises(ValueError, match=message):
            script._parts(script.Args(backbone=backbone))
    assert len(script._parts(script.Args(backbone="resnet50+resnet50-96px"))) == 2
    with pytest.raises(ValueError, match="--weights: that is for one backbone"):
        script._parts(script.Args(backbone="resnet50+resnet18", weights=Path("x.pth")))
