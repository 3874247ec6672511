"""Measure extraction on a GPU beside the usual loop, in one run, and features of the GPU beside those of the CPU.

    python benchmarks/gpu.py --json gpu.json                 # ResNet-101 with random weights, 224 x 224
    python benchmarks/gpu.py --copies 10 --batch-size 64

plain      ImageFolder, a DataLoader with one worker a core and pinned memory, PIL, torchvision v1, timm's model.  One
           loop is in fp32 (PyTorch lets convolutions round to TF32), the other in bf16 by autocast with channels last.
ours       `extract_features` itself, from shards to the stored table, in bf16: with its defaults, with the same batch
           as the loops, and there with `--compile on` and `--decoder nvjpeg`.  Compiling does not count.
bounds     Our model on photos that were decoded before, plain and compiled, and our decoding without a model.

The competitors take turns in each round, and the report has the median of the rounds.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from accelerate import Accelerator
from extract import Photos, extract, load_plain, pack, random_weights, save, usual_transform
from extract import find_photos as photos_or_drawings
from extract import link_photos as in_both_forms
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from backbones import Backbone, Transform, load_backbone
from backbones.presets import OFFLINE_PRESET
from zsl.cli import run_script
from zsl.common.compute import available_cores, make_accelerator
from zsl.common.files import write_json
from zsl.common.ranges import Count
from zsl.features.encoder import compiled_encoder, plain_encoder
from zsl.features.extract import ExtractSettings
from zsl.features.stream import stream_batches

MODEL = "resnet101"
PRECISIONS = {"plain fp32": None, "plain bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure feature extraction on this machine's GPU."""

    images: Path | None = None  # folder of photos; default: CUB in $ZSL_SHARED_DATA or ../shared/data, else drawings
    photos: Count = 128  # different photos
    copies: Count = 40  # how often each of them is extracted
    batch_size: Count = 256
    rounds: Count = 3
    json: Path | None = None  # also write the figures to this file


Loop = Callable[[], float]  # processes all photos, and returns the seconds that count


def main(args: Args) -> None:
    if not torch.cuda.is_available():
        raise ValueError("no GPU here; benchmarks/extract.py measures on a CPU")
    accelerator = make_accelerator("bf16")
    report: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(), "cores": available_cores(), "torch": torch.__version__,
        "photos": args.photos * args.copies, "batch_size": args.batch_size,
    }  # fmt: skip
    print(report, flush=True)
    with tempfile.TemporaryDirectory() as name:
        photos = prepare(args, Path(name))
        weights = random_weights(MODEL, Path(name))
        backbone = load_backbone(MODEL, weights)
        backbone = replace(backbone, transform=replace(backbone.transform, interpolation="bilinear"))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as others:
            loops = competitors(args, photos, backbone, weights, accelerator, others)
            report["images_per_second"] = measure(args, loops)
        report["smallest_cosine"] = compare_precisions(photos, args)
    if args.json:
        write_json(args.json, report)


def prepare(args: Args, folder: Path) -> Photos:
    """Make both forms of the photos: files, and shards with each photo `copies` times."""
    root, _ = photos_or_drawings(args, folder / "drawn")  # type: ignore[arg-type]  # it asks for images and photos
    files = sorted(root.rglob("*.jpg"))[: args.photos]
    photos = in_both_forms(files, folder / "photos")
    index = pack(files * args.copies, folder / "copies", shard_size=2 * args.batch_size)
    return replace(photos, shards=folder / "copies", index=index)


def competitors(
    args: Args, photos: Photos, backbone: Backbone, weights: Path, accelerator: Accelerator, others: ProcessPoolExecutor
) -> dict[str, Loop]:
    """Return the competitors by name.  The usual loops run in another process, because ours changes its own."""

    def ours(**settings: Any) -> float:
        """The seconds after the encoder is prepared."""
        manifest = extract(photos, backbone, accelerator, ExtractSettings(**settings))
        return photos.index.count / (manifest.images_per_second or 0.0)

    whole = {"batch_size": args.batch_size}
    loops: dict[str, Loop] = {
        name: lambda name=name: others.submit(usual_loop, name, photos, weights, backbone.transform, args).result()
        for name in PRECISIONS
    }
    loops |= {
        "ours, batch of 32": ours,
        "ours": partial(ours, **whole),
        "ours, compiled": partial(ours, **whole, compile="on"),
        "ours, nvjpeg": partial(ours, **whole, decoder="nvjpeg"),
        "ours, nvjpeg, compiled": partial(ours, **whole, decoder="nvjpeg", compile="on"),
    }
    return loops | bounds(args, photos, backbone, accelerator)


def bounds(args: Args, photos: Photos, backbone: Backbone, accelerator: Accelerator) -> dict[str, Loop]:
    """Our model without decoding, and our decoding without a model."""

    def batches() -> Any:
        return stream_batches(
            photos.index.shards, photos.shards, backbone.transform, batch_size=args.batch_size,
            device=accelerator.device,
        )  # fmt: skip

    def encoding(make: Callable[[], Any]) -> float:
        encode = prepared(make)
        if encode is None:  # the compiler does not work here, as a warning has said
            return math.nan
        started = time.perf_counter()
        for images in decoded():
            encode(images)
        torch.cuda.synchronize()
        return time.perf_counter() - started

    def decoding() -> float:
        started = time.perf_counter()
        for _ in batches():
            pass
        return time.perf_counter() - started

    decoded = cache(lambda: [batch.images for batch in batches() if batch.images is not None])
    prepared = cache(lambda make: make())
    plain = partial(plain_encoder, backbone, accelerator)
    fast = partial(compiled_encoder, backbone, accelerator, args.batch_size)
    return {
        "bound: the model": partial(encoding, plain),
        "bound: the compiled model": partial(encoding, fast),
        "bound: decoding": decoding,
    }


def usual_loop(name: str, photos: Photos, weights: Path, transform: Transform, args: Args) -> float:
    """Time the loop that one would write first."""
    dtype, model, started = PRECISIONS[name], on_gpu(weights, name), time.perf_counter()
    dataset = ImageFolder(str(photos.folder), usual_transform(transform))
    dataset.samples = dataset.samples * args.copies
    loader = DataLoader(dataset, batch_size=args.batch_size, num_workers=available_cores(), pin_memory=True)
    features = []
    with torch.no_grad(), torch.autocast("cuda", dtype, enabled=dtype is not None):
        for images, _ in loader:
            moved = images.cuda(non_blocking=True)
            features.append(model(moved if dtype is None else moved.to(memory_format=torch.channels_last)).cpu())
    save(features, photos)
    return time.perf_counter() - started


@cache
def on_gpu(weights: Path, name: str) -> nn.Module:
    """The model of a loop, whose process keeps it between the rounds."""
    model = load_plain(weights).cuda()
    return model if PRECISIONS[name] is None else model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def measure(args: Args, loops: dict[str, Loop]) -> dict[str, float]:
    """Images per second of each competitor, the median of the rounds; a round before them warms up."""
    count = args.photos * args.copies
    for name, run in loops.items():
        print(f"  warm-up of {name}: {run():.1f} s", flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(args.rounds):
        for name, run in loops.items():
            seconds[name].append(run())
    rates = {name: count / median(times) for name, times in seconds.items()}
    print("| ResNet-101, 224 x 224 | images/s | ratio to the bf16 loop |\n|---|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.0f} | {rate / rates['plain bf16']:.2f} |")
    return rates


def compare_precisions(photos: Photos, args: Args) -> dict[str, float]:
    """The smallest cosine of features on the GPU and in fp32 on the CPU, with ImageNet weights if they are here."""
    try:
        backbone = load_backbone(OFFLINE_PRESET)
    except FileNotFoundError as error:
        print(f"precision not measured: {error}")
        return {}
    batches = stream_batches(
        photos.index.shards[:1], photos.shards, backbone.transform, batch_size=args.photos, device=torch.device("cpu")
    )
    images = next(batch.images for batch in batches if batch.images is not None)
    with torch.inference_mode():
        expected = backbone.encode(images).double()
        backbone.encoder.cuda()
        cosines = {}
        for name, dtype in {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}.items():
            with torch.autocast("cuda", dtype, enabled=dtype is not None):
                features = backbone.encode(images.cuda()).cpu().double()
            cosines[name] = float(torch.cosine_similarity(features, expected).min())
    print(f"{backbone.name}, smallest cosine to fp32 on the CPU over {len(images)} photos: {cosines}")
    return cosines


if __name__ == "__main__":
    run_script(main, Args)
