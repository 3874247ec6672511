"""Seeds.  All randomness comes from a run's seed; each stage derives its own seed from it.

So a stage gives the same result whether the stages before it ran now or came from a checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(seed: int, purpose: str) -> int:
    """Derive a 63-bit seed for one purpose of one run.  Equal inputs give equal seeds, on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "little") >> 1


@contextmanager
def seeded(seed: int, purpose: str, device: torch.device) -> Iterator[None]:
    """Seed torch with `derive_seed(seed, purpose)` inside the `with` block, and restore its random state after it."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(seed, purpose))
        yield
