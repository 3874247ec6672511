"""What a command line imports: its help, a mistyped flag and a training from features need no image library."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

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


def test_training_from_features_imports_nothing_heavy(tiny_features: Path, tmp_path: Path) -> None:
    words = ("--data", tiny_features.parents[2], "--runs", tmp_path, "--seeds", "0", "--gamma", "0")
    fields = {"gan.hidden-dim": 32, "classifiers.epochs": 1, "classifiers.least-steps": 1}
    fields |= {"metric.steps": 2, "srn.steps": 2, "gan.steps": 2}
    short = [word for field, value in fields.items() for word in (f"--config.{field}", str(value))]
    (eszsl_code, eszsl_modules), (dcrgan_code, dcrgan_modules) = probe(
        ("train_dcrgan.py", *words, "--backbone", tiny_features.name, "--method", "eszsl"),
        ("train_dcrgan.py", *words, "--features", tiny_features, *short),
    )
    assert (eszsl_code, dcrgan_code) == (0, 0)
    assert {path.parent.name for path in tmp_path.glob("*/results.json")} == {"shapes", "shapes-eszsl"}
    assert not eszsl_modules & {*HEAVY, "torch._dynamo"}
    assert not dcrgan_modules & set(HEAVY)  # torch's own optimizers import torch._dynamo


def test_each_flag_of_training_has_a_help_text() -> None:
    """The class of its arguments is made when the method is known; comments beside fields are lost then."""
    process = subprocess.run(
        [sys.executable, SCRIPTS / "train_dcrgan.py", "--help"], capture_output=True, text=True,
        env=os.environ | {"COLUMNS": "80"},
    )  # fmt: skip
    text = re.sub(r"[│╭╮╰╯─]", "", process.stdout)
    own = text[text.index("show this help") : text.index("config options")]
    flags = re.split(r"\n (?=--)", own)[1:]
    assert len(flags) >= 15
    for flag in flags:
        head, _, told = flag.partition("\n")
        assert len(re.sub(r"\(default:.*", "", told, flags=re.DOTALL).split()) >= 4, head
