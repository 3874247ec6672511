"""What a stage leaves behind while it runs: its loss terms, and its state, from which a killed run goes on."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from zsl.common.files import atomic_path, read_json_lines, write_text
from zsl.common.progress import progress_bar
from zsl.training.log import Log

CHECKPOINTS_FOLDER = "checkpoints"
PATIENCE = 20  # at least this many times as long as saving took passes until the next save


class StepsBehind(ValueError):
    """A checkpoint is past the step that is asked for."""


class Journal(Log):
    """A Log that appends JSON lines to a file, and checkpoints each stage beside it, atomically.

    A checkpoint holds modules, optimizers and torch's random state after a number of steps, so that the run that goes
    on from it ends, on the same machine, at the same bits as one that was never killed.  When checkpoints are written
    has no part in the result.  A finished stage leaves its last one: a restart passes over it.

    `run` names all that the run depends on; checkpoints of another are refused.
    """

    def __init__(self, path: Path, run: str = "", *, seconds: float = 10.0) -> None:
        """Lines go to `path`; `seconds` pass at least between two checkpoints of a stage."""
        self.path, self.run, self.seconds = path, run, seconds
        self.folder = path.parent / CHECKPOINTS_FOLDER

    def __call__(self, stage: str, step: int, terms: dict[str, float]) -> None:
        """Append one line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as stream:
            stream.write(json.dumps({"stage": stage, "step": step} | terms) + "\n")

    def steps(
        self, stage: str, count: int, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
    ) -> Iterator[int]:
        """The steps of `stage` that are left, after its modules and optimizers were put where it stopped."""
        path = self.folder / f"{stage.replace(' ', '-')}.safetensors"
        start = self._load(path, count, modules, optimizers) if path.is_file() else 0
        self._forget(stage, start)
        due = time.monotonic() + self.seconds
        for step in progress_bar(range(start, count), total=count, initial=start, what=stage, unit=" steps"):
            yield step
            if step + 1 == count or time.monotonic() >= due:
                began = time.monotonic()
                self._save(path, step + 1, modules, optimizers)
                due = time.monotonic() + max(self.seconds, PATIENCE * (time.monotonic() - began))

    def entries(self) -> list[dict[str, Any]]:
        """All lines."""
        return read_json_lines(self.path) if self.path.is_file() else []

    def clear(self) -> None:
        """Remove all checkpoints: the run has ended well."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def _forget(self, stage: str, start: int) -> None:
        """Drop the lines of this stage's steps that will be taken again, and one that was cut short."""
        if not self.path.is_file():
            return
        kept = [e for e in self.entries() if e["stage"] != stage or e["step"] < start]
        write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in kept))

    def _save(
        self, path: Path, step: int, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
    ) -> None:
        tensors = {"random/cpu": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        for name, module in modules.items():
            tensors |= {f"module/{name}/{key}": value for key, value in module.state_dict().items()}
        for name, optimizer in optimizers.items():
            for number, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{name}/{number}/{key}": value for key, value in state.items()}
        # Clones, for tensors that share memory are refused; contiguous, for the file keeps no strides.
        whole = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        with atomic_path(path) as temporary:
            save_file(whole, temporary, metadata={"step": str(step), "run": self.run})

    def _load(
        self, path: Path, count: int, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
    ) -> int:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata()
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  no mapping
        step = int(facts["step"])
        if facts["run"] == self.run and step > count:
            raise StepsBehind(f"{path} has {step} steps behind it, asked for are {count}")
        if facts["run"] != self.run:
            raise ValueError(
                f"{path} is of another run (other configuration, features or seed); delete {self.folder}, or give this "
                "run another --name"
            )
        for name, module in modules.items():
            module.load_state_dict(_below(tensors, f"module/{name}/"))
        for name, optimizer in optimizers.items():
            states: dict[int, dict[str, Any]] = {}
            for key, value in _below(tensors, f"optimizer/{name}/").items():
                number, _, item = key.partition("/")
                states.setdefault(int(number), {})[item] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": states, "param_groups": groups})
        torch.set_rng_state(tensors["random/cpu"])
        if "random/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random/cuda"])
        return step


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
