"""WebDataset shards of raw photos.

A sample is the photo of one official row.  It has two members in a tar:

    <row, 8 digits>.jpg    the original bytes, never re-encoded
    <row, 8 digits>.json   {"row", "label", "class", "file"} and optionally "box": [x0, y0, x1, y1]

The files of shards are `shard-%06d.tar`.  `index.json` beside them states their source, and each shard's file name,
number of samples, first and last row, and sha256.  Equal input gives equal bytes.
"""

from shards.index import Shard, ShardIndex, read_index
from shards.read import Sample, read_samples, read_shard
from shards.store import Location, NoCopy, RemoteError, is_folder, open_index, open_shard, shard_samples
from shards.write import write_shards

__all__ = [
    "Location",
    "NoCopy",
    "RemoteError",
    "Sample",
    "Shard",
    "ShardIndex",
    "is_folder",
    "open_index",
    "open_shard",
    "read_index",
    "read_samples",
    "read_shard",
    "shard_samples",
    "write_shards",
]
