"""The memory and the cores of a container or a job, in folders like those of Linux."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from zsl.common import control_groups
from zsl.common.compute import available_cores, whole_memory
from zsl.common.control_groups import MemoryLimit, core_limits, memory_limits
from zsl.common.room import free_memory, make_room

GIB = 2**30
UNLIMITED_V1 = 9223372036854771712


def group(folder: Path, version: int, limit: object, used: int, inactive: int = 0) -> None:
    """A control group as the system shows it."""
    limit_file, use_file, reclaimable = control_groups.FILES[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limit_file).write_text(f"{limit}\n")
    (folder / use_file).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{reclaimable} {inactive}\n")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(control_groups, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "own")
    return tmp_path / "own"


def test_a_job_of_version_2_has_the_limits_of_all_groups_around_it(own: Path, tmp_path: Path) -> None:
    own.write_text("0::/slurm/job_7/step_0\n")
    root = tmp_path / "cgroup"
    root.mkdir()  # the outermost group has no limit
    group(root / "slurm", 2, "max", 9 * GIB)
    group(root / "slurm/job_7", 2, 4 * GIB, 3 * GIB, inactive=2 * GIB)
    group(root / "slurm/job_7/step_0", 2, 6 * GIB, GIB)
    assert memory_limits() == [MemoryLimit(limit=6 * GIB, used=GIB), MemoryLimit(limit=4 * GIB, used=GIB)]
    assert [each.free for each in memory_limits()] == [5 * GIB, 3 * GIB]


def test_a_container_of_version_1_whose_path_is_that_of_the_machine_has_the_outer_limit(
    own: Path, tmp_path: Path
) -> None:
    own.write_text("5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n0::/docker/ab\n")
    group(tmp_path / "cgroup/memory", 1, 2 * GIB, GIB)
    assert memory_limits() == [MemoryLimit(limit=2 * GIB, used=GIB)]
    group(tmp_path / "cgroup/memory/docker/ab", 1, UNLIMITED_V1, GIB)
    assert [each.limit for each in memory_limits()] == [UNLIMITED_V1, 2 * GIB]


def test_no_groups_are_no_limit(own: Path) -> None:
    assert memory_limits() == core_limits() == []  # another system
    own.write_text("0::/../..\n")
    assert memory_limits() == core_limits() == []


def test_threads_are_at_most_the_cores_that_the_quotas_of_version_2_allow(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert available_cores() == 64
    own.write_text("0::/kubepods/pod_1/box_2\n")
    box = tmp_path / "cgroup/kubepods/pod_1/box_2"
    box.mkdir(parents=True)
    (box.parent.parent / "cpu.max").write_text("6000000 100000\n")
    (box.parent / "cpu.max").write_text("250000 100000\n")
    (box / "cpu.max").write_text("max 100000\n")
    assert core_limits() == [2.5, 60.0]
    assert available_cores() == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {7})
    assert available_cores() == 1
    (box / "cpu.max").write_text("10000 100000\n")  # a tenth of a core is still one thread
    assert available_cores() == 1


def test_threads_are_at_most_the_cores_that_the_quota_of_version_1_allows(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    own.write_text("5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n0::/docker/ab\n")
    cpu = tmp_path / "cgroup/cpu"
    cpu.mkdir(parents=True)
    (cpu / "cpu.cfs_period_us").write_text("100000\n")
    (cpu / "cpu.cfs_quota_us").write_text("-1\n")
    assert available_cores() == 64
    (cpu / "cpu.cfs_quota_us").write_text("400000\n")
    assert available_cores() == 4
    cpu.rename(cpu.with_name("cpu,cpuacct"))  # a container without the link to it
    assert available_cores() == 4


def test_a_table_that_fits_the_machine_and_not_the_container_lies_in_a_file(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.write_text("0::/\n")
    machine = whole_memory()
    group(tmp_path / "cgroup", 2, 2**20, 2**19)
    assert whole_memory() == 2**20 < machine
    assert free_memory() == 2**19
    made: list[int] = []

    def reserve(file: IO[bytes], size: int) -> None:
        made.append(size)
        file.truncate(size)

    monkeypatch.setattr("zsl.common.room.reserve", reserve)
    assert make_room(2**16, 2).shape == (2**16, 2)  # half a MiB, which is all that is left
    assert made == [2**19]
