"""The side information of a run that is no attributes of its benchmark: kept in the run's folder, for later readers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from zsl.common.tensors import read_tensors, write_tensors
from zsl.datasets.splits import ATTRIBUTES, Splits
from zsl.features.facts import DataFacts

SIDE_FILE = "side_information.safetensors"
REMEDY = "train the run anew under another --name"


def keep_side_information(splits: Splits, folder: Path) -> None:
    """Write the vectors [C, V] of all classes into the folder of a run, unless they are the benchmark's attributes."""
    if splits.side_information != ATTRIBUTES:
        write_tensors(folder / SIDE_FILE, {"attributes": torch.from_numpy(splits.attributes)})


def with_kept(splits: Splits, facts: DataFacts, folder: Path) -> Splits:
    """The splits with the side information of the run in `folder`.

    Raises:
        FileNotFoundError, ValueError: its file is absent, damaged, or of other classes.
    """
    if facts.side_information == ATTRIBUTES:
        return splits
    tensors, _ = read_tensors(folder / SIDE_FILE, REMEDY)
    vectors = tensors.get("attributes", torch.empty(0))
    if vectors.ndim != 2 or len(vectors) != len(splits.class_names):
        raise ValueError(
            f"{folder / SIDE_FILE} holds attributes {list(vectors.shape)}, needed is a row for each of "
            f"{len(splits.class_names)} classes; {REMEDY}"
        )
    return replace(
        splits, attributes=vectors.numpy(), attribute_kind=facts.attributes,
        side_information=facts.side_information, attribute_names=(),
    )  # fmt: skip
