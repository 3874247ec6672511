"""The processes of one launch: they see what the first one sees, have a folder for themselves, and end in order."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from zsl.cli import run_script
from zsl.common.launch import leave_launch, of_first_process, sole_launch
from zsl.common.locks import FolderInUse, sole_process

RANKS = """
import sys
from pathlib import Path
from accelerate import Accelerator
from zsl.common.launch import of_first_process, sole_launch
from zsl.common.locks import FolderInUse
accelerator = Accelerator(cpu=True)
rank, out = accelerator.process_index, Path(sys.argv[2])
seen = of_first_process({"rank": rank}, accelerator)
try:
    with sole_launch(Path(sys.argv[1]), accelerator):
        taken = "taken"
except FolderInUse as error:
    taken = str(error)
with sole_launch(out / "free", accelerator):
    accelerator.wait_for_everyone()
(out / f"{rank}.txt").write_text(f"{seen} {taken}")
accelerator.end_training()
"""
HOLD = """
import sys
from pathlib import Path
from zsl.common.locks import sole_process
with sole_process(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


def test_all_processes_see_what_the_first_sees_and_are_refused_as_one(tmp_path: Path) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with sole_process(tmp_path / "held"):
        subprocess.run([*launch, str(script), str(tmp_path / "held"), str(tmp_path)], check=True, capture_output=True)
    first, second = ((tmp_path / f"{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    assert first.startswith("{'rank': 0} another process is at work in ")


def test_one_process_has_its_own_facts_and_the_same_refusal(accelerator: Accelerator, tmp_path: Path) -> None:
    assert of_first_process("fact", accelerator) == "fact"
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(FolderInUse), sole_launch(tmp_path, accelerator):
            pass
        other.kill()
    with sole_launch(tmp_path, accelerator), sole_launch(tmp_path, accelerator):
        pass


@dataclass(frozen=True)
class NoArgs:
    """No flags."""


def test_a_script_leaves_its_launch_wherever_its_work_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that a process is aborted at its end now and then, and the launcher reports a failure."""

    def work(_: NoArgs) -> None:
        torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)

    monkeypatch.setattr(sys, "argv", ["script"])
    run_script(work, NoArgs)
    assert not torch.distributed.is_initialized()
    leave_launch()  # which does nothing then
