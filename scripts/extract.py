"""Shards to features, each image exactly once, under Accelerate mixed precision; or features from and to `res101.mat`.

    accelerate launch scripts/extract.py                                   # `shapes`, offline weights
    accelerate launch scripts/extract.py --benchmark cub                   # ResNet-101, tv_in1k
    ACCELERATE_USE_CPU=1 torchrun --nproc-per-node 2 scripts/extract.py    # two CPU processes
    python scripts/extract.py --benchmark cub --import-mat res101.mat --splits xlsa17/data/CUB

A killed run goes on where it was: start the same command again.
"""

from dataclasses import dataclass
from pathlib import Path

from backbones import load_backbone
from zsl.cli import default_backbone, run_script
from zsl.compute import Precision, make_accelerator
from zsl.data import features_folder, open_shards, shards_folder
from zsl.extract import extract_features
from zsl.mat import export_mat, import_mat


@dataclass(frozen=True, kw_only=True)
class Args:
    """Extract features of all photos of a benchmark."""

    benchmark: str = "shapes"
    backbone: str | None = None  # preset or any timm model; default resnet101, for shapes the offline preset
    weights: Path | None = None  # weights file (.safetensors or .pth) instead of the published weights
    precision: Precision = "auto"  # auto: what accelerate_config.yaml says, if this hardware has it
    data: Path = Path("data")
    batch_size: int = 32
    export_mat: Path | None = None  # also write the table to this file in the form of res101.mat
    import_mat: Path | None = None  # make the table, named after the file, from this res101.mat instead of photos
    splits: Path | None = None  # for --import-mat: folder with att_splits.mat, where --data has no copy of it


def main(args: Args) -> None:
    """Write the feature table and say where it is."""
    accelerator = make_accelerator(args.precision)
    with accelerator.main_process_first():
        if args.import_mat:
            out, made = import_mat(args.import_mat, args.benchmark, args.data, splits=args.splits)
        else:
            index = open_shards(args.benchmark, args.data)
    shards = shards_folder(args.data, args.benchmark)
    if not args.import_mat:
        backbone = load_backbone(args.backbone or default_backbone(args.benchmark), args.weights)
        out = features_folder(args.data, args.benchmark, backbone.name)
        made = extract_features(backbone, shards, index, out, accelerator, batch_size=args.batch_size)
    if accelerator.is_main_process:
        print(f"{out}: {made['count']:,} images x {made['dim']} from {made['backbone']}, ", end="")
        print(f"precision {made['precision']}, {made.get('images_per_second', '?')} images/s")
        if args.export_mat:
            export_mat(out, args.export_mat, shards)
    accelerator.end_training()


if __name__ == "__main__":
    run_script(main, Args)
