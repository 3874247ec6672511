"""Embed the names of a benchmark's classes by the text tower of a CLIP or SigLIP model: class vectors for training.

    accelerate launch scripts/extract.py --benchmark cub --backbone openclip_ViT-B-32.openai
    python scripts/embed_names.py --benchmark cub --backbone openclip_ViT-B-32.openai --out names.npy
    accelerate launch scripts/train_dcrgan.py --benchmark cub --backbone openclip_ViT-B-32.openai --method clip \
        --class-vectors names.npy

The names are those of data/<benchmark>/names.csv, which you may edit.  It needs the extra `clip`.  docs/clip.md says
what such a row may stand beside.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass
from pathlib import Path

import tyro

from zsl.cli import run_script
from zsl.datasets.places import names_file, splits_folder


@dataclass(frozen=True, kw_only=True)
class Args:
    """Embed names of classes."""

    benchmark: str = "shapes"  # shapes, awa1, awa2, apy, cub, sun, or a folder of your own
    backbone: str = tyro.MISSING  # openclip_MODEL.TAG, as open_clip calls model and weights, or openclip_MODEL
    weights: Path | None = None  # file of weights of both towers, instead of published ones
    templates: tuple[str, ...] = ()  # texts with {} for the name, several are averaged; default: by the benchmark
    out: Path | None = None  # file .npy; default: below --data, with the name of the backbone
    data: Path = Path("data")  # where shards and features lie


def main(args: Args) -> None:
    """Embed the names, and print the file."""
    from backbones.openclip import open_tokenizer
    from backbones.presets import find_preset
    from zsl.datasets.class_names import read_names
    from zsl.datasets.class_vectors import check_vectors_name, write_class_vectors
    from zsl.datasets.places import benchmark_name, check_known
    from zsl.datasets.prompts import make_prompts, templates_of
    from zsl.datasets.split_file import read_split_file
    from zsl.features.text_vectors import embed_names, open_towers

    if args.out:
        check_vectors_name(args.out)
    check_known(args.benchmark, args.data)
    benchmark = benchmark_name(args.benchmark)
    classes = read_split_file(splits_folder(args.data, args.benchmark)).class_names
    names = read_names(names_file(args.data, args.benchmark), classes)
    templates = args.templates or templates_of(benchmark, find_preset(args.backbone).timm_name)
    make_prompts(names, templates)  # refuses a wrong template before the weights are fetched
    preset, model, tower = open_towers(args.backbone, args.weights)
    vectors = embed_names(model, open_tokenizer(preset), names, templates, lower=tower.is_lower)
    out = args.out or args.data / benchmark / "class_vectors" / f"{tower.name}.npy"
    write_class_vectors(out, classes, vectors.numpy(), tower.of(templates))
    print(f"{len(names)} classes, {vectors.shape[1]} numbers each; {' | '.join(templates)}", out, sep="\n")


if __name__ == "__main__":
    run_script(main, Args)
