"""Shards to features, each image exactly once, under Accelerate mixed precision.

    accelerate launch scripts/extract.py                                   # `shapes`, offline weights
    accelerate launch scripts/extract.py --benchmark cub                   # ResNet-101, tv_in1k
    ACCELERATE_USE_CPU=1 torchrun --nproc-per-node 2 scripts/extract.py    # two CPU processes

A killed run goes on where it was: start the same command again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backbones import load_backbone
from zsl.cli import default_backbone, run_script
from zsl.compute import Precision, make_accelerator
from zsl.data import features_folder, open_shards, shards_folder
from zsl.extract import extract_features


@dataclass(frozen=True, kw_only=True)
class Args:
    """Extract features of all photos of a benchmark."""

    benchmark: str = "shapes"
    backbone: str | None = None
    """Preset or any timm model; default resnet101, for shapes the offline preset."""
    weights: Path | None = None
    """Weights file (.safetensors or .pth) instead of the published weights."""
    precision: Precision = "auto"
    """auto: what accelerate_config.yaml says, if this hardware has it."""
    data: Path = Path("data")
    batch_size: int = 32


def main(args: Args) -> None:
    """Write the feature table and say where it is."""
    accelerator = make_accelerator(args.precision)
    with accelerator.main_process_first():
        index = open_shards(args.benchmark, args.data)
    backbone = load_backbone(args.backbone or default_backbone(args.benchmark), args.weights)
    out = features_folder(args.data, args.benchmark, backbone.name)
    shards = shards_folder(args.data, args.benchmark)
    manifest = extract_features(backbone, shards, index, out, accelerator, batch_size=args.batch_size)
    if accelerator.is_main_process:
        print(
            f"{out}: {manifest['count']:,} images x {manifest['dim']} from {manifest['backbone']}, "
            f"precision {manifest['precision']}, {manifest.get('images_per_second', '?')} images/s"
        )
    accelerator.end_training()


if __name__ == "__main__":
    run_script(main, Args)
