"""Extract a feature table from shards, every image exactly once, with any number of processes and after any kill.

A shard is the unit of work.  A process claims whole shards, and each finished shard becomes one part file by renaming
(`zsl.features.parts`).  A restart skips the parts that are whole and fit.  The merge checks that each row occurs once
before it writes the table (`zsl.features.merge`).  Accelerate only runs the model's arithmetic, because
`accelerator.prepare` on a divided stream of samples loses or repeats some of them.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from tqdm import tqdm

from backbones import Backbone
from backbones.engines import TORCH, Engine, check_engine
from shards import Location, Shard, ShardIndex
from zsl.common.launch import of_first_process
from zsl.common.profile import span
from zsl.common.progress import progress_bar
from zsl.features.choice import Compile, Decision
from zsl.features.encode import Target, encode_together
from zsl.features.encoder import Encoder, make_encoder
from zsl.features.manifest import MANIFEST_FILE, Compute, Manifest, read_manifest
from zsl.features.merge import merge_parts
from zsl.features.parts import PARTS_FOLDER, Parts, short_hash
from zsl.features.plan import OF_PART, finished_table, plan_table
from zsl.features.stream import Batch, Decoder, OnError, stream_batches

FORM = "weights are constants"  # of a compiled encoder; parts of another form may differ in the last bits
LOOK_SECONDS = 5.0  # time between two counts of the parts of other processes, for the progress bar
WAIT_SECONDS = 0.2  # time between two checks of the shards that other processes have claimed


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """The settings of an extraction; the defaults are those of the command line."""

    batch_size: int = 32  # B
    compile: Compile = "auto"  # whether to compile the encoder with torch.compile; auto: if that saves time
    engine: Engine = TORCH  # the program that runs the encoder
    on_error: OnError = "stop"  # what to do with photos and shards that cannot be read
    allow_pipe: bool = False  # whether the shards' location may be a command
    decoder: Decoder = "cpu"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"--batch-size {self.batch_size}: at least 1 photo")
        if self.engine != TORCH and self.compile == "on":
            raise ValueError(f"--compile on is for --engine torch, not for --engine {self.engine}")


def extract_features(
    backbone: Backbone,
    location: Location,
    index: ShardIndex,
    out: Path,
    accelerator: Accelerator,
    settings: ExtractSettings = ExtractSettings(),
) -> Manifest:
    """Make the feature table `out` from the shards of `index` at `location`, and return its manifest.

    Every process of `accelerator` calls this function, and it returns in all of them when the table is whole.
    Processes divide the shards by locks on files in `out`, so that unrelated starts of the same command also work
    together, if their machines share the folder.  If `out` already holds a table from the same input, it stays as it
    is.

    With `on_error` "quarantine", unreadable photos and shards are left out and listed in `quarantine.csv`, and the
    manifest counts them.  The next start with "stop" computes only the shards of these photos again.

    Raises:
        ValueError: `out` holds a table from other input, a shard does not match the index, or a sample cannot be read
            (the message names its shard, row and file).
        OSError: the disk is full; finished parts stay.
    """
    return extract_tables([(backbone, out)], location, index, accelerator, settings)[0]


def extract_tables(
    tables: Sequence[tuple[Backbone, Path]],
    location: Location,
    index: ShardIndex,
    accelerator: Accelerator,
    settings: ExtractSettings = ExtractSettings(),
) -> list[Manifest]:
    """Make the feature tables of several backbones, each in its folder, as `extract_features` makes one.

    Shards that no table has yet are read in one pass: each photo is decoded once.  Then each table gets what it lacks.

    Raises:
        ValueError, OSError: as `extract_features`; or `settings.engine` does not take a backbone.
    """
    if settings.decoder == "nvjpeg" and accelerator.device.type != "cuda":
        raise ValueError(f"--decoder nvjpeg needs a CUDA device, this process computes on {accelerator.device.type}")
    largest = max((shard.count for shard in index.shards), default=1)  # a batch does not span two shards
    settings = replace(settings, batch_size=min(settings.batch_size, largest))
    open_tables = []
    for backbone, out in tables:
        check_engine(settings.engine, backbone, accelerator.mixed_precision, accelerator.device)
        plan = plan_table(backbone, index, accelerator.mixed_precision, settings.decoder, settings.engine)
        manifest = of_first_process(finished_table(out, plan, settings.on_error), accelerator)
        if manifest is None:
            open_tables.append(_begin(backbone, location, index, out, accelerator, settings, plan))
        elif accelerator.is_main_process and not manifest.quarantined:
            shutil.rmtree(out / PARTS_FOLDER, ignore_errors=True)  # a kill may have come between manifest and removal
    speed = _run_together(open_tables) if len(open_tables) > 1 else None
    for extraction in open_tables:
        extraction.run(speed)
        accelerator.wait_for_everyone()
    return [read_manifest(out / MANIFEST_FILE) for _, out in tables]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Extraction:
    """The work of one process on a table: its input, its settings, and the planned manifest of the table."""

    backbone: Backbone
    location: Location
    index: ShardIndex
    out: Path
    accelerator: Accelerator
    settings: ExtractSettings
    plan: Manifest
    encoder: Encoder

    def run(self, speed: float | None = None) -> None:
        """Compute parts until all shards have one; then the main process merges them.

        speed: images a second of a pass for several tables, which is this table's if that pass has left nothing.
        """
        parts = self.parts()
        parts.are_whole()
        before, started = parts.images, time.perf_counter()
        bar = progress_bar(
            total=self.index.count, initial=before, what=self.backbone.name, unit=" images",
            show=self.accelerator.is_main_process,
        )  # fmt: skip
        with parts, bar, _full_disk_in_words(self.out):
            while not parts.are_whole() and self._finished() is None:
                self._compute_parts(parts, bar)
            seconds = time.perf_counter() - started
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                self._merge(parts, _speed(self.index.count - before, seconds) or speed)

    def parts(self) -> Parts:
        """The part files of the table."""
        settings, accelerator = self.settings, self.accelerator
        return Parts(
            folder=self.out / PARTS_FOLDER,
            index=self.index,
            key=_key(self.plan, settings, accelerator) | {"compiled": FORM if self.encoder.compiled else False},
            rank=accelerator.process_index,
            ranks=accelerator.num_processes,
            keep_failures=settings.on_error == "quarantine",
        )

    def _finished(self) -> Manifest | None:
        """The manifest of the table, if an unrelated start of the same command has finished it."""
        return finished_table(self.out, self.plan, self.settings.on_error)

    def target(self, parts: Parts) -> Target:
        """The table as a target of encoding."""
        backbone = self.backbone
        return Target(encode=self.encoder.encode, parts=parts, dim=backbone.dim, tuned=backbone.tuned_photos)

    def stream(self, shards: Iterable[Shard], others: Sequence[_Extraction] = ()) -> Iterator[Batch]:
        """The photos of `shards` for the backbone, and for those of `others`."""
        settings = self.settings
        return stream_batches(
            shards, self.location, self.backbone.transform, batch_size=settings.batch_size,
            device=self.accelerator.device, on_error=settings.on_error, allow_pipe=settings.allow_pipe,
            decoder=settings.decoder, others=[other.backbone.transform for other in others],
        )  # fmt: skip

    def _compute_parts(self, parts: Parts, bar: tqdm) -> None:
        """Compute the parts of all shards that this process can claim, then wait a moment for other processes."""
        due = time.monotonic()
        for images in encode_together([self.target(parts)], self.stream(parts.claim())):
            bar.update(images)
            if time.monotonic() >= due:  # the images of other processes count, too, or the end would seem far away
                bar.update(max(0, parts.images_written - bar.n))
                due = time.monotonic() + LOOK_SECONDS
        bar.update(parts.images - bar.n)
        if not parts.are_whole():
            time.sleep(WAIT_SECONDS)

    def _merge(self, parts: Parts, images_per_second: float | None) -> None:
        """Merge the parts, unless an unrelated start has merged them while this process waited for its turn."""
        compute = Compute(
            compiled=self.encoder.compiled,
            batch_size=self.settings.batch_size,
            device=self.accelerator.device.type,
            processes=self.accelerator.num_processes,
            threads=torch.get_num_threads(),
        )
        manifest = replace(
            self.plan, compute=compute, choice=self.encoder.choice, comparison=self.encoder.comparison,
            images_per_second=images_per_second,
        )  # fmt: skip
        with parts.alone(), span("merging"):
            if self._finished() is None:
                merge_parts(parts, self.out, manifest)


def _key(plan: Manifest, settings: ExtractSettings, accelerator: Accelerator) -> dict[str, object]:
    """All that the numbers of a part depend on, beside its shard and whether the encoder is compiled.

    Batch size and device may change the last bits of a number, so a table does not mix parts of different ones.
    """
    content = plan.as_json
    compute = {"batch_size": settings.batch_size, "device": accelerator.device.type}
    return {name: content[name] for name in OF_PART if name in content} | compute


def _begin(
    backbone: Backbone, location: Location, index: ShardIndex, out: Path, accelerator: Accelerator,
    settings: ExtractSettings, plan: Manifest,
) -> _Extraction:  # fmt: skip
    """Make the encoder of a table, which may compile it first, and the work that is to be done with it."""
    key = _key(plan, settings, accelerator)
    parts = Parts(folder=out / PARTS_FOLDER, index=index, key=key | {"compiled": False})
    batches = sum(-(-shard.count // settings.batch_size) for shard in index.shards)  # no batch spans two shards
    decision = Decision(
        path=parts.folder / f"compile-{short_hash(key)}.json",
        batches=-(-batches // accelerator.num_processes),
        plain_parts=of_first_process(any(parts.is_whole(shard) for shard in index.shards), accelerator),
        alone=parts.alone,
        wait=accelerator.wait_for_everyone,
    )
    with span("preparing the model"):
        encoder = make_encoder(
            backbone, accelerator, batch_size=settings.batch_size, compile=settings.compile, engine=settings.engine,
            decision=decision,
        )  # fmt: skip
    return _Extraction(
        backbone=backbone, location=location, index=index, out=out, accelerator=accelerator, settings=settings,
        plan=plan, encoder=encoder,
    )  # fmt: skip


def _speed(images: int, seconds: float) -> float | None:
    """Images a second; None if there was nothing to compute."""
    return round(images / seconds, 1) if images else None


def _run_together(tables: Sequence[_Extraction]) -> float | None:
    """Compute the parts of all shards that no table has yet and that this process can claim for every table.

    Returns the images a second, all encoders together; None if there was nothing to compute, or if other processes of
    this launch compute, too, whose images are not known here.
    """
    first, *others = tables
    count, started = 0, time.perf_counter()
    with ExitStack() as stack:
        of_first, *of_others = [stack.enter_context(table.parts()) for table in tables]
        stack.enter_context(_full_disk_in_words(first.out))
        what, show = f"{len(tables)} backbones", first.accelerator.is_main_process
        bar = stack.enter_context(progress_bar(total=first.index.count, what=what, unit=" images", show=show))
        targets = [table.target(parts) for table, parts in zip(tables, (of_first, *of_others), strict=True)]
        for images in encode_together(targets, first.stream(of_first.claim_with(of_others), others)):
            bar.update(images)
            count += images
    return _speed(count, time.perf_counter() - started) if first.accelerator.num_processes == 1 else None


@contextmanager
def _full_disk_in_words(out: Path) -> Iterator[None]:
    """Explain the error of a full disk: finished parts stay, and the same command continues with them."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        kept = len(list((out / PARTS_FOLDER).glob("*.safetensors")))
        raise OSError(
            error.errno,
            f"no space left for {out}; {kept} finished parts are kept: make room, start the command again",
        ) from error
