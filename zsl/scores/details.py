"""What a model said about each test image, in memory and on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zsl.common.tensors import write_tensors

DETAILS_FILE = "details.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Details:
    """What a model said about each test image, on the CPU; all scores and intervals follow from it."""

    zsl_classes: Tensor  # [U] class ids
    gzsl_classes: Tensor  # [S + U] ids of the scores' columns
    seen_rows: Tensor  # [N] official rows of the test_seen images; [0] where they are not known
    seen_labels: Tensor  # [N] true class ids
    seen_predicted: Tensor  # [N] with all labels to choose from
    seen_scores: Tensor  # [N, S + U] float32, GZSL
    unseen_rows: Tensor  # the same of the test_unseen images
    unseen_labels: Tensor
    unseen_predicted: Tensor
    unseen_scores: Tensor
    unseen_zsl_predicted: Tensor  # [N] with unseen labels only
    gamma: Tensor = field(default_factory=lambda: torch.tensor(torch.nan))  # [] taken off the seen classes' scores


def save_details(details: Details, path: Path) -> None:
    """Write `details` as safetensors."""
    write_tensors(path, vars(details))


def load_details(path: Path) -> Details:
    """Read what `save_details` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, or holds something else.
    """
    try:
        return Details(**load_file(path))
    except (SafetensorError, TypeError) as error:
        raise ValueError(f"{path} is not a whole file of test details ({error}); score the model anew") from error
