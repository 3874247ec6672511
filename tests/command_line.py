"""Scripts as a user starts them."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
LAUNCHER = ("ACCELERATE_", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_", "ZSL_")

# Each script runs in a child of this process, which has the libraries imported: that saves seconds a script.  What a
# script imports for itself is for tests/scripts/test_startup.py, which starts Python anew.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["accelerate", "scipy.stats", "timm", "torch", "tyro", "webdataset"])
PLAIN = {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def run(script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a plain shell: one CPU process, no launcher."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHER)} | PLAIN
    with pytest.MonkeyPatch.context() as patch:  # libraries read some of it when they are imported
        for key in os.environ.keys() - environment.keys():
            patch.delenv(key)
        for key, value in PLAIN.items():
            patch.setenv(key, value)
        forkserver.ensure_running()
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder, "stdout"), Path(folder, "stderr")
        command = [str(SCRIPTS / script), *map(str, words)]
        process = SERVER.Process(target=_main, args=(command, environment, outputs))
        process.start()
        process.join()
        stdout, stderr = (output.read_text() for output in outputs)
    assert process.exitcode is not None
    return subprocess.CompletedProcess(command, process.exitcode, stdout, stderr)


def _main(command: list[str], environment: dict[str, str], outputs: tuple[Path, Path]) -> None:
    """What a process does that `python SCRIPT WORDS` started."""
    for number, output in enumerate(outputs, start=1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.path[0:0] = command, [str(SCRIPTS)]
    runpy.run_path(command[0], run_name="__main__")


def load_script(name: str) -> ModuleType:
    """A script as a module, for a test that calls its parts in this process."""
    spec = spec_from_file_location(Path(name).stem, SCRIPTS / name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where tyro and dataclasses look for it
    spec.loader.exec_module(module)
    return module


def assert_refused(process: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 1 and one line that holds `words`, without a traceback."""
    assert process.returncode == 1, process.stderr
    lines = process.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert "Traceback" not in process.stderr
    for word in words:
        assert word in lines[-1]
