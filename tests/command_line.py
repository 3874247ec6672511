"""Scripts as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
LAUNCHER = ("ACCELERATE_", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_", "ZSL_")


def run(script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a plain shell: one CPU process, no launcher."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHER)}
    return subprocess.run(
        [sys.executable, str(SCRIPTS / script), *map(str, words)],
        env=environment | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
    )


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
