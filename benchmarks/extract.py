"""Measure speed, memory and precision of feature extraction, beside the programs of others, in one run on the CPU.

    pip install -e '.[engines,offline]' -c constraints.txt   # optional: onnxruntime and OpenVINO
    python benchmarks/extract.py --json benchmark.json       # all four; minutes, and 1.5 GB for temporary files
    python benchmarks/extract.py --only decode --photos 64 --rounds 1

    speed      Time of ResNet-101 (random weights, 224 x 224) over the same photos, from decoding to the stored table.
               Ours is `extract_features` itself, from shards, in the precision that it takes here by default: bf16 if
               the processor has it, else fp32.  Compiling counts where `--compile auto` decides to compile.  Rows of
               their own have `--compile on` and `--engine openvino`, whose preparation does not count.  The competitors
               are the usual fp32 loop (ImageFolder, DataLoader with one worker a core, PIL, torchvision v1), WebDataset
               with a model that Accelerate prepared in that precision, onnxruntime in fp32, and OpenVINO in that
               precision, both with timm's own model and behind our decoder.  There are two bounds: our model on decoded
               photos, and the fastest convolution here at 15.6 GFLOP an image.
    decode     Time from photo bytes to a normalised fp32 batch in one thread, ours against PIL and torchvision v1.  The
               section also states the largest difference of the uint8 images in grey levels.
    memory     Peak memory of the engine at N and at 4 N photos, each in its own process.
    precision  Cosine of the bf16 and the fp32 feature of each image, with real weights and real photos.  Without bf16
               in the processor it is left out, because emulated bf16 takes hours.

A shared machine is noisy.  So the competitors take turns in each round, each ratio is computed within a round, and the
report has the median over the rounds.  `--seconds` ends each section after the round in which its time is up.
"""

from __future__ import annotations

import copy
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from importlib.util import find_spec
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import timm
import torch
import webdataset as wds
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from backbones import Backbone, EncodeOptions, Transform, decode_image, load_backbone
from backbones.engines import PACKAGES, Engine, Run, load_engine
from backbones.presets import OFFLINE_PRESET
from shards import ShardIndex, read_index, write_shards
from zsl.cli import run_script
from zsl.common.compute import Precision, available_cores, make_accelerator
from zsl.common.files import write_json
from zsl.common.ranges import Count, Positive
from zsl.datasets.instances import Instance
from zsl.datasets.shapes import ShapesConfig, draw_jpeg, make_design
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.manifest import Manifest
from zsl.features.stream import stream_batches

Section = Literal["speed", "decode", "memory", "precision"]
BATCH = 32
GFLOP = 15.6  # cost of one 224 x 224 image in ResNet-101: 2 x 7.8 G multiply-adds
# Input channels, output channels, kernel and side of ResNet-101's most frequent convolutions.
CONVOLUTIONS = ((256, 256, 3, 14), (512, 512, 3, 7), (128, 128, 3, 28), (1024, 256, 1, 14), (256, 1024, 1, 14))
FP32_LAYERS = ("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2")  # layers of the offline preset that bf16 hurts
PRECISIONS = {"no": "fp32", "bf16": "bf16"}  # of Accelerate, in words
HEADLINES = (
    "speedup",
    "speedup_compile",
    "speedup_engine",
    "decode_speedup",
    "waiting_share",
    "rss_ratio_4n",
    "min_cosine_bf16",
)
NAMES = {
    "plain": "plain loop: ImageFolder, PIL, fp32",
    "webdataset": "WebDataset, PIL, Accelerate",
    "onnxruntime": "onnxruntime fp32, our decoding",
    "openvino": "OpenVINO, our decoding",
    "compile": "ours --compile on (compiling not counted)",
    "engine": "ours --engine openvino (conversion not counted)",
    "ours": "ours",
    "model_alone": "bound: our model, photos decoded before",
    "ceiling": "bound: the fastest convolution",
}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure feature extraction on this machine's CPU."""

    images: Path | None = None  # folder of photos; default: CUB in $ZSL_SHARED_DATA or ../shared/data, else drawings
    photos: Count = 256  # photos of `speed` and `decode`, a multiple of the batch of 32
    rounds: Count = 3
    seconds: Positive = 900.0  # no section begins another round after so long
    memory_photos: Count = 1024  # N of `memory`; photos repeat if there are fewer
    precision_photos: Count = 3000  # most photos of `precision`
    only: tuple[Section, ...] = ("speed", "decode", "memory", "precision")
    json: Path | None = None  # also write the figures to this file
    job: str | None = None  # task of a process that this script starts; not for users


@dataclass(frozen=True, kw_only=True)
class Photos:
    """The same photos in two forms: as files in class folders for the competitors, and as shards."""

    folder: Path
    shards: Path
    index: ShardIndex


Loop = Callable[[Photos], float]  # processes all photos, and returns the seconds that count


def main(args: Args) -> None:
    os.environ["ACCELERATE_USE_CPU"] = "1"
    if args.job:
        print(json.dumps(run_job(Job(**json.loads(args.job)))))
        return
    if args.photos < BATCH or args.photos % BATCH:
        raise ValueError(f"--photos {args.photos} is not a multiple of the batch of {BATCH}")
    report: dict[str, Any] = dict.fromkeys(HEADLINES)
    report |= {"photos": args.photos, "rounds": args.rounds} | describe_machine()
    print(f"{report['cores']} cores of {report['processor']}; precision by default {report['precision']}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")  # so that compiling starts cold
        root, real = find_photos(args, folder / "drawn")
        files = sorted(root.rglob("*.jpg"))
        if len(files) < args.photos:
            raise ValueError(f"--photos {args.photos}: there are {len(files)} in {root}")
        report["real_photos"] = real
        chosen = files[:: len(files) // args.photos][: args.photos]  # from all classes
        if "speed" in args.only:
            report |= measure_speed(args, link_photos(chosen, folder / "speed"), folder)
        if "decode" in args.only:
            report |= measure_decoding(args, [file.read_bytes() for file in chosen])
        if "memory" in args.only:
            report |= measure_memory(args, files, folder / "memory")
        if "precision" in args.only:
            report |= measure_precision(args, files[: args.precision_photos] if real else [], folder / "precision")
    if args.json:
        write_json(args.json, report)


def describe_machine() -> dict[str, Any]:
    """Processor, cores, the vector instructions that PyTorch takes, and the precision that extraction takes here."""
    model = next((line for line in _cpuinfo() if line.startswith("model name")), "an unknown processor")
    return {
        "processor": f"{model.partition(':')[2].strip() or model} ({torch.backends.cpu.get_cpu_capability()})",
        "cores": available_cores(),
        "precision": PRECISIONS[default_precision()],
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


@cache
def default_precision() -> Literal["no", "bf16"]:
    """The precision that extraction takes on this processor by default."""
    return "bf16" if make_accelerator("auto").mixed_precision == "bf16" else "no"


class Rounds:
    """The rounds of a section, which end when the time is up; each tells what it took."""

    def __init__(self, args: Args, section: Section) -> None:
        self.args, self.section, self.started = args, section, time.monotonic()

    def __iter__(self) -> Iterator[int]:
        for number in range(self.args.rounds):
            yield number
            seconds = time.monotonic() - self.started
            print(f"  {self.section}: round {number + 1} of {self.args.rounds} after {seconds:.0f} s", flush=True)
            if seconds > self.args.seconds and number + 1 < self.args.rounds:
                print(f"  {self.section}: {self.args.seconds:g} s are up (--seconds), the median is of these rounds")
                return


# --- photos and weights ----------------------------------------------------------------------------------------------


def find_photos(args: Args, drawn: Path) -> tuple[Path, bool]:
    """Return the folder of photos, and whether they are real.  Without real photos, draw some below `drawn`."""
    shared = os.environ.get("ZSL_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    root = args.images or Path(shared) / "CUB_200_2011"
    if args.images or root.is_dir():
        return root, True
    config = ShapesConfig()
    design = make_design(config)
    for number in range(args.photos):
        image, class_id = divmod(number, len(design.names))
        file = drawn / design.names[class_id] / f"{image:04d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        photo = Image.open(io.BytesIO(draw_jpeg(design, class_id, image, config)))
        photo.resize((500, 375)).save(file, quality=90)  # the size of a common photo
    return drawn, False


def link_photos(files: list[Path], folder: Path) -> Photos:
    """Make both forms of `files`.  Enough photos give four shards of whole batches."""
    for file in files:
        link = folder / "files" / file.parent.name / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    size = max(BATCH, len(files) // 4 // BATCH * BATCH)
    index = pack(files, folder / "shards", size)
    return Photos(folder=folder / "files", shards=folder / "shards", index=index)


def pack(files: list[Path], out: Path, shard_size: int = 256) -> ShardIndex:
    """Pack `files` in this order into shards, one row each.  A file may occur several times."""
    root = Path(os.path.commonpath(files))
    rows = [Instance(row, 0, "", str(file.relative_to(root))) for row, file in enumerate(files)]
    return write_shards(rows, root, out, benchmark="bench", total=len(rows), source={}, shard_size=shard_size)


def first_shards(index: ShardIndex, number: int) -> ShardIndex:
    shards = index.shards[:number]
    return replace(index, shards=shards, count=sum(shard.count for shard in shards))


def random_weights(architecture: str, folder: Path) -> Path:
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(timm.create_model(architecture, pretrained=False).state_dict(), folder / f"{architecture}.safetensors")
    return folder / f"{architecture}.safetensors"


# --- speed -----------------------------------------------------------------------------------------------------------


def measure_speed(args: Args, photos: Photos, folder: Path) -> dict[str, Any]:
    """Time each competitor once over all photos in each round, after a warm-up with one shard."""
    progress = Rounds(args, "speed")
    runs, compile_seconds = competitors(photos, folder)
    small = replace(photos, index=first_shards(photos.index, 1))
    for name, run in runs.items():
        print(f"  warm-up of {NAMES[name]}: {run(small):.1f} s for {small.index.count} photos", flush=True)
    rounds: list[dict[str, float]] = []
    for number in progress:
        order = islice(cycle(runs), number, number + len(runs))  # each round begins with another competitor
        rounds.append({})
        for name in order:
            rounds[-1][name] = runs[name](photos)
            print(f"  {NAMES[name]}: {args.photos / rounds[-1][name]:.1f} images/s", flush=True)
    rates = {name: args.photos / median(seconds[name] for seconds in rounds) for name in runs}
    ratios = {name: median(seconds["plain"] / seconds[name] for seconds in rounds) for name in runs}
    waiting = median(1 - seconds["model_alone"] / seconds["ours"] for seconds in rounds)
    print(f"| ResNet-101, {args.photos} photos, {len(rounds)} rounds | images/s | ratio to the plain loop |")
    print("|---|---|---|")
    for name in runs:
        print(f"| {NAMES[name]} | {rates[name]:.1f} | {ratios[name]:.2f} |")
    for name in {"onnxruntime", "openvino"} & runs.keys():
        beside = median(seconds[name] / min(seconds["ours"], seconds["compile"]) for seconds in rounds)
        print(f"ours in PyTorch, the faster of both, is {beside:.2f} times as fast as {NAMES[name]}")
    again = median(compile_seconds[1:])
    print(f"compiling, before the first image: {compile_seconds[0]:.0f} s; at a later start in this run: {again:.1f} s")
    print(f"share of our time in which the model does not run: {waiting:.3f}")
    if waiting < 0:
        print("  (negative: the model alone was slower than model and decoding; the machine was too busy to tell)")
    rivals = ("compile", "engine", "webdataset", "onnxruntime", "openvino")
    return {f"speedup_{name}": ratios.get(name) for name in rivals} | {
        "speedup": ratios["ours"],
        "waiting_share": waiting,
        "ceiling_share": median(seconds["ceiling"] / seconds["ours"] for seconds in rounds),
        "ceiling_share_compile": median(seconds["ceiling"] / seconds["compile"] for seconds in rounds),
        "compile_seconds": compile_seconds[0],
        "images_per_second": rates,
        "seconds_of_rounds": rounds,
    }


def competitors(photos: Photos, folder: Path) -> tuple[dict[str, Loop], list[float]]:
    """Return the competitors by name, and a list to which the compiled one adds the seconds of each start."""
    accelerator = make_accelerator(default_precision())
    weights = random_weights("resnet101", folder)
    backbone = load_backbone("resnet101", weights)
    # The preset's published weights need this interpolation; a bare file of weights does not state it.
    backbone = replace(backbone, transform=replace(backbone.transform, interpolation="bilinear"))
    compile_seconds: list[float] = []

    def ours(photos: Photos) -> None:
        extract(photos, backbone, accelerator, ExtractSettings(batch_size=BATCH))

    def ours_compiled(photos: Photos) -> float:
        started = time.perf_counter()
        seconds = prepared(photos, ExtractSettings(batch_size=BATCH, compile="on"))
        compile_seconds.append(time.perf_counter() - started - seconds)
        return seconds

    def prepared(photos: Photos, settings: ExtractSettings) -> float:
        """The seconds of an extraction after the encoder is prepared."""
        return photos.index.count / (extract(photos, backbone, accelerator, settings).images_per_second or 0.0)

    # The loops of others run in another process, because ours changes its own (threads, memory).
    others = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def elsewhere(loop: Callable[..., float]) -> Loop:
        return lambda photos: others.submit(loop, photos, weights, backbone.transform).result()

    runs: dict[str, Loop] = {"plain": elsewhere(plain_loop), "webdataset": elsewhere(webdataset_loop)}
    for name, encode in runtimes(load_plain(weights)).items():
        runs[name] = timed(partial(runtime_loop, transform=backbone.transform, encode=encode))
    if "openvino" in runs:
        runs["engine"] = partial(prepared, settings=ExtractSettings(batch_size=BATCH, engine="openvino"))
    runs["compile"] = ours_compiled
    runs["ours"] = timed(ours)  # next to its two bounds, so that the three run close together in time
    runs["model_alone"] = model_alone(photos, backbone, accelerator)
    runs["ceiling"] = lambda photos: photos.index.count * GFLOP / max(convolution_rate(*c) for c in CONVOLUTIONS)
    return runs, compile_seconds


def timed(loop: Callable[[Photos], None]) -> Loop:
    def run(photos: Photos) -> float:
        started = time.perf_counter()
        loop(photos)
        return time.perf_counter() - started

    return run


def extract(photos: Photos, backbone: Backbone, accelerator: Accelerator, settings: ExtractSettings) -> Manifest:
    """Extract a table, and return its manifest, whose `images_per_second` leaves out how the encoder was prepared."""
    with tempfile.TemporaryDirectory() as out:
        return extract_features(backbone, photos.shards, photos.index, Path(out), accelerator, settings)


@cache
def load_plain(weights: Path) -> nn.Module:
    """The model without classifier as timm makes it: in NCHW, with separate batch normalisations."""
    model: Any = timm.create_model("resnet101", pretrained=False, checkpoint_path=str(weights))
    model.reset_classifier(0)
    return model.eval()


def plain_loop(photos: Photos, weights: Path, transform: Transform) -> float:
    model, started = load_plain(weights), time.perf_counter()
    dataset = ImageFolder(str(photos.folder), usual_transform(transform))
    dataset.samples = dataset.samples[: photos.index.count]
    loader = DataLoader(dataset, batch_size=BATCH, num_workers=torch.get_num_threads())
    with torch.no_grad():
        save([model(images) for images, _ in loader], photos)
    return time.perf_counter() - started


@cache
def load_prepared(weights: Path) -> nn.Module:
    """The plain model under Accelerate.  The loader stays as it is: prepared, it loses or repeats samples."""
    return Accelerator(cpu=True, mixed_precision=default_precision()).prepare(copy.deepcopy(load_plain(weights)))


def webdataset_loop(photos: Photos, weights: Path, transform: Transform) -> float:
    """Time WebDataset.  `partial` keeps the last batch; `empty_check` is off because workers may outnumber shards."""
    model, started = load_prepared(weights), time.perf_counter()
    shards = [str(photos.shards / shard.file) for shard in photos.index.shards]
    dataset = wds.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil").to_tuple("jpg")
    dataset = dataset.map_tuple(usual_transform(transform)).batched(BATCH, partial=True)
    loader = wds.WebLoader(dataset, batch_size=None, num_workers=torch.get_num_threads())
    with torch.no_grad():
        save([model(images) for (images,) in loader], photos)
    return time.perf_counter() - started


def runtime_loop(photos: Photos, transform: Transform, encode: Run) -> None:
    """Encode photos from our shards and our decoder with another runtime."""
    batches = stream_batches(
        photos.index.shards, photos.shards, transform, batch_size=BATCH, device=torch.device("cpu")
    )
    save([encode(transform.normalise(batch.images)) for batch in batches if batch.images is not None], photos)


def save(features: list[Tensor], photos: Photos) -> None:
    table = torch.cat(features).float().numpy()
    if len(table) != photos.index.count:
        raise ValueError(f"{len(table)} of {photos.index.count} photos have a feature")
    with tempfile.TemporaryFile() as out:
        np.save(out, table)


def runtimes(model: nn.Module) -> dict[str, Run]:
    """Convert the plain model for each other runtime that is installed."""
    engines: dict[Engine, str] = {"onnxruntime": "no", "openvino": default_precision()}
    encoders: dict[str, Run] = {}
    for engine, precision in engines.items():
        if absent := [name for name in PACKAGES[engine] if find_spec(name) is None]:
            print(f"{engine} not measured: {', '.join(absent)} not installed (extra engines)")
            continue
        encoders[engine] = load_engine(engine, model, torch.zeros(BATCH, 3, 224, 224), precision)
    return encoders


def model_alone(photos: Photos, backbone: Backbone, accelerator: Accelerator) -> Loop:
    batches = stream_batches(
        photos.index.shards, photos.shards, backbone.transform, batch_size=BATCH, device=accelerator.device
    )
    decoded = [batch.images for batch in batches if batch.images is not None]

    def run(photos: Photos) -> None:
        with torch.inference_mode(), accelerator.autocast():
            for images in decoded[: -(-photos.index.count // BATCH)]:
                backbone.encode(images).float()

    return timed(run)


def convolution_rate(inputs: int, outputs: int, kernel: int, side: int, repeats: int = 20) -> float:
    """GFLOP/s of a convolution with channels last, in oneDNN and in the precision that extraction takes here."""
    dtype = {"no": torch.float32, "bf16": torch.bfloat16}[default_precision()]
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, dtype=dtype)
    convolution.to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, inputs, side, side, dtype=dtype).to(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats):
            started = time.perf_counter()
            convolution(images)
            seconds.append(time.perf_counter() - started)
    return 2 * BATCH * inputs * outputs * (kernel * side) ** 2 / median(seconds) / 1e9


# --- decoding --------------------------------------------------------------------------------------------------------


def usual_transform(transform: Transform) -> transforms.Compose:
    """The usual torchvision transform, with the size, mean and deviation of ours."""
    resize = transforms.Resize(transform.size, transforms.InterpolationMode(transform.interpolation))
    return transforms.Compose([resize, transforms.ToTensor(), transforms.Normalize(transform.mean, transform.std)])


def measure_decoding(args: Args, photos: list[bytes]) -> dict[str, Any]:
    """Time both ways from bytes to normalised batches in one thread, in turn."""
    means, deviations = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    transform = Transform(size=(224, 224), mean=means, std=deviations, interpolation="bilinear")
    composed = usual_transform(transform)
    resize = composed.transforms[0]
    batches = [photos[start : start + BATCH] for start in range(0, len(photos), BATCH)]
    ratios, rates = [], []
    with one_thread():
        for _ in Rounds(args, "decode"):
            started = time.perf_counter()
            for batch in batches:
                transform.normalise(torch.stack([transform(decode_image(photo)) for photo in batch]))
            between = time.perf_counter()
            for batch in batches:
                torch.stack([composed(open_image(photo)) for photo in batch])
            ratios.append((time.perf_counter() - between) / (between - started))
            rates.append(len(photos) / (between - started))
        pairs = ((transform(decode_image(photo)), pil_to_tensor(resize(open_image(photo)))) for photo in photos)
        difference = max(int((ours.int() - usual.int()).abs().max()) for ours, usual in pairs)
    print(f"decoding in one thread: {median(ratios):.2f} times PIL + torchvision v1, {median(rates):.0f} photos/s;")
    print(f"  the uint8 images are at most {difference} grey levels apart")
    return {
        "decode_speedup": median(ratios),
        "decode_photos_per_second": median(rates),
        "max_grey_difference": difference,
    }


def open_image(photo: bytes) -> Image.Image:
    return Image.open(io.BytesIO(photo)).convert("RGB")


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --- memory and precision, each in its own process --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Job:
    """One extraction in its own process: that separates its peak memory, and Accelerate has one precision a process."""

    shards: str
    number: int  # number of shards to extract, from the first
    out: str
    backbone: str
    weights: str | None = None
    precision: Precision = field(default_factory=default_precision)
    options: dict[str, Any] = field(default_factory=dict)  # fields of EncodeOptions
    widen: int = 1  # number of copies of each feature, side by side


class Widened(nn.Module):
    """A model whose features are repeated, so that they are longer."""

    def __init__(self, model: nn.Module, times: int) -> None:
        super().__init__()
        self.model, self.times = model, times

    def forward(self, images: Tensor) -> Tensor:
        """Return the features [B, times * D] of images [B, 3, H, W]."""
        return self.model(images).repeat(1, self.times)


def run_job(job: Job) -> dict[str, Any]:
    index = first_shards(read_index(Path(job.shards)), job.number)
    weights = Path(job.weights) if job.weights else None
    backbone = load_backbone(job.backbone, weights, EncodeOptions(**job.options))
    backbone = replace(backbone, encoder=Widened(backbone.encoder, job.widen), dim=backbone.dim * job.widen)
    manifest = extract_features(backbone, job.shards, index, Path(job.out), make_accelerator(job.precision))
    return {name: getattr(manifest, name) for name in ("count", "dim", "images_per_second")} | {"peak_mib": peak_mib()}


def peak_mib() -> float:
    """Peak memory of this program in MiB.  `ru_maxrss` would start from the parent's peak after fork and exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def start(job: Job) -> dict[str, Any]:
    """Call `run_job` in a new process, and return its result."""
    command = [sys.executable, __file__, "--job", json.dumps(asdict(job))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ValueError(f"the job {job} failed, see above")
    return json.loads(done.stdout)


def measure_memory(args: Args, files: list[Path], folder: Path) -> dict[str, Any]:
    """Measure peak memory with a tiny model.  Its features have D = 16384, so that a table in memory would show."""
    count = 4 * args.memory_photos
    size = min(256, args.memory_photos // 2)
    shards = len(pack(list(islice(cycle(files), count)), folder / "shards", size).shards)
    weights = random_weights("test_vit", folder)
    peaks: dict[int, list[float]] = {1: [], 4: []}
    for number in Rounds(args, "memory"):
        for times in (1, 4):
            job = Job(
                shards=str(folder / "shards"), number=shards * times // 4, out=str(folder / f"{times}n-{number}"),
                backbone="test_vit", weights=str(weights), widen=256,
            )  # fmt: skip
            result = start(job)
            peaks[times].append(result["peak_mib"])
    ratio = median(four / one for one, four in zip(peaks[1], peaks[4], strict=True))
    table = result["count"] * result["dim"] * 4 / 2**20
    print(f"peak memory at N = {args.memory_photos}: {median(peaks[1]):.0f} MiB, at 4 N: {median(peaks[4]):.0f} MiB, ")
    print(f"  ratio {ratio:.3f}; the table of 4 N, {result['count']} x {result['dim']} floats, has {table:.0f} MiB")
    return {
        "rss_ratio_4n": ratio,
        "rss_mib_n": median(peaks[1]),
        "rss_mib_4n": median(peaks[4]),
        "memory_n": args.memory_photos,
        "memory_dim": result["dim"],
    }


def measure_precision(args: Args, files: list[Path], folder: Path) -> dict[str, Any]:
    """Compare features of the offline preset in fp32, in bf16, and in bf16 with its first layers in fp32."""
    if not files:
        print("precision not measured: drawn photos say nothing about it")
        return {}
    if default_precision() == "no":
        print("precision not measured: this processor has no bf16")
        return {}
    try:
        load_backbone(OFFLINE_PRESET)
    except FileNotFoundError as error:
        print(f"precision not measured: {error}")
        return {}
    shards = len(pack(files, folder / "shards").shards)
    kinds: dict[str, tuple[Precision, tuple[str, ...]]] = {
        "fp32": ("no", ()),
        "bf16": ("bf16", ()),
        "fp32_layers": ("bf16", FP32_LAYERS),
    }
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in Rounds(args, "precision"):
        for kind, (precision, layers) in kinds.items():
            job = Job(
                shards=str(folder / "shards"), number=shards, out=str(folder / f"{kind}-{number}"),
                backbone=OFFLINE_PRESET, precision=precision, options={"fp32_layers": layers},
            )  # fmt: skip
            rates[kind].append(start(job)["images_per_second"])
    tables = {kind: torch.from_numpy(np.load(folder / f"{kind}-0" / "features.npy")) for kind in kinds}
    cosines = {kind: torch.cosine_similarity(tables["fp32"], tables[kind], dim=1) for kind in kinds}
    print(f"| {OFFLINE_PRESET}, {len(files)} photos | min cosine to fp32 | mean | images/s |")
    print("|---|---|---|---|")
    for kind, cosine in cosines.items():
        print(f"| {kind} | {cosine.min():.5f} | {cosine.mean():.5f} | {median(rates[kind]):.0f} |")
    figures = {f"min_cosine_{kind}": float(cosines[kind].min()) for kind in kinds if kind != "fp32"}
    figures |= {f"mean_cosine_{kind}": float(cosines[kind].mean()) for kind in kinds if kind != "fp32"}
    return figures | {"precision_images_per_second": {kind: median(rates[kind]) for kind in kinds}}


if __name__ == "__main__":
    run_script(main, Args)
