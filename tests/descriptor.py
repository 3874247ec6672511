"""An encoder without weights, whose features tell what a drawn photo shows: its colours and edges."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from backbones import Backbone
from backbones.preprocess import Transform

SIZE = 64
RINGS = ((0.0, 0.5), (0.5, 1.1))  # distances from the middle, as shares of half of the photo's size
BINS, EDGES = 3, 6


class Descriptor(nn.Module):
    """Square roots of the shares of 27 colours and of 6 directions of edges, in the middle and around it [B, 66]."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Parameter(torch.cartesian_prod(*[torch.linspace(-1.7, 1.7, BINS)] * 3), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Describe normalised images [B, 3, H, W]."""
        distance = (images[:, None] - self.colours[:, :, None, None]).square().sum(2)
        tone = avg_pool2d(images.mean(1, keepdim=True), 2)
        across, down = tone[..., 1:-1, 2:] - tone[..., 1:-1, :-2], tone[..., 2:, 1:-1] - tone[..., :-2, 1:-1]
        turns = torch.atan2(down, across) - torch.arange(EDGES)[:, None, None] * torch.pi / EDGES
        maps = (-3 * distance).softmax(1), turns.cos().pow(8) * torch.hypot(across, down)
        return torch.cat([_mean(each, *ring) for each in maps for ring in RINGS], dim=1).sqrt()


def _mean(maps: Tensor, nearest: float, farthest: float) -> Tensor:
    """Mean of maps [B, n, H, W] over a ring, [B, n]."""
    rows, columns = (torch.linspace(-1, 1, size).abs() for size in maps.shape[2:])
    place = torch.maximum(rows[:, None], columns)
    return maps[:, :, (place >= nearest) & (place < farthest)].mean(2)


def descriptor() -> Backbone:
    """The encoder with the facts that a manifest needs."""
    encoder = Descriptor().eval()
    return Backbone(
        name="descriptor.none",
        encoder=encoder,
        transform=Transform(size=(SIZE, SIZE), mean=(0.5, 0.5, 0.5), std=(0.3, 0.3, 0.3), interpolation="bilinear"),
        pretraining="none",
        weights_sha256="0" * 64,
        dim=len(RINGS) * (BINS**3 + EDGES),
    )
