"""A model's answers for each test image, in memory and on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from zsl.common.tensors import read_tensors, write_tensors

DETAILS_FILE = "details.safetensors"
REMEDY = "score the model anew"


@dataclass(frozen=True, kw_only=True, eq=False)
class Details:
    """A model's answers for each test image, on the CPU; they determine all scores and intervals."""

    zsl_classes: Tensor  # [U] class ids
    gzsl_classes: Tensor  # [S + U] ids of the scores' columns
    seen_rows: Tensor  # [N] official rows of the test_seen images; [0] where the rows are unknown
    seen_labels: Tensor  # [N] true class ids
    seen_predicted: Tensor  # [N] predicted class ids, of all classes
    seen_scores: Tensor  # [N, S + U] float32, GZSL
    unseen_rows: Tensor  # the same for the test_unseen images
    unseen_labels: Tensor
    unseen_predicted: Tensor
    unseen_scores: Tensor
    unseen_zsl_predicted: Tensor  # [N] predicted class ids, of unseen classes only
    gamma: Tensor = field(default_factory=lambda: torch.tensor(torch.nan))  # [] subtracted from scores of seen classes


def save_details(details: Details, path: Path) -> None:
    """Write `details` as safetensors."""
    write_tensors(path, vars(details))


def load_details(path: Path) -> Details:
    """Read the details in the file `path`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is broken, or holds something else.
    """
    try:
        return Details(**read_tensors(path, REMEDY)[0])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a whole file of test details ({error}); {REMEDY}") from error
