"""What a command line imports: its help, a mistyped flag and a training from features need no image library."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_line import LAUNCHER, SCRIPTS

HEAVY = ("timm", "torchvision", "matplotlib", "sklearn", "jinja2", "imagehash")
EVERY_SCRIPT = sorted(path.name for path in SCRIPTS.glob("*.py"))

# Runs scripts one after the other in one process, as `python SCRIPT WORDS` does, and prints a JSON line for each: exit
# code and all modules so far.
PROBE = """
import contextlib, io, json, runpy, sys
for words in json.loads(sys.argv[1]):
    sys.argv, code = words, 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            runpy.run_path(words[0], run_name="__main__")
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, sorted(sys.modules)]))
"""


def probe(*commands: Sequence[str | Path]) -> list[tuple[int | str | None, set[str]]]:
    """Exit code of each command, and the modules that it and those before it imported, in one fresh process."""
    lines = [[str(SCRIPTS / script), *map(str, words)] for script, *words in commands]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHER)}
    process = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(lines)],
        env=environment | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return [(code, set(modules)) for code, modules in map(json.loads, process.stdout.splitlines())]


def test_help_and_a_mistyped_flag_import_nothing_heavy() -> None:
    commands = [(script, word) for script in EVERY_SCRIPT for word in ("--help", "--no-such-flag")]
    results = probe(*commands)
    assert len(results) == len(commands) >= 2 * 14
    for command, (code, modules) in zip(commands, results, strict=True):
        assert code == (0 if command[1] == "--help" else 2), command
        assert not modules & {*HEAVY, "torch._dynamo"}, f"after {' '.join(command)}"
    assert "torch" in results[-1][1]  # the list of modules is that of the process in which the scripts ran


@pytest.mark.parametrize("backbone", [True, False])
def test_training_from_features_imports_nothing_heavy(backbone: bool, tiny_features: Path, tmp_path: Path) -> None:
    data = tiny_features.parents[2]
    source = ("--backbone", tiny_features.name) if backbone else ("--features", tiny_features)
    words = ("--data", data, *source, "--runs", tmp_path, "--seeds", "0")
    short = [word for stage in ("metric", "srn", "gan") for word in (f"--config.{stage}.steps", "2")]
    (code, modules), (dcrgan_code, dcrgan_modules) = probe(
        ("train_dcrgan.py", *words, "--method", "eszsl"), ("train_dcrgan.py", *words, *short)
    )
    assert (code, dcrgan_code) == (0, 0)
    assert {path.parent.name for path in tmp_path.glob("*/results.json")} == {"shapes", "shapes-eszsl"}
    assert not modules & {*HEAVY, "torch._dynamo"}
    assert not dcrgan_modules & set(HEAVY)  # torch's own optimizers import torch._dynamo
