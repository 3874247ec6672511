"""All benchmarks that have a name.  To add one, write its reader's file like `awa.py` and add a line here."""

from __future__ import annotations

from zsl.common.text import did_you_mean
from zsl.datasets import apy, awa, cub, folders, sun
from zsl.datasets.dataset import Dataset

DATASETS: dict[str, Dataset] = {
    "cub": cub.CUB,
    "awa1": awa.AWA1,
    "awa2": awa.AWA2,
    "apy": apy.APY,
    "sun": sun.SUN,
    "shapes": folders.SHAPES,
}


def find_dataset(name: str) -> Dataset:
    """The benchmark called `name`.

    Raises:
        ValueError: there is none.
    """
    if name not in DATASETS:
        raise ValueError(
            f"no benchmark {name!r}{did_you_mean(name, DATASETS)}; there are {', '.join(sorted(DATASETS))}, and a "
            "folder of your own, with images/ in it, by its path"
        )
    return DATASETS[name]


def recognise(split_hashes: tuple[str, str, str]) -> Dataset | None:
    """The benchmark whose split has these hashes; None where the split is unknown."""
    return next((dataset for dataset in DATASETS.values() if dataset.split_hashes == split_hashes), None)
