"""Check that `kill -9` at random moments loses no photo and changes no bit: kill extraction, start it again, compare.

    python benchmarks/kills.py --json kills.json             # 20 kills; CPU, gloo, Linux
    python benchmarks/kills.py --kills 2 --ranks 2 --strangers 0

ranks      The script runs `torchrun scripts/extract.py` with 1 to 3 ranks and sends SIGKILL to one rank; torchrun then
           ends the others.  It repeats the command with another number of ranks until the table is finished, and starts
           the next table, until it has killed often enough.  A kill comes some time after the ranks begin to start,
           shortly after a random number of parts, or shortly after the last part, during the merge of the table.
strangers  The script starts one command twice with one folder and no process group, and kills one of the two (in the
           first case neither).  The other process has to finish the table alone.

The script compares every table byte for byte with a table that was made without kills.  Each rank computes in one
thread, because the last bits of an fp32 sum may depend on the number of threads.  A kill counts if it ended the
process.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from backbones import load_backbone
from shards import write_shards
from zsl.cli import run_script
from zsl.common.files import read_json, write_json
from zsl.common.ranges import Count, Whole
from zsl.datasets.pack import make_shards
from zsl.datasets.places import features_folder
from zsl.datasets.shapes import ShapesConfig, write_shapes
from zsl.features.parts import PARTS_FOLDER
from zsl.features.table import MANIFEST_FILE

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "extract.py"
PHOTOS = ShapesConfig(seen_classes=6, unseen_classes=3, images_per_class=24, image_size=64)
SHARD_SIZE = 8
MODEL = "test_vit"
TABLE = ("features.npy", "labels.npy", "rows.npy")
KILLS_A_TABLE = 7  # so that 20 kills make three tables or more
LOOK = 0.001  # seconds between two looks at the parts
PATIENCE = 300  # seconds after which a start that does not end is an error


@dataclass(frozen=True, kw_only=True)
class Args:
    """Kill extraction, start it again, compare the tables."""

    kills: Whole = 20
    ranks: tuple[Count, ...] = (1, 2, 3)  # numbers of ranks; each start draws one of them
    strangers: Whole = 4  # number of tables that two unrelated starts make together
    seed: Whole = 0
    json: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Shards, weights, and the command that makes a table from them; each table has its own `--data` folder."""

    folder: Path
    backbone: str  # full name
    shards: int

    def table(self, name: str) -> Path:
        """The folder of the table `name`."""
        return features_folder(self.folder / name, "shapes", self.backbone)

    def parts(self, name: str) -> dict[str, tuple[int, int]]:
        """Finished parts of a table by name, each with two numbers that a second writing would change."""
        parts = {}
        for path in (self.table(name) / PARTS_FOLDER).glob("*.safetensors"):
            try:
                status = path.stat()
            except FileNotFoundError:  # the table is finished, and a process is removing its parts
                continue
            parts[path.name] = (status.st_ino, status.st_mtime_ns)
        return parts

    def command(self, name: str) -> list[str]:
        """The words after `python` that make the table `name`."""
        # With five crops a shard takes some tens of milliseconds, so that most kills come within a shard.
        words = ["--data", self.folder / name, "--shards", self.folder / "shapes" / "shards", "--backbone", MODEL]
        words += ["--weights", self.folder / "weights.safetensors", "--precision", "no", "--crops", 5]
        return [str(SCRIPT), *map(str, words)]


@dataclass(frozen=True, kw_only=True)
class Kill:
    """A kill that ended a process."""

    moment: str  # state of the table just before the kill
    ranks: int
    parts: int  # number of finished parts


@dataclass(kw_only=True)
class Outcome:
    """The counts of the report."""

    kills: list[Kill] = field(default_factory=list)
    stranger_kills: int = 0
    starts: int = 0
    tables: int = 0
    equal: int = 0
    redone: int = 0  # finished parts that a later start lost or wrote again
    leftovers: set[str] = field(default_factory=set)  # other files in the folders of finished tables


def make_workshop(folder: Path) -> Workshop:
    """Draw photos, pack them into many small shards, and make random weights."""
    raw = folder / "shapes" / "raw"
    write_shapes(raw, PHOTOS)
    index, benchmark = make_shards("shapes", folder)
    shards = folder / "shapes" / "shards"
    index = write_shards(
        benchmark.instances, raw, shards, benchmark="shapes", total=index.total, source=index.source,
        shard_size=SHARD_SIZE,
    )  # fmt: skip
    weights = folder / "weights.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(MODEL, pretrained=False).state_dict(), weights)
    name = load_backbone(MODEL, weights).name + "-5crops"
    return Workshop(folder=folder, backbone=name, shards=len(index.shards))


# --- processes -------------------------------------------------------------------------------------------------------


@contextmanager
def started(words: list[str], log: Path, cores: list[int]) -> Iterator[subprocess.Popen]:
    """Start a Python process on these cores with its output in `log`; end it with the block if it still runs."""
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *words], env=environment, stdout=output, stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()  # torchrun passes the signal on to its ranks
        process.wait()


def cores_for(ranks: int) -> list[int]:
    """As many cores as ranks, if the machine has them: `make_accelerator` then gives each rank one thread."""
    return sorted(os.sched_getaffinity(0))[:ranks]


def rank_pids(launcher: int) -> dict[int, int]:
    """Living ranks of a torchrun process: rank -> process id."""
    ranks = {}
    for children in Path(f"/proc/{launcher}/task").glob("*/children"):
        try:
            for pid in map(int, children.read_text().split()):
                rank = re.search(rb"(?:^|\0)RANK=(\d+)", Path(f"/proc/{pid}/environ").read_bytes())
                if rank:
                    ranks[int(rank[1])] = pid
        except (FileNotFoundError, ProcessLookupError):  # the process ended between the two readings
            continue
    return ranks


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> bool:
    """Wait for the condition, and return whether it came true before the process ended."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None:
            return False
        if time.monotonic() > end:
            raise ValueError(f"nothing happened in {PATIENCE} s")
        time.sleep(LOOK)
    return True


def check_finished(process: subprocess.Popen, log: Path) -> None:
    if process.wait(PATIENCE) != 0:
        raise ValueError(f"a start that nobody killed ended with code {process.returncode}:\n{log.read_text()[-4000:]}")


# --- kills -----------------------------------------------------------------------------------------------------------


def kill_and_restart(shop: Workshop, name: str, kills: int, args: Args, draw: random.Random, seen: Outcome) -> None:
    """Make one table through at most `kills` kills; there are fewer if the table is finished before the next one."""
    log = shop.folder / f"{name}.log"
    delivered = 0
    finished = False
    while not finished:
        before = shop.parts(name)
        ranks = draw.choice(args.ranks)
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        with started([*launch, *shop.command(name)], log, cores_for(ranks)) as launcher:
            seen.starts += 1
            whole = (shop.table(name) / MANIFEST_FILE).is_file()
            kill = kill_one(shop, name, launcher, ranks, log, draw) if delivered < kills and not whole else None
            if kill is None:
                check_finished(launcher, log)
                finished = True
            else:
                delivered += 1
                seen.kills.append(kill)
                print(f"{name}: {ranks} ranks, killed {kill.moment}, {kill.parts} of {shop.shards} parts", flush=True)
                after = shop.parts(name)
                if not (shop.table(name) / MANIFEST_FILE).is_file():
                    seen.redone += sum(after.get(part) != written for part, written in before.items())
    compare(shop, name, seen)


def kill_one(
    shop: Workshop, name: str, launcher: subprocess.Popen, ranks: int, log: Path, draw: random.Random
) -> Kill | None:
    """Kill a rank at a random moment, and return the kill; None if the rank had ended before."""
    before = len(shop.parts(name))
    left = shop.shards - before
    plan = draw.choices(("start", "work", "merge"), (3, 12, 4))[0]
    victim = 0 if plan == "merge" else draw.randrange(ranks)  # rank 0 merges the table
    if not wait_for(lambda: len(rank_pids(launcher.pid)) == ranks, launcher):
        return None
    if plan == "start":
        time.sleep(draw.uniform(0, 4))
    else:
        number = draw.randint(1, max(1, left // 3)) if plan == "work" else left
        wait_for(lambda: len(shop.parts(name)) >= before + number, launcher)
        time.sleep(draw.uniform(0, 0.06 if plan == "work" else 0.02))
    parts = len(shop.parts(name))
    merging = parts == shop.shards or (shop.table(name) / "features.npy").exists()
    whole = (shop.table(name) / MANIFEST_FILE).is_file()
    moment = "at the end" if whole else "merging" if merging else "at work" if parts > before else "before a part"
    try:
        pid = rank_pids(launcher.pid)[victim]
        os.kill(pid, signal.SIGKILL)
    except (KeyError, ProcessLookupError):
        return None
    launcher.wait(PATIENCE)
    died = re.search(rf"exitcode\s*:\s*-{signal.SIGKILL:d}\b.*\bpid:\s*{pid}\)", log.read_text())
    return Kill(moment=moment, ranks=ranks, parts=parts) if died else None


def kill_a_stranger(shop: Workshop, name: str, draw: random.Random, seen: Outcome, *, kill: bool) -> None:
    """Start one command twice.  With `kill`, one of the two is killed and the other does the rest."""
    cores = [[core] for core in sorted(os.sched_getaffinity(0))]
    logs = [shop.folder / f"{name}-{which}.log" for which in "ab"]
    with (
        started(shop.command(name), logs[0], cores[0]) as first,
        started(shop.command(name), logs[1], cores[-1]) as second,
    ):
        seen.starts += 2
        both = [(first, logs[0]), (second, logs[1])]
        draw.shuffle(both)
        victim, survivor = both
        if kill:
            number = draw.randint(1, shop.shards - 5)
            wait_for(lambda: len(shop.parts(name)) >= number, victim[0])
            time.sleep(draw.uniform(0, 0.06))
            victim[0].kill()
        if victim[0].wait(PATIENCE) == -signal.SIGKILL and kill:
            seen.stranger_kills += 1
        else:
            check_finished(*victim)
        check_finished(*survivor)
    print(f"{name}: two unrelated starts, {'one killed' if kill else 'none killed'}", flush=True)
    compare(shop, name, seen)


def compare(shop: Workshop, name: str, seen: Outcome) -> None:
    """Compare the table `name` byte for byte with the table that was made without kills."""
    table, expected = shop.table(name), shop.table("undisturbed")
    if (threads := read_json(table / MANIFEST_FILE)["compute"]["threads"]) != 1:
        raise ValueError(f"{name} was computed with {threads} threads a rank; the comparison needs 1")
    seen.tables += 1
    seen.equal += all((table / file).read_bytes() == (expected / file).read_bytes() for file in TABLE)
    seen.leftovers |= {path.name for path in table.iterdir()} - {*TABLE, MANIFEST_FILE}


def main(args: Args) -> None:
    """Kill and compare extractions, and print the counts; exit code 1 if a table differs or a part was lost."""
    if not Path("/proc/self/task").is_dir():
        raise ValueError("this looks for the ranks in /proc, which only Linux has")
    draw, seen, begun = random.Random(args.seed), Outcome(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        shop = make_workshop(Path(folder))
        log = shop.folder / "undisturbed.log"
        with started(shop.command("undisturbed"), log, cores_for(1)) as process:
            check_finished(process, log)
        for number in range(args.strangers):
            kill_a_stranger(shop, f"strangers-{number + 1}", draw, seen, kill=number > 0 or args.strangers == 1)
        for number in range(2 * args.kills):  # a table may be finished before all its kills
            if len(seen.kills) < args.kills:
                kills = min(KILLS_A_TABLE, args.kills - len(seen.kills))
                kill_and_restart(shop, f"ranks-{number + 1}", kills, args, draw, seen)
    moments, ranks = Counter(kill.moment for kill in seen.kills), Counter(kill.ranks for kill in seen.kills)
    result = {
        "kills": len(seen.kills),
        "stranger_kills": seen.stranger_kills,
        "byte_equal": seen.equal == seen.tables,
        "tables": seen.tables,
        "tables_equal": seen.equal,
        "starts": seen.starts,
        "parts_lost_or_redone": seen.redone,
        "leftovers": sorted(seen.leftovers),
        "kills_by_moment": dict(sorted(moments.items())),
        "kills_by_ranks": {str(number): ranks[number] for number in sorted(ranks)},
        "photos": (PHOTOS.seen_classes + PHOTOS.unseen_classes) * PHOTOS.images_per_class,
        "shards": shop.shards,
        "seed": args.seed,
        "seconds": round(time.monotonic() - begun),
    }
    for key, value in result.items():
        print(f"{key.replace('_', ' '):>22}  {value}")
    if args.json:
        write_json(args.json, result)
    if not result["byte_equal"] or seen.redone or len(seen.kills) < args.kills:
        sys.exit(1)


if __name__ == "__main__":
    run_script(main, Args)
