"""The scalars of `metrics.jsonl` in TensorBoard or Weights & Biases, by Accelerate's trackers, to watch a run.

A tracker is off by default, and no score depends on it.  Each seed has its own, and each tuning of a fine-tuning.  A
start after a kill begins the tracker's files anew with all steps that the run still holds, so that none is there twice.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

LogWith = Literal["tensorboard", "wandb"]
PROJECT = "zsl-dcrgan"
TENSORBOARD_FOLDER = "tensorboard"


def check_tracker(log_with: LogWith | None) -> None:
    """Check that the package of the tracker is installed.

    Raises:
        ValueError: it is not.
    """
    if log_with is not None and find_spec(log_with) is None:
        raise ValueError(
            f"--log-with {log_with} needs the package {log_with}, which is not installed; pip install "
            f"'{PROJECT}[{log_with}]', or leave the flag out: metrics.jsonl has the same numbers"
        )


class Tracker:
    """Passes loss terms on to one of Accelerate's trackers; without one it does nothing."""

    def __init__(self, tracker: GeneralTracker | None = None) -> None:
        self.tracker = tracker
        self._sent: set[tuple[str, int]] = set()

    def __call__(self, stage: str, step: int, terms: Mapping[str, float]) -> None:
        """Pass on the terms of one step of a stage, unless they were passed on before."""
        if self.tracker is None or (stage, step) in self._sent:
            return
        if self.tracker.name == "wandb" and not any(stage == sent for sent, _ in self._sent):
            # The steps of each stage begin at 0, and those of W&B's own count may only rise.
            self.tracker.tracker.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self._sent.add((stage, step))
        values: dict[str, Any] = {f"{stage}/{name}": value for name, value in terms.items()}
        if self.tracker.name == "wandb":
            self.tracker.log(values | {f"{stage}/step": step})
        else:
            self.tracker.log(values, step=step)


@contextmanager
def open_tracker(log_with: LogWith | None, folder: Path, name: str) -> Iterator[Tracker]:
    """Yield the Tracker of one training of the run in `folder`; it is closed after the block, or after an error.

    name: of the training, such as `seed-0`.
    """
    if log_with is None:
        yield Tracker()
        return
    from accelerate import PartialState

    PartialState(cpu=True)  # Accelerate's trackers need it; where an Accelerator was made, it is that one's state
    tracker = _tensorboard(folder, name) if log_with == "tensorboard" else _wandb(folder, name)
    if hasattr(tracker, "start"):  # older versions of Accelerate start it at once
        tracker.start()
    try:
        yield Tracker(tracker)
    finally:
        tracker.finish()


def _tensorboard(folder: Path, name: str) -> GeneralTracker:
    from accelerate.tracking import TensorBoardTracker

    class TensorBoard(TensorBoardTracker):
        main_process_only = False  # the processes share the seeds, and each seed has its own files

    place = folder / TENSORBOARD_FOLDER
    shutil.rmtree(place / name, ignore_errors=True)  # of a start that was killed
    return TensorBoard(name, place)


def _wandb(folder: Path, name: str) -> GeneralTracker:
    """A run of W&B in the folder of ours; nothing leaves this machine unless the user's WANDB_MODE says so."""
    from accelerate.tracking import WandBTracker

    mode = os.environ.get("WANDB_MODE") or "offline"  # a variable that is set and empty says nothing
    return WandBTracker(PROJECT, dir=str(folder), name=f"{folder.name}/{name}", group=folder.name, mode=mode)
