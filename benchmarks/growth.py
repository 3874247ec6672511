"""Measure how time and memory of each stage grow with the number of photos, shards and processes.

    python benchmarks/growth.py --json growth.json                                   # minutes; sizes up to 8,000
    python benchmarks/growth.py --sizes 200 2000 20000 200000 --seconds 7200 --work growth
    python benchmarks/growth.py --sizes 2000 --shards 10 100 1000 --ranks 1 2 4 --stages pack extract merge

The photos are drawn: 40 pixels wide, no two alike but for a copy in 500, and a class for 200 of them.  Each stage is
the command of a user in a process of its own, with the defaults of a user; `index`, `merge` and `split` have no command
of their own, so their public function runs in a process of its own.

    pack      scripts/make_shards.py
    index     `read_index`
    extract   scripts/extract.py with a tiny encoder of random weights, its merge included; ranks: torchrun, gloo
    merge     `merge_parts`, of the parts of the table
    audit     scripts/audit.py
    split     `read_features`, `load_splits`, `split_features`
    train     scripts/train_dcrgan.py --method eszsl, its γ, and the scores of all test photos
    report    scripts/report.py, with the audit that is there

Seconds are those of the wall, and of all cores (`cpu`), which depend less on what else runs.  Memory is the peak of the
process or of its largest child.  Each process takes seconds to start, whatever N is.  So the exponent of time is that
of what comes on top of the smallest size: the slope of log(t - t0) over log(N - N0), by least squares.  The exponent
of memory is that of the peak itself, and `a photo` says by how much it rises at the end.  A point that --work has is
not measured again, so the same command continues after a kill.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image

from zsl.cli import run_script
from zsl.common.compute import available_cores
from zsl.common.files import append_text, read_json_lines, write_json, write_text
from zsl.common.ranges import Count, Positive

if TYPE_CHECKING:
    from zsl.features.parts import Parts  # the import takes seconds

Stage = Literal["pack", "index", "extract", "merge", "audit", "split", "train", "report"]
NAME, ENCODER, RUN = "drawn", "test_resnet", "growth"
NEEDS: dict[Stage, tuple[Stage, ...]] = {  # whose files a stage reads
    "index": ("pack",), "extract": ("pack",), "merge": ("extract",), "audit": ("extract",), "split": ("extract",),
    "train": ("extract",), "report": ("audit", "train"),
}  # fmt: skip
OUTPUTS: dict[Stage, tuple[str, ...]] = {  # of a stage, below --data; a stage that finds them has less to do
    "pack": (f"{NAME}/shards", f"{NAME}/splits"), "extract": (f"{NAME}/features",), "merge": ("merge",),
    "audit": (f"{NAME}/audit",), "train": ("runs",),
    "report": (f"runs/{RUN}/report.html", f"runs/{RUN}/figures"),
}  # fmt: skip
# A small process starts the command, because the peak memory of a process begins at that of the one that starts it.
START = """
import json, os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(os.environ["GROWTH_USAGE"], "w") as file:
    json.dump([usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024], file)
sys.exit(os.waitstatus_to_exitcode(status))
"""
ROOT = Path(__file__).resolve().parents[1]
PIXELS, CELLS, PER_CLASS, COPIES, ATTRIBUTES = 40, 9, 200, 500, 32
UNSEEN = 5  # each fifth class


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure the growth of all stages on this machine."""

    sizes: tuple[Count, ...] = (200, 1000, 2000, 4000, 8000)  # photos; time is counted from that of the smallest on
    shards: tuple[Count, ...] = ()  # numbers of shards; default: shards of 256 photos
    ranks: tuple[Count, ...] = (1,)  # processes of the extraction
    stages: tuple[Stage, ...] = get_args(Stage)  # those whose files they read are measured, too
    image_size: Count = 32  # side in pixels of what the encoder sees
    seconds: Positive = 3600.0  # no point begins after so long
    paper: Count = 14_000_000  # number of photos to which the table is continued
    work: Path | None = None  # folder for photos and results, which stays; default: a temporary one
    json: Path | None = None  # also write all figures to this file
    job: str | None = None  # task of a process that this script starts; not for users


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one stage took for so many photos."""

    stage: str
    photos: int
    shards: int | None  # None: shards of 256 photos
    ranks: int
    seconds: float
    cpu: float
    memory: int  # bytes
    image_size: int = 32

    @property
    def key(self) -> tuple[object, ...]:
        """What was measured."""
        return self.stage, self.photos, self.shards, self.ranks, self.image_size


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How a stage grows with the number of photos."""

    stage: str
    shards: int | None
    ranks: int
    sizes: list[int]
    seconds: list[float]
    memory: list[int]
    time_exponent: float
    cpu_exponent: float
    memory_exponent: float
    bytes_per_photo: float
    paper_hours: float
    paper_gigabytes: float


def main(args: Args) -> None:
    """Measure all points, and print a table."""
    if args.job:
        run_job(args.job, Path(os.environ["GROWTH_DATA"]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        measure_all(args, work)
        points = [point for point in read_points(work) if point.image_size == args.image_size]
    groups = growths(points, args.paper)
    print(table(groups, args.paper))
    if args.json:
        machine = {"cores": available_cores(), "processor": processor(), "load": os.getloadavg()}
        write_json(args.json, machine | {"points": list(map(asdict, points)), "growth": list(map(asdict, groups))})


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


# --- measuring -------------------------------------------------------------------------------------------------------


def measure_all(args: Args, work: Path) -> None:
    """Measure each stage of each combination that the results in `work` lack; print and keep each figure."""
    started = time.monotonic()
    if args.shards and max(args.shards) > min(args.sizes):
        raise ValueError(f"--shards {max(args.shards)}: {min(args.sizes)} photos (--sizes) fill fewer shards")
    known = {point.key for point in read_points(work)}
    for photos, shards, ranks in product(sorted(args.sizes), args.shards or (None,), args.ranks):
        combination = Combination(photos=photos, shards=shards, ranks=ranks, image_size=args.image_size, work=work)
        missing = [
            stage for stage in with_needed(args.stages) if (stage, photos, shards, ranks, args.image_size) not in known
        ]
        if not missing:
            continue
        if time.monotonic() - started > args.seconds:
            print(f"{args.seconds:g} s are up (--seconds): {photos:,} photos and more are left out", flush=True)
            return
        draw_photos(combination.photos_folder, photos)
        for stage in missing:
            point = combination.measure(stage)
            append_text(work / "points.jsonl", json.dumps(asdict(point)) + "\n")
            print(
                f"{stage:<8}{photos:>9,} photos, {shards or 'usual'} shards, {ranks} ranks:{point.seconds:9.1f} s,"
                f"{point.cpu:9.1f} s cpu,{point.memory / 1e6:8.0f} MB",
                flush=True,
            )


def with_needed(stages: Sequence[Stage]) -> list[Stage]:
    """Return `stages` and those whose files they read, in the order of the work; all are measured."""
    wanted: set[Stage] = set()
    waiting = list(stages)
    while waiting:
        stage = waiting.pop()
        wanted.add(stage)
        waiting += NEEDS.get(stage, ())
    return [stage for stage in get_args(Stage) if stage in wanted]


def read_points(work: Path) -> list[Point]:
    path = work / "points.jsonl"
    return [Point(**entry) for entry in read_json_lines(path)] if path.is_file() else []


@dataclass(frozen=True, kw_only=True)
class Combination:
    """So many photos in so many shards, for so many processes."""

    photos: int
    shards: int | None
    ranks: int
    image_size: int
    work: Path

    @property
    def photos_folder(self) -> Path:
        """The benchmark of one's own with the drawn photos."""
        return self.work / f"{self.photos:07d}" / NAME

    @property
    def data(self) -> Path:
        """What is made of them: `--data`."""
        return self.work / f"{self.photos:07d}" / f"data-{self.shards or 'usual'}-{self.ranks}-{self.image_size}px"

    def command(self, stage: Stage) -> list[str]:
        """The words of a stage's command after `python`."""
        data, runs = ["--data", str(self.data)], str(self.data / "runs")
        backbone = ["--backbone", f"{ENCODER}-{self.image_size}px"]
        size = ["--shard-size", str(-(-self.photos // self.shards))] if self.shards else []
        several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self.ranks)]
        weights = ["--weights", str(self.work / "weights.safetensors")]
        audit = str(self.data / NAME / "audit" / "audit.json")
        table = str(table_folder(self.data)) if stage == "train" else ""  # its name has a hash of the weights
        commands = {
            "pack": ["scripts/make_shards.py", "--benchmark", str(self.photos_folder), *data, *size],
            "extract": ["scripts/extract.py", "--benchmark", NAME, *backbone, *weights, *data],
            "audit": ["scripts/audit.py", "--benchmark", NAME, *data],
            "train": ["scripts/train_dcrgan.py", "--benchmark", NAME, "--features", table, *data, "--method", "eszsl",
                      "--runs", runs, "--name", RUN],
            "report": ["scripts/report.py", f"{runs}/{RUN}", *data, "--audit-file", audit],
        }  # fmt: skip
        if stage not in commands:
            return ["benchmarks/growth.py", "--job", stage]
        return several * (stage == "extract" and self.ranks > 1) + commands[stage]

    def measure(self, stage: Stage) -> Point:
        """Run one stage from its beginning, and what it needs before, which is not measured."""
        for name in OUTPUTS.get(stage, ()):  # of a start that was killed
            path = self.data / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if stage == "extract" and not (self.work / "weights.safetensors").is_file():
            self.run(["benchmarks/growth.py", "--job", "weights"])
        if stage == "merge":
            self.run(["benchmarks/growth.py", "--job", "parts"])
        seconds, cpu, memory = self.run(self.command(stage))
        return Point(
            stage=stage, photos=self.photos, shards=self.shards, ranks=self.ranks, seconds=seconds, cpu=cpu,
            memory=memory, image_size=self.image_size,
        )  # fmt: skip

    def run(self, words: Sequence[str]) -> tuple[float, float, int]:
        """Run `python WORDS`: seconds of the wall and of all cores, and the peak bytes of its largest process.

        Raises:
            RuntimeError: the command failed; its last words follow.
        """
        environment = os.environ | {
            "GROWTH_DATA": str(self.data), "ACCELERATE_USE_CPU": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }  # fmt: skip
        with tempfile.TemporaryFile() as said, tempfile.NamedTemporaryFile() as usage:
            command = [sys.executable, "-S", "-E", "-c", START, sys.executable, *words]
            environment["GROWTH_USAGE"] = usage.name
            started = time.perf_counter()
            process = subprocess.run(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
            seconds = time.perf_counter() - started
            if process.returncode:
                said.seek(0)
                raise RuntimeError(f"{' '.join(words)} failed: {said.read()[-2000:].decode(errors='replace')}")
            cpu, memory = json.loads(usage.read())  # of the process and of all children that it waited for
        return seconds, cpu, memory


# --- photos ----------------------------------------------------------------------------------------------------------


def draw_photos(folder: Path, count: int) -> None:
    """Draw `count` photos in class folders with `attributes.csv` and `splits.csv`, unless `folder` has them.

    A photo is a random pattern, so that no two look alike, but each 500th is the one before it, saved again.
    """
    if (folder / "splits.csv").is_file():  # written last
        return
    rng = np.random.default_rng(count)
    classes = [f"class-{number:05d}" for number in range(max(10, count // PER_CLASS))]
    pattern = photo = Image.new("RGB", (PIXELS, PIXELS))
    for number in range(count):
        if number % COPIES:
            pattern = Image.fromarray(rng.integers(0, 256, (CELLS, CELLS, 3), dtype=np.uint8))
            photo = pattern.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
        buffer = BytesIO()
        photo.save(buffer, format="JPEG", quality=80 if number % COPIES else 60)
        name = classes[number * len(classes) // count]
        path = folder / "images" / name / f"{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
    strengths = rng.random((len(classes), ATTRIBUTES))
    lines = [",".join(["class", *(f"a{number}" for number in range(ATTRIBUTES))])]
    lines += [
        ",".join([name, *(f"{value:.4f}" for value in row)]) for name, row in zip(classes, strengths, strict=True)
    ]
    write_text(folder / "attributes.csv", "\n".join(lines) + "\n")
    words = [f"{name},{'seen' if number % UNSEEN else 'unseen'}" for number, name in enumerate(classes)]
    write_text(folder / "splits.csv", "\n".join(["class,split", *words]) + "\n")


# --- what has no command of its own ----------------------------------------------------------------------------------


def run_job(job: str, data: Path) -> None:
    jobs = {
        "weights": write_weights, "index": read_the_index, "parts": write_parts, "merge": merge_the_parts,
        "split": split_the_table,
    }  # fmt: skip
    jobs[job](data)


def write_weights(data: Path) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model(ENCODER, pretrained=False)
    save_file(model.state_dict(), data.parents[1] / "weights.safetensors")


def read_the_index(data: Path) -> None:
    from shards import read_index

    print(read_index(data / NAME / "shards").count)


def table_folder(data: Path) -> Path:
    return next((data / NAME / "features").glob("*/manifest.json")).parent


def _parts(data: Path) -> Parts:
    from shards import read_index
    from zsl.features.parts import Parts

    return Parts(folder=data / "merge" / "parts", index=read_index(data / NAME / "shards"), key={})


def write_parts(data: Path) -> None:
    """Divide the table into the parts of its shards again."""
    from zsl.features.parts import Part
    from zsl.features.table import read_features

    table = read_features(table_folder(data))
    with _parts(data) as parts:
        for shard in parts.claim():
            some = slice(*np.searchsorted(table.rows, [shard.first_row, shard.last_row + 1]))
            part = Part(
                rows=table.rows[some], labels=table.labels[some], features=np.array(table.features[some]),
                tuned=np.zeros(shard.count, dtype=bool),
            )  # fmt: skip
            parts.write(shard, part)


def merge_the_parts(data: Path) -> None:
    from zsl.features.manifest import read_manifest
    from zsl.features.merge import merge_parts

    manifest = read_manifest(table_folder(data) / "manifest.json")
    merge_parts(_parts(data), data / "merge", replace(manifest, arrays_sha256=None))


def split_the_table(data: Path) -> None:
    from zsl.features.load import load_splits
    from zsl.features.split import split_features
    from zsl.features.table import read_features

    table = read_features(table_folder(data))
    train, _ = split_features(table, load_splits(NAME, data, table))
    print(len(train.features))


# --- the table -------------------------------------------------------------------------------------------------------


def growths(points: Sequence[Point], paper: int) -> list[Growth]:
    """The growth of each stage, for each number of shards and ranks of which three sizes were measured at least."""
    groups: dict[tuple[str, int | None, int], list[Point]] = {}
    for point in sorted(points, key=lambda point: point.photos):
        groups.setdefault((point.stage, point.shards, point.ranks), []).append(point)
    return [growth_of(group, paper) for group in groups.values()]


def growth_of(points: Sequence[Point], paper: int) -> Growth:
    """Growth over points of one stage by rising number of photos, continued to `paper` photos.

    The continuation goes on from the largest size with the measured exponent of the time of all cores, at least 1, and
    with the rise of memory between the two largest sizes.
    """
    first, last = points[0], points[-1]
    sizes = [point.photos for point in points]
    cpu_exponent = exponent_beyond(sizes, [point.cpu for point in points])
    before = points[-2] if len(points) > 1 else first  # what the smallest sizes load once is no growth
    rise = (last.memory - before.memory) / max(last.photos - before.photos, 1)
    factor = (paper / last.photos) ** max(1.0, cpu_exponent if np.isfinite(cpu_exponent) else 1.0)
    return Growth(
        stage=first.stage, shards=first.shards, ranks=first.ranks, sizes=sizes,
        seconds=[point.seconds for point in points],
        memory=[point.memory for point in points],
        time_exponent=exponent_beyond(sizes, [point.seconds for point in points]),
        cpu_exponent=cpu_exponent,
        memory_exponent=exponent(sizes, [point.memory for point in points]),
        bytes_per_photo=rise,
        paper_hours=(last.cpu - first.cpu) * factor / 3600,
        paper_gigabytes=(last.memory + rise * (paper - last.photos)) / 1e9,
    )  # fmt: skip


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of log(values) over log(sizes) by least squares; NaN with fewer than two positive values."""
    pairs = [(size, value) for size, value in zip(sizes, values, strict=True) if size > 0 and value > 0]
    if len({size for size, _ in pairs}) < 2:
        return float("nan")
    x, y = np.log(np.array(pairs)).T
    return float(np.polyfit(x, y, 1)[0])


def exponent_beyond(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The exponent of what comes on top of the first size and value; values that did not rise are left out."""
    return exponent([size - sizes[0] for size in sizes[1:]], [value - values[0] for value in values[1:]])


def table(groups: Sequence[Growth], paper: int) -> str:
    """The growth of all stages as a table in Markdown."""
    lines = [
        f"| stage | photos | seconds | exponent (cpu) | peak MB | exponent | a photo | {paper:,} photos |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group in groups:
        shards = f", {group.shards} shards" if group.shards else ""
        ranks = f", {group.ranks} ranks" if group.ranks > 1 else ""
        cells = [
            group.stage + shards + ranks,
            " / ".join(f"{size:,}" for size in group.sizes),
            " / ".join(f"{seconds:.1f}" for seconds in group.seconds),
            f"{group.time_exponent:.2f} ({group.cpu_exponent:.2f})",
            " / ".join(f"{memory / 1e6:.0f}" for memory in group.memory),
            f"{group.memory_exponent:.2f}",
            f"{group.bytes_per_photo / 1e3:.1f} kB",
            f"{group.paper_hours:.1f} core hours, {group.paper_gigabytes:.1f} GB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main, Args)
