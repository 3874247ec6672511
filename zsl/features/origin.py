"""Whether a feature table was made with the splits, and from the shards, that are at hand."""

from __future__ import annotations

from pathlib import Path

from shards import ShardIndex, read_index
from shards.index import INDEX_FILE
from zsl.datasets.split_file import SplitFile
from zsl.datasets.splits import classes_hash
from zsl.features.manifest import Manifest

EXTRACT_ANEW = "Delete the features' folder and extract anew"
EXTRACT_AGAIN = (
    "Features do not depend on splits: scripts/make_shards.py with the new ones, then scripts/extract.py, which keeps "
    "the features of the same photos and notes the new splits"
)
IMPORT_ANEW = "Delete the features' folder and import their file anew, scripts/extract.py --import-mat"


def check_source(manifest: Manifest, split_file: SplitFile, folder: Path) -> None:
    """Check that a table was made with the rows and the classes of `split_file`, which lies in `folder`.

    Raises:
        ValueError: it was made with others.
    """
    if manifest.source.split_hashes != split_file.hashes:
        raise ValueError(
            f"the features were made with splits {manifest.source.hashes_text}, these are "
            f"{'/'.join(split_file.hashes)}.  {IMPORT_ANEW if manifest.imported else EXTRACT_AGAIN}; or give the right "
            "--splits"
        )
    if manifest.source.classes_hash not in (None, classes_hash(split_file.class_names)):
        raise ValueError(
            f"the features were made with other classes, or in another order, than those of {folder}: class ids mean "
            f"other classes there.  {IMPORT_ANEW if manifest.imported else EXTRACT_ANEW}; or give the right --splits"
        )


def check_shards_below(manifest: Manifest, folder: Path) -> None:
    """As `check_shards`, if `folder` has shards; where the features were copied here alone, nothing is compared."""
    made_from_shards = any(part.shards_sha256 for part in manifest.parts)
    if made_from_shards and (folder / INDEX_FILE).is_file():
        check_shards(manifest, read_index(folder))


def check_shards(manifest: Manifest, index: ShardIndex) -> None:
    """Check that each part of a table, if it was made from shards, was made from those of `index`.

    Raises:
        ValueError: a part was made from other shards, which have other photos, labels or rows.
    """
    for part in manifest.parts:
        if part.shards_sha256 not in (None, index.sha256):
            remedy = "start scripts/extract.py again" if part.quarantined else "delete that table and extract it anew"
            raise ValueError(
                f"the features of {part.backbone} have {part.count:,} rows of shards {str(part.shards_sha256)[:12]}…, "
                f"the shards that are there have {index.count:,} photos ({index.sha256[:12]}…); {remedy}, or move the "
                "shards away if the table is right"
            )
