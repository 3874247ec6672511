"""A benchmark of your own, from photos and two tables to scores.  The photos are drawn here, so that it runs at once.

python examples/own_benchmark.py      # writes colours/ and data/colours/; half a minute
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

import zsl
from backbones import load_backbone
from shards import read_index
from zsl.scores import Scores

COLOURS = ("red", "green", "blue")
CLASSES = tuple(product(COLOURS, ("plain", "striped")))
UNSEEN = ("blue", "striped")


def draw(folder: Path, photos: int) -> None:
    """Write images/<class>/, attributes.csv and splits.csv, as docs/own-benchmark.md describes them."""
    rng = np.random.default_rng(0)
    strengths, splits = [f"class,{','.join(COLOURS)},striped"], ["class,split"]
    for colour, fill in CLASSES:
        images = folder / "images" / f"{colour} {fill}"
        images.mkdir(parents=True, exist_ok=True)
        for number in range(photos):
            pixels = rng.integers(0, 80, (64, 64, 3), dtype=np.uint8)
            pixels[:: 8 if fill == "striped" else 1, :, COLOURS.index(colour)] += 150
            Image.fromarray(pixels).save(images / f"{number}.png")
        strengths.append(f"{images.name},{','.join(str(int(c == colour)) for c in COLOURS)},{int(fill == 'striped')}")
        splits.append(f"{images.name},{'unseen' if (colour, fill) == UNSEEN else 'seen'}")
    (folder / "attributes.csv").write_text("\n".join(strengths) + "\n")
    (folder / "splits.csv").write_text("\n".join(splits) + "\n")


def main(
    folder: Path = Path("colours"), backbone: str = "efficientnet_lite0", weights: Path | None = None,
    photos: int = 20, data: Path = Path("data"),
) -> Scores:  # fmt: skip
    """Draw, pack, extract features with `backbone`, train ESZSL, and print its scores."""
    folder = folder.resolve()
    draw(folder, photos)
    zsl.make_shards(str(folder), data)
    encoder, shards = load_backbone(backbone, weights), zsl.shards_folder(data, folder.name)
    out = zsl.features_folder(data, folder.name, encoder.name)
    zsl.extract_features(encoder, shards, read_index(shards), out, zsl.make_accelerator("no"))
    table = zsl.read_features(out)
    train, test = zsl.split_features(table, zsl.load_splits(folder.name, data, table))
    method, _ = zsl.method_and_recipe("eszsl", folder.name)
    scores = zsl.evaluate(method.train(train, method.config, seed=0), test)
    print(f"{' '.join(UNSEEN)}: AUSUC {scores.ausuc:.1%}; seen classes {scores.acc_seen:.1%} at γ = 0")
    return scores


if __name__ == "__main__":
    tyro.cli(main)
