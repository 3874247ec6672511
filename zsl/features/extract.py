"""Shards to a feature table, every image exactly once, for any number of processes and after any kill.

A shard is the unit of work: a process claims whole shards, and a finished shard is one part file that appears by
renaming (`zsl.features.parts`).  A restart skips the parts that are whole and fit; the merge proves that each row
occurs once before the table appears.  Nothing but the model's arithmetic is Accelerate's: `accelerator.prepare` on an
already divided stream of samples loses or repeats some of them.
"""

from __future__ import annotations

import errno
import json
import logging
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from accelerate import Accelerator
from torch import Tensor

from backbones import Backbone, compile_backbone, unseen_classes
from shards import Location, ShardIndex
from zsl.common.files import read_json
from zsl.common.progress import progress_bar
from zsl.features.parts import PARTS_FOLDER, Part, Parts, merge_parts
from zsl.features.stream import Batch, Decoder, OnError, stream_batches
from zsl.features.table import FORMAT, MANIFEST_FILE

WAIT_SECONDS = 0.2  # between looks at the shards that other processes have claimed
Encode = Callable[[Tensor], Tensor]

log = logging.getLogger(__name__)


def extract_features(
    backbone: Backbone,
    location: Location,
    index: ShardIndex,
    out: Path,
    accelerator: Accelerator,
    *,
    batch_size: int = 32,
    compiled: bool = False,
    on_error: OnError = "stop",
    allow_pipe: bool = False,
    decoder: Decoder = "cpu",
) -> dict[str, Any]:
    """Make the feature table `out` from the shards of `index` at `location`; returns its manifest.

    Every process of `accelerator` calls this; all return when the table is whole.  Processes share the shards out by
    locks on files in `out`, so that unrelated starts of the same command on machines that share the folder work
    together too.  A table that is there already and was made from the same input is left as it is.

    With `on_error` "quarantine", photos and shards that cannot be read are left out and listed in `quarantine.csv`, and
    the manifest counts them; the next start with "stop" computes the shards that they belong to anew, and nothing else.

    Raises:
        ValueError: `out` holds a table made from other input, a shard is not the index's, or a sample cannot be read
            (its shard, row and file are named).
        OSError: the disk is full; finished parts stay.
    """
    if batch_size < 1:
        raise ValueError(f"--batch-size {batch_size}: at least 1 photo")
    origin = _origin(backbone, index, accelerator.mixed_precision, decoder)
    if decoder == "nvjpeg" and accelerator.device.type != "cuda":
        raise ValueError(f"--decoder nvjpeg needs a CUDA device, this process computes on {accelerator.device.type}")
    if (manifest := _finished(out, origin, on_error)) is not None:
        if accelerator.is_main_process and not manifest.get("quarantined", 0) and (out / PARTS_FOLDER).is_dir():
            shutil.rmtree(out / PARTS_FOLDER, ignore_errors=True)  # a kill came between the manifest and this
        return manifest
    encode, compiled = _encoder(backbone, accelerator, batch_size, compiled)
    # What may change the last bits of a number: parts of other settings are not mixed, a whole table stays as it is.
    compute = {"compiled": compiled, "batch_size": batch_size, "device": accelerator.device.type}
    parts = Parts(
        folder=out / PARTS_FOLDER,
        index=index,
        key={key: value for key, value in origin.items() if key not in ("shards_sha256", "source")} | compute,
        rank=accelerator.process_index,
        ranks=accelerator.num_processes,
        keep_failures=on_error == "quarantine",
    )
    parts.are_whole()
    before, started = parts.images, time.perf_counter()
    bar = progress_bar(
        total=index.count, initial=before, what=backbone.name, unit=" images", show=accelerator.is_main_process
    )
    with parts, bar, _full_disk_in_words(out):
        while not parts.are_whole() and _finished(out, origin, on_error) is None:
            batches = stream_batches(
                parts.claim(), location, backbone.transform, batch_size=batch_size, device=accelerator.device,
                on_error=on_error, allow_pipe=allow_pipe, decoder=decoder,
            )  # fmt: skip
            for features in _encode_shards(encode, batches, parts, backbone.dim):
                bar.update(features)
            bar.update(parts.images - bar.n)  # and what other processes have done
            if not parts.are_whole():
                time.sleep(WAIT_SECONDS)
        seconds = time.perf_counter() - started
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            compute |= {"processes": accelerator.num_processes, "threads": torch.get_num_threads()}
            # What is compared already fixes these.
            judged = {"unseen_classes": unseen_classes(backbone.pretraining), "weights_file": backbone.weights_file}
            speed = {"images_per_second": round((index.count - before) / seconds, 1)} if index.count > before else {}
            with parts.alone():  # an unrelated start may be as far, and done when it is our turn
                if _finished(out, origin, on_error) is None:
                    merge_parts(parts, backbone.dim, out, origin | judged | {"compute": compute} | speed)
    accelerator.wait_for_everyone()
    return read_json(out / MANIFEST_FILE)


def _encoder(backbone: Backbone, accelerator: Accelerator, batch_size: int, compiled: bool) -> tuple[Encode, bool]:
    """uint8 images to fp32 features on the device, in the precision of `accelerator`; and whether it is compiled."""
    backbone.encoder.to(accelerator.device)

    def encode(backbone: Backbone, images: Tensor) -> Tensor:
        with torch.inference_mode(), accelerator.autocast():
            return backbone.encode(images.to(accelerator.device, non_blocking=True)).float()

    def encode_padded(images: Tensor) -> Tensor:  # one shape, so that nothing is compiled twice
        missing = images.new_zeros(batch_size - len(images), *images.shape[1:])
        return encode(faster, torch.cat([images, missing]))[: len(images)]

    if compiled:
        faster = compile_backbone(backbone)
        crops = () if backbone.transform.crops == 1 else (backbone.transform.crops,)
        try:
            encode_padded(torch.zeros(1, *crops, 3, *backbone.transform.size, dtype=torch.uint8))
        except Exception as error:  # a compiler's failures have no common type, and each of them means the same here
            log.warning("--compile does not work here (%s); going on without", str(error).strip().splitlines()[0])
        else:
            return encode_padded, True
    return (lambda images: encode(backbone, images)), False


def _encode_shards(encode: Encode, batches: Iterator[Batch], parts: Parts, dim: int) -> Iterator[int]:
    """Write the part of each shard when its last batch is done; yields how many images each batch had."""
    done: list[Batch] = []
    features: list[Tensor] = []
    for batch in batches:
        if batch.images is not None:
            features.append(encode(batch.images))
        done.append(batch)
        yield len(batch.samples)
        if batch.last:
            parts.write(batch.shard, _part(done, features, dim))
            done, features = [], []


def _part(batches: list[Batch], features: list[Tensor], dim: int) -> Part:
    failures = tuple(failure for batch in batches for failure in batch.failures)
    broken = [failure for failure in failures if failure.row is None]
    if broken:  # of a shard that cannot be read to its end nothing is kept
        nothing = np.zeros(0, dtype=np.int64)
        return Part(rows=nothing, labels=nothing, features=np.zeros((0, dim), np.float32), failures=tuple(broken))
    samples = [sample for batch in batches for sample in batch.samples]
    stacked = torch.cat(features).cpu().numpy() if features else np.zeros((0, dim), np.float32)
    if not np.isfinite(stacked).all():
        bad = samples[np.flatnonzero(~np.isfinite(stacked).all(axis=1))[0]]
        raise ValueError(
            f"row {bad.row} ({bad.file}) of {batches[0].shard.file} gave a feature that is not finite; "
            "try --precision no"
        )
    return Part(
        rows=np.array([sample.row for sample in samples], dtype=np.int64),
        labels=np.array([sample.label for sample in samples], dtype=np.int64),
        features=stacked,
        failures=failures,
    )


def _origin(backbone: Backbone, index: ShardIndex, precision: str, decoder: Decoder) -> dict[str, Any]:
    """All that the numbers in a table depend on, and what a reader wants to know about it."""
    crop = "the row's box" if "shared_photos" in index.source else "none, whole image"
    options = {key: value for key, value in asdict(backbone.options).items() if key in ("flip", "layer", "fp32_layers")}
    finetuned = {"finetuned": backbone.finetuned.content()} if backbone.finetuned else {}
    return finetuned | {
        "format": FORMAT,
        "benchmark": index.benchmark,
        "source": index.source,
        "shards_sha256": index.sha256,
        "backbone": backbone.name,
        "pretraining": backbone.pretraining,
        "weights_sha256": backbone.weights_sha256,
        "transform": asdict(backbone.transform) | {"crop": crop, "decoder": decoder},
        "encode": options,
        "precision": precision,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "timm": timm.__version__,
        },
        "dim": backbone.dim,
    }


def _finished(out: Path, origin: dict[str, Any], on_error: OnError) -> dict[str, Any] | None:
    """The manifest of the table that is there, if it is of what was given now; versions may differ.

    An incomplete table is good enough only for those who asked for one.
    """
    if not (out / MANIFEST_FILE).is_file():
        return None
    manifest = read_json(out / MANIFEST_FILE)
    incomplete = on_error == "stop" and manifest.get("quarantined", 0)
    # Equal weights were tuned alike, whatever an earlier version had to say of it.
    free = {"versions", "source", "finetuned"}
    if incomplete:
        free |= {"shards_sha256"}  # a mended photo changes its shard
    for key in sorted(set(origin) - free):
        given = json.loads(json.dumps(origin[key]))
        if manifest.get(key) != given:
            raise ValueError(
                f"{out} was made with {key} = {manifest.get(key)!r}, asked for is {given!r}; "
                "delete that folder, or use another --data"
            )
    return None if incomplete else manifest


@contextmanager
def _full_disk_in_words(out: Path) -> Iterator[None]:
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
