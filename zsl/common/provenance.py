"""The program behind a run: command, commit and versions, one line for each start."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from zsl.common.files import append_text

STARTS_FILE = "starts.jsonl"
PACKAGES = ("zsl-dcrgan", "torch", "timm", "accelerate", "numpy", "scipy")


def note_start(folder: Path, seeds: Sequence[int]) -> None:
    """Append a line with the seeds, time, command, commit and versions to the run's `starts.jsonl`."""
    append_text(folder / STARTS_FILE, json.dumps(describe_program() | {"seeds": list(seeds)}) + "\n")


def describe_program() -> dict[str, Any]:
    """Return time, command line, commit (None outside a git checkout) and versions of the running program."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
    }


def commit() -> str | None:
    """Return the checked-out commit of this program, with `+changes` if tracked files differ from it."""
    here = Path(__file__).resolve()
    git = ["git", "-C", str(here.parent)]
    try:
        # If this file is installed inside another checkout, git does not track it: that commit is another program's.
        listing = subprocess.run([*git, "ls-files", "--error-unmatch", here.name], capture_output=True, timeout=10)
        if listing.returncode:
            return None
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        difference = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, timeout=10).returncode
    except (OSError, subprocess.TimeoutExpired):  # no git here
        return None
    return head.stdout.strip()[:12] + ("+changes" if difference else "")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
