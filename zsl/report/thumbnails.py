"""Small copies of photos, as data URIs that a page holds itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from contextlib import suppress

from PIL import Image

import backbones
from shards import shard_samples
from zsl.report.context import Context

THUMBNAIL = 160  # longest side, pixels
QUALITY = 72  # of the JPEG


def thumbnails(context: Context, rows: Iterable[int]) -> dict[int, str]:
    """Thumbnails by row; a photo that cannot be read is left out, and so are those of a shard that cannot be."""
    assert context.index is not None
    wanted, uris = set(rows), dict[int, str]()
    for shard in context.index.shards:
        if any(shard.first_row <= row <= shard.last_row for row in wanted):
            with suppress(ValueError, OSError):  # the shard was removed, or changed; the audit names it
                for sample in shard_samples(context.shards, shard):
                    if sample.row in wanted:
                        with suppress(ValueError):
                            uris[sample.row] = thumbnail(sample.image, sample.box)
    return uris


def thumbnail(photo: bytes, box: tuple[int, int, int, int] | None = None) -> str:
    """A data URI of the photo, or of a box of its stored pixels: a JPEG of at most THUMBNAIL pixels a side, upright."""
    image = Image.fromarray(backbones.decode_image(photo, box).permute(1, 2, 0).numpy())
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
