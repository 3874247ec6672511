"""Check that `kill -9` at random moments changes no bit of a training run: kill it, start it again, compare.

    python benchmarks/kills_training.py --json kills_training.json     # 20 kills over six runs; CPU, Linux
    python benchmarks/kills_training.py --kills 3 --runs dcrgan

Each run is scripts/train_dcrgan.py on a tiny drawn benchmark: all stages of DCR-GAN, f-CLSWGAN with its classifier, a
baseline with its own loop, two seeds at once in two processes, and the published protocol with its tests of several
epochs.  The script kills a run when a random number of log lines, checkpoints and such tests has appeared since the
start, and then gives the same command again.  Here, stages write a checkpoint after every step and not only every ten
seconds, so that most kills leave a checkpoint of an unfinished stage.

At the end, the script compares results.json, and every other file without times, byte for byte with the files of a run
without kills.  A kill counts if it ended the process.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from kills import check_finished, cores_for, started, wait_for
from safetensors.torch import save_file

from backbones import load_backbone
from zsl.cli import run_script
from zsl.common.compute import make_accelerator
from zsl.common.files import write_json
from zsl.common.ranges import Whole
from zsl.datasets.pack import make_shards
from zsl.datasets.places import features_folder, shards_folder
from zsl.datasets.shapes import ShapesConfig, write_shapes
from zsl.features.extract import extract_features

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "train_dcrgan.py"
PHOTOS = ShapesConfig(seen_classes=6, unseen_classes=3, images_per_class=8, image_size=64)
STEPS = {
    "metric.steps": 15, "srn.steps": 15, "gan.steps": 12, "gan.hidden-dim": 16, "regressors.hidden-dim": 8,
    "regressors.pretrain-epochs": 1, "regressors.batch-size": 8, "classifiers.epochs": 3,
    "classifiers.images-per-unseen-class": 5,
}  # fmt: skip
CONFIG = [word for key, value in STEPS.items() for word in (f"--config.{key}", str(value))]
RUNS = {  # the first run also trains on calibration folds
    "dcrgan": [*CONFIG, "--seeds", "0", "1", "--method", "dcrgan"],
    "dcrgan+": [*CONFIG, "--seeds", "0", "--gamma", "0"],
    "f-CLSWGAN": [*CONFIG, "--seeds", "0", "--method", "f-CLSWGAN", "--gamma", "0"],
    "devise": ["--seeds", "0", "--method", "devise", "--gamma", "0"],
    "at-once": [*CONFIG, "--seeds", "0", "1", "--method", "dcrgan", "--gamma", "0", "--workers", "2"],
    "published": [
        *CONFIG,
        *["--seeds", "0", "--method", "dcrgan", "--protocol", "published", "--every", "5", "--gamma", "0"],
    ],
}
TIMED = ("starts.jsonl", "progress.jsonl", "test_access.jsonl")  # files that hold times
KILLS_A_RUN = 6  # after so many kills a run may finish, so that every run gets some kills
EVENTS = 60  # most log lines, checkpoints and looks at test rows before a kill
# The program of the processes: the script, with a checkpoint after every step.
START = """
import runpy, sys, zsl.training.journal
zsl.training.journal.PATIENCE = 0
zsl.training.journal.Journal.__init__.__kwdefaults__["seconds"] = 0.0
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Kill training, start it again, compare the results."""

    kills: Whole = 20
    runs: tuple[str, ...] = tuple(RUNS)  # runs to kill, in turn
    seed: Whole = 0
    json: Path | None = None


def make_table(data: Path) -> Path:
    """Make a tiny feature table below `data`."""
    write_shapes(data / "shapes" / "raw", PHOTOS)
    index, _ = make_shards("shapes", data)
    weights = data / "weights.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), weights)
    backbone = load_backbone("test_vit", weights)
    out = features_folder(data, "shapes", backbone.name)
    extract_features(backbone, shards_folder(data, "shapes"), index, out, make_accelerator("no"))
    return out


class Progress:
    """A counter of a run's signs of progress: new or replaced files, and longer logs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.events = folder, 0
        self.there = self._look()

    def reached(self, events: int) -> bool:
        """Whether the run has shown so many signs since this counter was made."""
        now = self._look()
        self.events += len(now - self.there)
        self.there |= now
        return self.events >= events

    def _look(self) -> set[tuple[Path, int, int]]:
        states = set()
        for folder, _, names in os.walk(self.folder):  # `os.walk` skips folders that disappear meanwhile
            for path in (Path(folder, name) for name in names):
                try:
                    status = path.stat()
                except FileNotFoundError:  # the run has renamed a temporary file or removed a checkpoint
                    continue
                if path.suffix != ".tmp" and path.name not in TIMED:
                    states.add((path, status.st_ino, status.st_size))
        return states


def whole_files(folder: Path) -> dict[str, bytes]:
    """The content of a run's files, without files that hold times."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in TIMED]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def kill_and_restart(command: list[str], folder: Path, kills: int, draw: random.Random) -> list[str]:
    """Finish one run through at most `kills` kills, and return what the run was doing at each kill.

    There are fewer kills if the run ends before the next one.
    """
    log, moments = folder.with_suffix(".log"), []
    while True:
        progress = Progress(folder)
        with started(command, log, cores_for(1)) as process:
            if len(moments) < kills:
                events = draw.randint(1, EVENTS)
                if wait_for(lambda p=progress, e=events: p.reached(e), process):  # type: ignore[misc]
                    process.kill()
                    if process.wait() == -signal.SIGKILL:
                        moments.append(moment(folder))
                        print(f"{folder.name}: killed, {moments[-1]}", flush=True)
                        continue
            check_finished(process, log)
            return moments


def moment(folder: Path) -> str:
    """What the run has just been doing, in words."""
    checkpoints = [path for path in folder.glob("seed-*/checkpoints/*") if not path.name.startswith(".")]
    if not checkpoints:
        return "without checkpoints"
    newest = max(checkpoints, key=lambda path: path.stat().st_mtime_ns)
    return "looking at test rows" if newest.name.startswith("look") else newest.stem.replace("-", " ")


def main(args: Args) -> None:
    """Kill and compare runs, and print the counts; exit code 1 if a run differs."""
    if unknown := [name for name in args.runs if name not in RUNS]:
        raise ValueError(f"no run {unknown[0]!r}; there are {', '.join(RUNS)}")
    draw, begun = random.Random(args.seed), time.monotonic()
    moments: list[str] = []
    equal = runs = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        table = make_table(folder / "data")
        words = ["-c", START, str(SCRIPT), "--features", str(table), "--data", str(folder / "data")]
        expected: dict[str, dict[str, bytes]] = {}
        while len(moments) < args.kills and runs < 2 * args.kills:
            kind = args.runs[runs % len(args.runs)]
            command = [*words, *RUNS[kind], "--runs"]
            if kind not in expected:
                log = folder / f"undisturbed-{kind}.log"
                with started([*command, str(folder / "undisturbed"), "--name", kind], log, cores_for(1)) as process:
                    check_finished(process, log)
                expected[kind] = whole_files(folder / "undisturbed" / kind)
            name = f"{kind}-{runs}"
            left = min(KILLS_A_RUN, args.kills - len(moments))
            moments += kill_and_restart([*command, str(folder), "--name", name], folder / name, left, draw)
            equal += whole_files(folder / name) == expected[kind]
            runs += 1
    result = {
        "kills": len(moments),
        "runs": runs,
        "runs_equal": equal,
        "byte_equal": equal == runs,
        "kills_by_moment": dict(sorted(Counter(moments).items())),
        "seed": args.seed,
        "seconds": round(time.monotonic() - begun),
    }
    for key, value in result.items():
        print(f"{key.replace('_', ' '):>16}  {value}")
    if args.json:
        write_json(args.json, result)
    if not result["byte_equal"] or len(moments) < args.kills:
        sys.exit(1)


if __name__ == "__main__":
    run_script(main, Args)
