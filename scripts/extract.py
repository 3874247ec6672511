"""Extract the features of all photos in shards, each exactly once; or read and write features as `res101.mat`.

    accelerate launch scripts/extract.py                                   # `shapes`, offline weights
    accelerate launch scripts/extract.py --benchmark cub                   # ResNet-101, tv_in1k
    accelerate launch scripts/extract.py --benchmark cub --backbone resnet50+swin_base-384px    # photos decoded once
    accelerate launch scripts/extract.py --benchmark cub --shards s3://bucket/cub/shards
    ACCELERATE_USE_CPU=1 torchrun --nproc-per-node 2 scripts/extract.py    # two CPU processes
    python scripts/extract.py --benchmark cub --import-mat res101.mat --splits xlsa17/data/CUB

Accelerate's mixed precision is in use.  After a kill, the same command continues the run.  docs/extraction.md tells
about GPUs, clusters and object storage.
"""

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from backbones import EncodeOptions, find_preset
from backbones.engines import Engine
from backbones.options import named_options
from zsl.cli import default_backbone, run_script
from zsl.common.compute import Precision, make_accelerator
from zsl.common.profile import profiled
from zsl.common.ranges import Count
from zsl.datasets.pack import open_or_draw_shards
from zsl.datasets.places import features_folder, shards_folder
from zsl.features.choice import Compile
from zsl.features.join import check_distinct, part_names
from zsl.features.manifest import Manifest
from zsl.features.mat import export_mat, import_mat
from zsl.features.stream import Decoder, OnError

if TYPE_CHECKING:
    from backbones import Backbone

OF_PHOTOS = (
    "backbone", "weights", "precision", "batch_size", "compile", "engine", "shards", "on_error", "decoder", "profile",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Args:
    """Extract features of all photos of a benchmark."""

    benchmark: str = "shapes"  # shapes, awa1, awa2, apy, cub, sun, or a folder of your own
    backbone: str | None = None
    """Preset or any timm model, several joined by +; default: resnet101, but the offline preset for shapes."""
    weights: Path | None = None  # weights file (.safetensors or .pth) instead of the published weights
    precision: Precision = "auto"  # auto: the precision in accelerate_config.yaml, if this hardware has it
    data: Path = Path("data")  # where shards and features lie
    batch_size: Count = 32  # photos that the backbone encodes at a time
    compile: Compile = "auto"  # use torch.compile; auto: if the table is so large that compiling, a minute, pays
    engine: Engine = "torch"  # the program that runs the encoder; the others are in the extra `engines`, for CPUs
    shards: str | None = None  # place of the shards, a folder or a URL (s3://, gs://, …); default: below --data
    allow_pipe: bool = False  # let --shards be 'pipe:COMMAND'; the command runs with {file} filled in
    on_error: OnError = "stop"  # quarantine: leave out and list unreadable photos, and mark the table incomplete
    decoder: Decoder = "cpu"  # nvjpeg: decode on the GPU; pixels may differ by a few grey levels
    profile: bool = False  # print where the time went, and write it beside the table, with a trace
    options: Annotated[EncodeOptions, arg(name="")] = field(default_factory=EncodeOptions)
    export_mat: Path | None = None  # also write the table to this file in the form of res101.mat
    import_mat: Path | None = None  # make the table from this res101.mat, not from photos, and name it after the file
    splits: Path | None = None  # for --import-mat: folder with att_splits.mat, where --data has no copy of it


def main(args: Args) -> None:
    """Write the feature table and print its folder."""
    from zsl.features.extract import ExtractSettings, extract_tables

    _check_flags(args)
    settings = ExtractSettings(
        batch_size=args.batch_size, compile=args.compile, engine=args.engine, on_error=args.on_error,
        allow_pipe=args.allow_pipe, decoder=args.decoder,
    )  # fmt: skip
    accelerator = make_accelerator(args.precision)
    with accelerator.main_process_first():
        if args.import_mat:
            made = [import_mat(args.import_mat, args.benchmark, args.data, splits=args.splits)]
        else:
            index = open_or_draw_shards(args.benchmark, args.data, args.shards, allow_pipe=args.allow_pipe)
    shards = args.shards or shards_folder(args.data, args.benchmark)
    if not args.import_mat:
        tables = _tables(args)
        with profiled(tables[0][1] if args.profile and accelerator.is_main_process else None):
            manifests = extract_tables(tables, shards, index, accelerator, settings)
        made = [(out, manifest) for (_, out), manifest in zip(tables, manifests, strict=True)]
    if accelerator.is_main_process:
        for out, manifest in made:
            print(f"{out}: {manifest.count:,} images x {manifest.dim} from {_origin(manifest)}")
        if args.export_mat:
            export_mat(made[0][0], args.export_mat, shards, allow_pipe=args.allow_pipe)


def _parts(args: Args) -> list[tuple[str, EncodeOptions]]:
    """The name and the options of each backbone that --backbone names.

    Raises:
        ValueError: a part is empty, unknown or there twice; or a flag is for one backbone, and there are several.
    """
    names = part_names(args.backbone or default_backbone(args.benchmark))
    one_of_each = {"--weights": args.weights, "--export-mat": args.export_mat}
    if len(names) > 1 and (flags := [flag for flag, value in one_of_each.items() if value is not None]):
        raise ValueError(f"{', '.join(flags)}: that is for one backbone, --backbone {args.backbone} names {len(names)}")
    parts = [named_options(name, args.options) for name in names]
    check_distinct(names, [find_preset(name).full_name + options.tag for name, options in parts])
    return parts


def _tables(args: Args) -> list[tuple["Backbone", Path]]:
    """The backbones that --backbone names, each with the folder of its table."""
    from backbones import load_backbone

    loaded = [load_backbone(name, args.weights, options) for name, options in _parts(args)]
    return [(backbone, features_folder(args.data, args.benchmark, backbone.name)) for backbone in loaded]


def _check_flags(args: Args) -> None:
    """Refuse flags without an effect: an imported table has no photos, weights or precision of ours."""
    if args.splits and not args.import_mat:
        raise ValueError("--splits is for --import-mat; shards have brought their splits along")
    if not args.import_mat:
        _parts(args)
    default = Args()
    idle = [name for name in OF_PHOTOS if getattr(args, name) != getattr(default, name)]
    idle += [name for name in asdict(default.options) if getattr(args.options, name) != getattr(default.options, name)]
    if args.import_mat and idle:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise ValueError(f"--import-mat takes features as they are in the file; leave {flags} out, or --import-mat")


def _origin(manifest: Manifest) -> str:
    """Say where the features come from, as far as the manifest states it."""
    if manifest.imported:
        return (
            f"{manifest.imported.file}, which does not say by which weights and precision; its name as a backbone is "
            f"--backbone {manifest.backbone}"
        )
    speed = f", {manifest.images_per_second} images/s" if manifest.images_per_second else ""
    engine = f", engine {manifest.engine}" if manifest.engine else ""
    return f"{manifest.backbone}, precision {manifest.precision}{engine}{speed}"


if __name__ == "__main__":
    run_script(main, Args)
