"""Damage every file that the program reads, and check that each gives a right result or one line of error.

    python benchmarks/fuzz.py --json fuzz.json            # 2,000 mutations
    python benchmarks/fuzz.py --only tables --mutations 200 --seed 7

The script makes a small benchmark once, from photos to an export.  Each mutation is drawn from the seed, and changes
one of these files.  It flips, zeroes, cuts off, inserts or swaps bytes; it drops, empties, doubles or retypes fields of
JSON and CSV; or it replaces the file by nothing, a Git LFS pointer, a web page or zeros.  Then a reader of the program
reads the file in this process.  The outcome is one of

    same      the reader returns the same as from the sound files
    other     the reader returns something else, and the file has no hash that would show the change (a digit of a CSV,
              a word of a JSON file, a photo's pixels)
    refused   the reader raises an error that a script prints as one line

Everything else is a failure: another kind of error, an error of several lines or with an object's address, another
content where the file has a hash, a hang, or the loss of a file.  After a failure the exit code is 1.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import random
import re
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from backbones import Backbone, decode_image, load_backbone
from backbones.finetune_config import FinetuneConfig
from shards import read_index, shard_samples
from shards.index import file_sha256
from zsl.cli import run_script
from zsl.common.compute import make_accelerator
from zsl.common.config import override
from zsl.common.files import in_words, write_json
from zsl.common.progress import progress_bar
from zsl.common.ranges import Count, Whole
from zsl.datasets.pack import make_shards
from zsl.datasets.places import features_folder, shards_folder
from zsl.dcrgan.config import DCRGANConfig
from zsl.experiments.compare import read_run
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.results import RESULTS_FILE, Results, read_results
from zsl.experiments.search import select
from zsl.experiments.selection import SELECTION_FILE, Selection, load_selection
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.load import load_folds, load_splits
from zsl.features.mat import export_mat, import_mat
from zsl.features.parts import Parts
from zsl.features.split import split_features
from zsl.features.table import read_features
from zsl.finetune.command import Finetuning, run_finetuning
from zsl.finetune.manifest import read_manifest
from zsl.predict.encoders import export
from zsl.predict.predictor import load_predictor, score

MODEL, SIDE = "test_vit", 40
PATIENCE = 30  # seconds; a reader that takes longer counts as a hang
CLASSES = tuple(f"class {number}" for number in range(7))
FORMATS = {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tif": "TIFF"}
ADDRESS = re.compile(r"0x[0-9a-f]{6,}|object at|Traceback|allow_pickle|mmap length")
TOLD = (ValueError, OSError, FloatingPointError)  # errors that `zsl.cli.run_script` prints as one line
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
PAGE = b"<!doctype html><html><body>404 not found</body></html>\n"

Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True, kw_only=True)
class Args:
    """Mutate files, read them, and count the outcomes."""

    mutations: Count = 2000
    seed: Whole = 0
    only: tuple[str, ...] = ()  # names of targets; default: all
    json: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """Files of one kind, and the reader of each.  The place is the folder with the whole small benchmark."""

    name: str
    files: tuple[Path, ...]  # patterns below `folder`
    read: Callable[[Path], Any]  # returns the reader's result from a copy of the place
    hashed: bool = False  # whether a hash shows every change of the content
    folder: Path  # folder or file below the place; each mutation gets a copy of it


# --- mutations -------------------------------------------------------------------------------------------------------


def flip(content: bytes, rng: random.Random) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    """Cut off the end of the file."""
    return content[: rng.randrange(len(content))]


def zero(content: bytes, rng: random.Random) -> bytes:
    """Replace some bytes by zeros, often at the end."""
    start, length = rng.randrange(len(content)), rng.randint(1, max(1, len(content) // 2))
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def swap(content: bytes, rng: random.Random) -> bytes:
    """Exchange two blocks."""
    size = rng.randint(1, max(1, len(content) // 8))
    first, second = sorted(rng.sample(range(max(2, len(content) - size + 1)), 2))
    if second < first + size:
        return content[second:] + content[:second]
    middle = content[first + size : second]
    return (
        content[:first]
        + content[second : second + size]
        + middle
        + content[first : first + size]
        + content[second + size :]
    )


def insert(content: bytes, rng: random.Random) -> bytes:
    """Insert random bytes."""
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(rng.randint(1, 40)) + content[at:]


def replace_whole(content: bytes, rng: random.Random) -> bytes:
    """Replace the whole file."""
    return rng.choice([b"", POINTER, PAGE, b"\0" * len(content), b"[]", b"null", b"{}", content * 2])


def change_json(content: bytes, rng: random.Random) -> bytes:
    """Drop, double or change the type of one field, at any depth."""
    whole = json.loads(content)
    holders = [value for value in _walk(whole) if isinstance(value, dict | list) and value]
    holder = rng.choice(holders)
    key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    action = rng.randrange(4)
    if action == 0:
        del holder[key]
    elif action == 1:
        holder[key] = rng.choice([None, [], {}, "", "x", -1, 1e308, 10**30, True, [[[]]], {"a": None}])
    elif action == 2 and isinstance(holder, dict):
        holder["unknown"] = holder[key]
    else:
        holder[key] = [holder[key]]
    return json.dumps(whole).encode()


def _walk(value: Any) -> Iterator[Any]:
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _walk(inner)


def change_lines(content: bytes, rng: random.Random) -> bytes:
    """Drop, copy, swap, shorten or lengthen lines of a text."""
    lines = content.decode().split("\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    action = rng.randrange(5)
    if action == 0:
        del lines[first]
    elif action == 1:
        lines.insert(first, lines[second])
    elif action == 2:
        lines[first], lines[second] = lines[second], lines[first]
    elif action == 3:
        lines[first] = lines[first].rpartition(",")[0]
    else:
        lines[first] += rng.choice([",", ",0.5", ";", "\t", '"', ",nan", ",1e999", " "])
    return "\n".join(lines).encode()


def change_cells(content: bytes, rng: random.Random) -> bytes:
    """Change one cell of a CSV, or drop or double a column."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    column = rng.randrange(len(rows[0]))
    action = rng.randrange(3)
    if action == 0:
        rng.choice(rows)[column] = rng.choice(["", "nan", "inf", "-1", "1,5", "é", "class 0", "seen", "x" * 300])
    elif action == 1:
        rows = [row[:column] + row[column + 1 :] for row in rows]
    else:
        rows = [[*row, row[column]] for row in rows]
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode(rng.choice(["utf-8", "utf-8-sig", "latin-1", "utf-16"]))


BYTES: tuple[Mutate, ...] = (flip, flip, flip, cut, zero, swap, insert, replace_whole)
TEXTS: dict[str, tuple[Mutate, ...]] = {
    ".json": (change_json, change_json, change_json),
    ".csv": (change_lines, change_cells, change_cells),
    ".txt": (change_lines, change_lines),
    ".jsonl": (change_lines, change_lines),
}


def mutate(path: Path, rng: random.Random) -> str:
    """Change the file at random, and return the name of the mutation.  A mutation without effect is drawn anew."""
    content = path.read_bytes()
    while True:
        change = rng.choice(BYTES + TEXTS.get(path.suffix, ()))
        mutated = change(content, rng)
        if mutated != content:
            path.write_bytes(mutated)
            return change.__name__


# --- the place: a benchmark from photos to an export -----------------------------------------------------------------


def make_place(folder: Path, accelerator: Accelerator) -> Backbone:
    """Make all files for mutations below `folder`, and return the backbone."""
    weights = folder / "weights.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model(MODEL, pretrained=False).state_dict(), weights)
    backbone = load_backbone(MODEL, weights)
    draw_photos(folder / "own")
    index, _ = make_shards(str(folder / "own"), folder / "data")
    table_folder = features_folder(folder / "data", "own", backbone.name)
    shards = shards_folder(folder / "data", "own")
    extract_features(backbone, shards, index, table_folder, accelerator)
    export_mat(table_folder, folder / "res101.mat", shards)
    keep_parts(folder, backbone, accelerator)
    readers = Readers(backbone, accelerator)
    train(readers, folder)
    search(readers, folder)
    tune(folder, accelerator)
    export(load_predictor(folder / "runs" / "run"), folder / "exported", folder / "runs" / "run", (weights,))
    return backbone


def draw_photos(folder: Path) -> None:
    """Draw a benchmark: photos of all formats in class folders, attributes.csv and splits.csv."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (folder / "images" / name).mkdir(parents=True)
        for position, (suffix, kind) in enumerate((*FORMATS.items(), ("jpeg", "JPEG"))):
            hue = np.array([20 * number, 40, 160 - 20 * number])
            colours = rng.integers(0, 90, (SIDE, SIDE + position, 3)) + hue
            options = {"progressive": True} if suffix == "jpeg" else {}
            image = Image.fromarray(colours.astype(np.uint8))
            image.save(folder / "images" / name / f"{position}.{suffix}", format=kind, **options)
    attributes = [f"{name},{','.join(f'{value:.3f}' for value in rng.random(5))}" for name in CLASSES]
    (folder / "attributes.csv").write_text("\n".join(["class,a,b,c,d,e", *attributes]) + "\n")
    splits = [f"{name},{'unseen' if number > 4 else 'seen'}" for number, name in enumerate(CLASSES)]
    (folder / "splits.csv").write_text("\n".join(["class,split", *splits]) + "\n")


def keep_parts(folder: Path, backbone: Backbone, accelerator: Accelerator) -> None:
    """Make `folder / "killed"`: the state of an extraction that was killed before its merge, with all its parts."""
    shards = shards_folder(folder / "data", "own")
    remove, Parts.remove = Parts.remove, lambda self: None  # type: ignore[method-assign]
    try:
        extract_features(backbone, shards, read_index(shards), folder / "killed", accelerator)
    finally:
        Parts.remove = remove  # type: ignore[method-assign]
    for path in folder.glob("killed/*.*"):
        path.unlink()


def train(readers: Readers, place: Path) -> Results:
    """Train a small DCR-GAN with one seed, or continue its run."""
    table = read_features(readers.table_folder(place))
    splits = load_splits(readers.benchmark, place / "data", table)
    train_split, test_split = split_features(table, splits)
    config = override(
        DCRGANConfig(),
        {
            "metric.steps": 5, "srn.steps": 5, "gan.steps": 3, "gan.hidden_dim": 16, "gan.shortcut_ridge": 0.3,
            "regressors.hidden_dim": 8, "classifiers.fit": "discriminant", "classifiers.images_per_unseen_class": 5,
        },
    )  # fmt: skip
    data = Experiment(
        table=table, splits=splits, train=train_split, test=test_split, seeds=(0,), accelerator=readers.accelerator,
    )  # fmt: skip
    return data.honest(find_method("dcrgan", config), config, place / "runs" / "run", gamma="auto")


def search(readers: Readers, place: Path) -> Selection:
    """Choose a configuration of ESZSL on folds, or continue the search."""
    table = read_features(readers.table_folder(place))
    folds = load_folds(readers.benchmark, place / "data", table, torch.device("cpu"))
    method, folder = find_method("eszsl", DCRGANConfig()), place / "runs" / "search"
    return select(method, folds, folder, manifest=table.manifest, goal="harmonic", seed=0, budget=20)


def tune(place: Path, accelerator: Accelerator) -> None:
    """Fine-tune random weights for one epoch, without a verdict."""
    config = FinetuneConfig(image_size=32, epochs=1, batch_size=8, probe_steps=1, wise=(1.0,))
    shards = shards_folder(place / "data", "own")
    job = Finetuning(
        benchmark="own", backbone=MODEL, weights=place / "weights.safetensors", data=place / "data", shards=shards,
        config=config, folds=(), crossfit=0,
    )  # fmt: skip
    run_finetuning(job, read_index(shards), place / "runs" / "tuned", accelerator)


# --- readers: how the scripts read the files -------------------------------------------------------------------------


class Readers:
    """The readers of a place.  Each takes a copy of the place, and returns a result that can be compared."""

    def __init__(self, backbone: Backbone, accelerator: Accelerator, benchmark: str = "own") -> None:
        self.backbone, self.accelerator, self.benchmark = backbone, accelerator, benchmark

    def photo(self, place: Path) -> Any:
        """Decode all photos of the first class."""
        return [decode_image(path.read_bytes()) for path in sorted((place / "own" / "images" / CLASSES[0]).iterdir())]

    def pack(self, place: Path) -> Any:
        """Pack the user's folder of photos again."""
        out = place / "packed"
        index, content = make_shards(str(place / "own"), out)
        return (
            index.count,
            content.split_file.hashes,
            [list(shard_samples(shards_folder(out, "own"), s)) for s in index.shards],
        )

    def splits(self, place: Path) -> Any:
        """Read the split file and the class lists, with the labels of a sound table."""
        table = read_features(self.table_folder(place))
        splits = load_splits(self.benchmark, place / "data", table)
        return splits.trainval_loc, splits.test_seen_loc, splits.test_unseen_loc, splits.attributes

    def shards(self, place: Path) -> Any:
        """Read all samples of all shards."""
        folder = shards_folder(place / "data", self.benchmark)
        index = read_index(folder)
        return [list(shard_samples(folder, shard)) for shard in index.shards]

    def rehashed_shards(self, place: Path) -> Any:
        """Extract from shards after the index got the hash of the damaged shard."""
        folder = shards_folder(place / "data", self.benchmark)
        index = read_index(folder)
        shard = replace(index.shards[0], sha256=file_sha256(folder / index.shards[0].file))
        (folder / "index.json").write_text(replace(index, shards=(shard, *index.shards[1:])).to_json())
        return self._extract(place, place / "out", ExtractSettings(on_error="quarantine"))

    def parts(self, place: Path) -> Any:
        """Continue an extraction that was killed."""
        return self._extract(place, place / "killed", ExtractSettings())

    def table(self, place: Path) -> Any:
        """Read a feature table and split it."""
        table = read_features(self.table_folder(place))
        train, _ = split_features(table, load_splits(self.benchmark, place / "data", table))
        return train.features, train.labels

    def mat(self, place: Path) -> Any:
        """Import a table of features."""
        out, _ = import_mat(place / "res101.mat", self.benchmark, place / "data")
        table = read_features(out)
        return np.asarray(table.features), table.labels

    def run(self, place: Path) -> Any:
        """Read results, compare the run with itself, and predict."""
        folder = place / "runs" / "run"
        results = read_results(folder / RESULTS_FILE)
        read_run(folder)
        return results.mean, self._predict(folder)

    def resumed(self, place: Path) -> Any:
        """Repeat the command of a run."""
        return train(self, place).mean

    def searched(self, place: Path) -> Any:
        """Read the choice of a search, and repeat its command."""
        chosen = load_selection(place / "runs" / "search" / SELECTION_FILE)
        return chosen, search(self, place)

    def tuned(self, place: Path) -> Any:
        """Load fine-tuned weights with their manifest."""
        weights = place / "runs" / "tuned" / "weights.safetensors"
        manifest = read_manifest(weights.with_name("manifest.json"))
        backbone = load_backbone(MODEL, weights)
        return backbone.weights_sha256, backbone.finetuned, backbone.tuned_photos, manifest

    def exported(self, place: Path) -> Any:
        """Predict with an export."""
        return self._predict(place / "exported")

    def weights(self, place: Path) -> Any:
        """Load a backbone from a file of weights."""
        backbone = load_backbone(MODEL, place / "weights.safetensors")
        with torch.inference_mode():
            return backbone.encode(torch.zeros(1, 3, *backbone.transform.size, dtype=torch.uint8))

    def table_folder(self, place: Path) -> Path:
        """The folder of the feature table."""
        return features_folder(place / "data", self.benchmark, self.backbone.name)

    def _extract(self, place: Path, out: Path, settings: ExtractSettings) -> Any:
        folder = shards_folder(place / "data", self.benchmark)
        extract_features(self.backbone, folder, read_index(folder), out, self.accelerator, settings)
        table = read_features(out, allow_incomplete=True)
        return np.asarray(table.features), table.labels, table.rows

    def _predict(self, folder: Path) -> Any:
        predictor = load_predictor(folder)
        return score(predictor, torch.ones(2, self.backbone.dim)).scores


def targets(readers: Readers) -> tuple[Target, ...]:
    """Return all kinds of files.  The paths are below the place, and may be patterns."""

    def target(name: str, read: Callable[[Path], Any], folder: str, *patterns: str, hashed: bool = False) -> Target:
        return Target(name=name, read=read, folder=Path(folder), files=tuple(map(Path, patterns)), hashed=hashed)

    data = f"data/{readers.benchmark}"
    return (
        target("photos", readers.photo, f"own/images/{CLASSES[0]}", "*"),
        target("CSVs", readers.pack, "own", "attributes.csv", "splits.csv"),
        target("split files", readers.splits, data, "splits/att_splits.mat", "splits/*.txt"),
        target("shards", readers.shards, f"{data}/shards", "*.tar", hashed=True),
        target("the index", readers.shards, f"{data}/shards", "index.json"),
        target("shards with a fitting hash", readers.rehashed_shards, data, "shards/*.tar"),
        target("parts", readers.parts, "", "killed/parts/*.safetensors", hashed=True),
        target("tables", readers.table, data, "features/*/*.npy", hashed=True),
        target("manifests", readers.table, data, "features/*/manifest.json"),
        target("imported .mat", readers.mat, "", "res101.mat"),
        target("runs", readers.run, "runs/run", "*.json", "seed-0/*.json", "*.safetensors", "seed-0/*.safetensors"),
        target("resumed runs", readers.resumed, "runs/run", "*.json*", "seed-0/*.json", "seed-0/details.safetensors"),
        target("searches", readers.searched, "runs/search", "*.json*"),
        target("fine-tuned weights", readers.tuned, "runs/tuned", "manifest.json", "weights.safetensors"),
        target("exports", readers.exported, "exported", "*.json", "*.safetensors", "seed-0/*.safetensors"),
        target("weights", readers.weights, "", "weights.safetensors"),
    )


# --- one mutation ----------------------------------------------------------------------------------------------------


class HangError(Exception):
    """A reader took longer than `PATIENCE`."""


@contextmanager
def patience() -> Iterator[None]:
    """Raise HangError in a block that takes more than `PATIENCE` seconds."""

    def hang(*_: object) -> None:
        raise HangError(f"more than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(target: Target, place: Path, expected: Any) -> tuple[str, str]:
    """Read the mutated place.  Return "same", "other", "refused" or "FAILED", and the message or the fault."""
    files = {path: path.stat().st_size for path in place.rglob("*") if path.is_file()}
    try:
        with patience():
            result = target.read(place)
    except TOLD as error:
        message = in_words(error) if isinstance(error, OSError) else str(error)
        kind = "refused"
        if not message.strip() or "\n" in message.strip() or ADDRESS.search(message):
            kind = "FAILED"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        kind, message = "FAILED", f"{type(error).__name__}: {error}"
    else:
        kind, message = ("same" if same(result, expected) else "FAILED" if target.hashed else "other"), ""
    lost = [path for path in files if not path.exists() and ".lock" not in path.name and "parts" not in path.parts]
    return ("FAILED", f"lost: {lost[0]}") if lost else (kind, message)


def same(first: Any, second: Any) -> bool:
    """Whether two results are equal, number for number."""
    if isinstance(first, Tensor | np.ndarray):
        return np.shape(first) == np.shape(second) and bool(np.array_equal(np.asarray(first), np.asarray(second)))
    if isinstance(first, tuple | list):
        return len(first) == len(second) and all(same(*pair) for pair in zip(first, second, strict=True))
    return bool(first == second)


def copy_for(target: Target, whole: Path, place: Path) -> None:
    """Copy the place: the target's folder as separate files, everything else as links to the sound files."""
    shutil.copytree(whole, place, copy_function=lambda source, copy: Path(copy).hardlink_to(source))
    own = place / target.folder
    for path in [own] if own.is_file() else [path for path in own.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


def shares(kinds: Sequence[Target], mutations: int) -> Iterator[tuple[int, Target]]:
    """Give each number of a mutation a target, in turn."""
    for number in range(mutations):
        yield number, kinds[number % len(kinds)]


def main(args: Args) -> None:
    """Mutate and read files; print the failures and the table of outcomes."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    accelerator = make_accelerator("no")
    counts: dict[str, Counter[str]] = {}
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole"
        whole.mkdir()
        readers = Readers(make_place(whole, accelerator), accelerator)
        kinds = [kind for kind in targets(readers) if not args.only or kind.name in args.only]
        if not kinds:
            raise ValueError(f"--only {args.only[0]}: there are {', '.join(kind.name for kind in targets(readers))}")
        expected = {}
        for kind in kinds:
            copy_for(kind, whole, Path(temporary) / "sound")
            expected[kind.name] = kind.read(Path(temporary) / "sound")
            shutil.rmtree(Path(temporary) / "sound")
        for number, kind in progress_bar(list(shares(kinds, args.mutations)), what="mutations", unit=""):
            rng = random.Random(f"{args.seed} {number}")
            place = Path(temporary) / "place"
            copy_for(kind, whole, place)
            files = sorted(path for pattern in kind.files for path in (place / kind.folder).glob(str(pattern)))
            path = rng.choice(files)
            change = mutate(path, rng)
            verdict, message = outcome(kind, place, expected[kind.name])
            counts.setdefault(kind.name, Counter())[verdict] += 1
            if verdict == "FAILED":
                failures.append(f"{number} {kind.name}: {change} of {path.relative_to(place)}: {message}")
            shutil.rmtree(place)
    report(counts, failures, args)


def report(counts: dict[str, Counter[str]], failures: Sequence[str], args: Args) -> None:
    """Print and write the outcomes; end with exit code 1 after a failure."""
    kinds = ("same", "other", "refused", "FAILED")
    print(f"{'':28}" + "".join(f"{kind:>9}" for kind in kinds))
    for name, count in counts.items():
        print(f"{name:28}" + "".join(f"{count[kind]:>9}" for kind in kinds))
    total = {kind: sum(count[kind] for count in counts.values()) for kind in kinds}
    print(f"{'all':28}" + "".join(f"{total[kind]:>9}" for kind in kinds))
    for failure in failures:
        print(failure, file=sys.stderr)
    if args.json:
        content = {"mutations": sum(total.values()), "seed": args.seed, **total, "failures": list(failures)}
        write_json(args.json, content | {"targets": {name: dict(count) for name, count in counts.items()}})
    sys.exit(bool(failures))


if __name__ == "__main__":
    run_script(main, Args)
