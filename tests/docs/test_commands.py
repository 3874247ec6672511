"""Every command in README and docs/: its script is there, takes its flags, and is run by a test or needs data."""

from __future__ import annotations

import functools
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tyro

import zsl.cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SCRIPT = re.compile(r"(?:scripts|benchmarks|examples)/\w+\.py")
# What a command with one of these words needs, before it can run.
NEEDS = {
    r"cub|CUB|awa[12]|apy|sun|table3": "photos of a benchmark, and days or hours of computing",
    r"animals": "photos of your own",
    r"benchmarks": "a quiet machine for minutes to hours",
    r"resnet50": "weights from a hub, or of your own",
    r"hf://OWNER": "a folder on the hub",
}
# The test that runs a command: with its flags on the tiny drawn benchmark, with a small backbone and short trainings.
EXTRACTED = "tests/scripts/test_scripts.py::test_extract_makes_a_table_that_another_process_makes_too"
STUDY = "tests/experiments/test_study.py::test_every_backbone_gets_every_method_and_its_own_costs"
FAULTS = "tests/features/test_extract_faults.py::"
COMPARED = "tests/experiments/test_compare.py::test_the_script_prints_a_table_and_writes_the_numbers"
OWN = "tests/experiments/test_own_method.py::"
LISTED = "tests/report/test_run_list.py::test_the_script_prints_a_table_or_json"
TRACKED = "tests/training/test_trackers.py::"
VECTORS = "tests/datasets/test_class_vectors.py::test_the_scripts_take_the_flags"
EXAMPLE = "tests/examples/test_examples.py::"
RUN_BY = {
    "scripts/extract.py": EXTRACTED,
    "scripts/extract.py --compile on": (
        f"{FAULTS}test_a_compiled_encoder_gives_the_same_features_and_always_sees_whole_batches"
    ),
    "scripts/extract.py --profile": (
        "tests/features/test_profile.py::test_the_script_writes_the_stages_beside_the_table"
    ),
    "scripts/extract.py --engine openvino": (
        "tests/features/test_engines.py::test_features_are_near_those_of_pytorch_and_the_manifest_says_how_near"
    ),
    "scripts/train_dcrgan.py --allow-incomplete": f"{FAULTS}test_training_refuses_an_incomplete_table_unless_told",
    "scripts/compare.py RUN_A RUN_B": COMPARED,
    "scripts/extract.py --backbone efficientnet_lite0": EXTRACTED,
    "scripts/study.py --backbones efficientnet_lite0 efficientnet_lite1 --methods eszsl dcrgan+ --seeds 0 1 2": STUDY,
    "scripts/train_dcrgan.py --method my_method.py:METHOD --seeds 0 1 2": (
        f"{OWN}test_scripts_take_it_and_give_each_of_its_fields_a_flag"
    ),
    "scripts/choose.py --method my_method.py:METHOD": f"{OWN}test_scripts_take_it_and_give_each_of_its_fields_a_flag",
    "scripts/table.py --methods eszsl dcrgan+ my_method.py:METHOD": f"{OWN}test_it_stands_in_a_table_beside_a_baseline",
    "scripts/study.py --backbones efficientnet_lite0 efficientnet_lite1 --methods my_method.py:METHOD": STUDY,
    "scripts/sweep.py --methods my_method.py:METHOD --field ridge --values 0.01 0.1 1": (
        f"{OWN}test_a_field_of_its_configuration_is_swept"
    ),
    "scripts/compare.py runs/shapes-table/nearest-mean runs/shapes-table/dcrgan+": COMPARED,
    "scripts/runs.py": LISTED,
    "scripts/runs.py --runs elsewhere --json": LISTED,
    "scripts/train_dcrgan.py --log-with tensorboard --name watched": f"{TRACKED}test_kills_repeat_no_step",
    "scripts/train_dcrgan.py --log-with wandb --name watched": (
        f"{TRACKED}test_wandb_is_offline_unless_the_user_says_otherwise"
    ),
    "scripts/train_dcrgan.py --class-vectors vectors.npy --name shapes-vectors": VECTORS,
    "scripts/train_dcrgan.py --class-vectors vectors.npy --class-vectors-beside --name shapes-both": VECTORS,
    "examples/train_and_score.py": f"{EXAMPLE}test_six_lines_give_the_scores_of_a_run",
    "examples/own_loss.py": f"{EXAMPLE}test_the_loss_of_ones_own_is_that_of_its_docstring_and_learns",
    "examples/own_benchmark.py": f"{EXAMPLE}test_a_benchmark_of_ones_own_goes_from_drawn_photos_to_scores",
    "examples/predict.py --run runs/quickstart --photos data/shapes/raw/images": (
        f"{EXAMPLE}test_a_photo_gets_the_answer_of_its_run"
    ),
    "examples/compare.py --methods eszsl sae": (f"{EXAMPLE}test_two_methods_are_compared_by_the_scores_of_their_runs"),
}


def code_of(page: Path) -> Iterator[str]:
    """The lines of code of a page: those of blocks, fenced or indented, and code within the text."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from "".join(fenced).splitlines()
    yield from re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text))


def command_of(line: str) -> str | None:
    """The script and its words, without the launcher before them and what the shell does; None: the line has none."""
    found = SCRIPT.search(line)
    if found is None or re.match(r"cp |cat |\w+\.py:", line) or "…" in line:
        return None
    words = shlex.split(line[found.start() :].split(" > ")[0].split(" & ")[0], comments=True)
    is_named_only = len(words) == 1 and line.strip() == words[0]  # `scripts/choose.py` in the text
    return None if is_named_only or "|" in words[-1] else shlex.join(words)


COMMANDS = sorted({command for page in PAGES for line in code_of(page) if (command := command_of(line))})


def need(command: str) -> str | None:
    """What the command needs before it can run; None: it runs on `shapes`."""
    return next((what for words, what in NEEDS.items() if re.search(rf"(?<![a-z])(?:{words})(?![a-z])", command)), None)


def test_commands_are_found_in_blocks_in_text_and_behind_launchers() -> None:
    assert len(COMMANDS) > 60
    assert command_of("ACCELERATE_USE_CPU=1 torchrun -n 2 scripts/extract.py --flip  # twice") == (
        "scripts/extract.py --flip"
    )
    assert command_of("scripts/extract.py") is None
    assert "scripts/doctor.py --benchmark cub --images CUB_200_2011 --splits xlsa17/data/CUB" in COMMANDS  # in the text
    assert "scripts/study.py --backbones resnet50@mine.safetensors --methods eszsl" in COMMANDS  # an indented block
    assert "scripts/extract.py --benchmark cub --on-error quarantine" in COMMANDS


def test_each_command_needs_data_or_is_run_by_a_test() -> None:
    on_shapes = {command for command in COMMANDS if need(command) is None}
    assert on_shapes == RUN_BY.keys()
    for test in RUN_BY.values():
        file, name = test.split("::")
        assert f"def {name}(" in (ROOT / file).read_text()


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Start the command's script in this process as far as its `main`, which is left out."""
    run_script, cli = zsl.cli.run_script, tyro.cli

    def without_main(main: Any, *args: Any, **more: Any) -> None:
        run_script(lambda given: None, *args, **more)

    def parse_only(main: Any, **more: Any) -> Any:
        return cli(main if isinstance(main, type) else functools.wraps(main)(lambda **given: None), **more)

    def parse(command: str) -> None:
        script, *words = shlex.split(command)
        monkeypatch.setattr(sys, "argv", [script, *words])
        runpy.run_path(str(ROOT / script), run_name="__main__")

    monkeypatch.setattr(zsl.cli, "run_script", without_main)
    monkeypatch.setattr(tyro, "cli", parse_only)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "templates" / "own-method" / "nearest_mean.py", tmp_path / "my_method.py")
    return parse


@pytest.mark.parametrize("command", COMMANDS)
def test_the_script_takes_the_flags(command: str, parse: Callable[[str], None]) -> None:
    parse(command)


def test_a_flag_that_is_not_there_is_found(parse: Callable[[str], None]) -> None:
    for command in ("scripts/extract.py --no-such", "scripts/train_dcrgan.py --config.no 1", "examples/compare.py --x"):
        with pytest.raises(SystemExit):
            parse(command)
