"""What fine-tuning may see: photos and labels of trainval rows, and the attributes of their classes alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from backbones import Transform
from zsl.common.determinism import derive_seed
from zsl.datasets.held_out import hold_out
from zsl.datasets.splits import Splits
from zsl.finetune.images import EVALUATION_BATCH, TrainImages

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class TuningData:
    """Photos and labels of some trainval rows, and the attributes of their classes."""

    rows: Tensor  # [N] official rows
    labels: Tensor  # [N] positions in the seen classes
    images: Tensor  # uint8, all trainval photos
    position: Tensor  # [N] where in `images` the photo of each row lies
    attributes: Tensor  # [S, A]

    @classmethod
    def of(cls, images: TrainImages, splits: Splits) -> TuningData:
        """The trainval rows of `splits`, which may be those of a validation fold."""
        position = images.position(splits.trainval_loc)
        return cls(
            rows=torch.from_numpy(splits.trainval_loc.copy()),
            labels=torch.from_numpy(np.searchsorted(splits.seen, images.labels[position])),
            images=images.sizes[0],
            position=torch.from_numpy(position),
            attributes=torch.from_numpy(splits.attributes[splits.seen].copy()),
        )

    def photos(self, indices: Tensor) -> Tensor:
        """Photos uint8 [n, 3, h, w] of the rows at `indices` [n]."""
        return self.images[self.position[indices]]

    def hold_out(self, share: float, seed: int) -> tuple[Tensor, Tensor]:
        """Indices of the rows to train on, and of those to hold out.

        About `share` of each class is held out: at least one photo of a class with two or more, and never all.
        """
        purpose = derive_seed(seed, "held-out share")
        indices = hold_out(self.labels.numpy(), share, lambda label: np.random.default_rng((purpose, label)))
        held = torch.zeros(len(self.rows), dtype=torch.bool)
        held[torch.from_numpy(indices)] = True
        return (~held).nonzero().flatten(), held.nonzero().flatten()


def without_share(splits: Splits, labels: np.ndarray, share: float, seed: int) -> Splits:
    """The same splits without about `share` of the trainval photos of each class; 0 leaves none out.

    labels: class ids of the trainval rows [n].
    """
    if share == 0:
        return splits
    purpose = derive_seed(seed, "left-out share")
    left_out = hold_out(labels, share, lambda label: np.random.default_rng((purpose, label)))
    return replace(splits, trainval_loc=np.delete(splits.trainval_loc, left_out))


def without_copies(splits: Splits, photo_hashes: Mapping[int, str]) -> Splits:
    """The same splits without the trainval photos of which a copy, byte for byte, judges there.

    Weights that were tuned on such a photo would know a photo that judges them.

    photo_hashes: of all photos, by official row.
    """
    judging = {photo_hashes[row] for row in (*splits.test_seen_loc.tolist(), *splits.test_unseen_loc.tolist())}
    copies = np.array([photo_hashes[row] in judging for row in splits.trainval_loc.tolist()], dtype=bool)
    if not copies.any():
        return splits
    first = splits.trainval_loc[copies][0]
    log.warning(
        "%d trainval photos of the %s are copies of photos that judge there, and are not tuned on; row %d is the first",
        copies.sum(), splits.verdict, first,
    )  # fmt: skip
    return replace(splits, trainval_loc=splits.trainval_loc[~copies])


def normalise(images: Tensor, transform: Transform, device: torch.device) -> Tensor:
    """Photos uint8 [n, 3, H, W] as the encoder wants them, on `device`."""
    return transform.normalise(images.to(device)).contiguous(memory_format=torch.channels_last)


def whole_images(data: TuningData, indices: Tensor, transform: Transform, device: torch.device) -> Iterator[Tensor]:
    """Normalised photos of the rows at `indices` [n] in batches, without a crop, as feature extraction sees them."""
    for some in indices.split(EVALUATION_BATCH):
        yield normalise(resize(data.photos(some), list(transform.size), antialias=True), transform, device)
