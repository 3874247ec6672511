"""The memory and the cores of a container or of a cluster's job, from the control groups of Linux (cgroups 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # lines of NUMBER:CONTROLLERS:PATH; version 2 has no controllers
FILES = {  # limit, use, and the part of the use that the system gives back, by the version
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


@dataclass(frozen=True, kw_only=True)
class MemoryLimit:
    """The limit of one control group, in bytes."""

    limit: int
    used: int  # by all of its processes, less the pages of files that the system gives back

    @property
    def free(self) -> int:
        """Bytes that its processes can still take."""
        return max(0, self.limit - self.used)


def memory_limits() -> list[MemoryLimit]:
    """The limits of this process's control group and of those around it; none where the system has no such groups."""
    found = []
    for version, folder in _groups("memory"):
        limit_file, use_file, reclaimable = FILES[version]
        with suppress(OSError, ValueError):  # "max" is no number, and the outermost group has no such file
            limit = int((folder / limit_file).read_text())
            given_back = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            used = int((folder / use_file).read_text()) - int(given_back.get(reclaimable, 0))
            found.append(MemoryLimit(limit=limit, used=used))
    return found


def core_limits() -> list[float]:
    """The cores that this process's control group and those around it may use, as shares of the time; none: no limit.

    Three cores for half of the time are 1.5.
    """
    found = []
    for version, folder in _groups("cpu"):
        with suppress(OSError, ValueError):  # "max" is no number, and the outermost group has no such file
            if version == 2:
                quota, period = (int(word) for word in (folder / "cpu.max").read_text().split())
            else:
                quota, period = (int((folder / f"cpu.cfs_{word}_us").read_text()) for word in ("quota", "period"))
            if quota > 0 and period > 0:  # -1 is no limit in version 1
                found.append(quota / period)
    return found


def _groups(controller: str) -> Iterator[tuple[int, Path]]:
    """The version and folder of this process's groups that a controller limits, from the innermost to the outermost."""
    try:
        lines = OWN.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base, version = (_mounted(controller, controllers), 1) if controllers else (ROOT, 2)
        inner = base / path.lstrip("/")
        if ".." in inner.parts or not inner.is_dir():  # within a container, the path may be that of the machine
            inner = base
        for folder in (inner, *inner.parents):
            yield version, folder
            if folder == base:
                break


def _mounted(controller: str, controllers: str) -> Path:
    """The folder of a controller of version 1, by its own name or by those of all controllers that share it."""
    own = ROOT / controller
    return own if own.is_dir() else ROOT / controllers
