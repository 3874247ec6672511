"""The card of a feature table that is shared: what its numbers were made from, and how to train on them."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from zsl.common.card import licence_note, write_card
from zsl.features.table import read_features

HOW = """
```bash
hf upload OWNER/NAME FOLDER --repo-type dataset                             # the act of whoever shares it
python scripts/train_dcrgan.py --benchmark {benchmark} --features hf://datasets/OWNER/NAME --splits SPLITS
```

`SPLITS` is the folder with `att_splits.mat`; without the flag it is `data/{benchmark}/splits`, which make_shards.py
writes. A table that was made with other splits is refused by the hashes above.
"""


def table_card(folder: Path) -> str:
    """The card of the feature table in `folder`.

    Raises:
        FileNotFoundError: it holds no whole table.
        ValueError: a file of the table is damaged, or was changed since.
    """
    table = read_features(folder, allow_incomplete=True)
    table.check_content()
    manifest = table.manifest
    tuned = manifest.finetuned
    size = manifest.transform.size if manifest.transform else None
    facts = [
        ("benchmark", manifest.benchmark),
        ("photos", manifest.source.verdict or "unknown"),
        ("hashes of trainval / test_seen / test_unseen", manifest.source.hashes_text),
        ("hash of the classes", manifest.source.classes_hash or ""),
        ("features", f"{manifest.count:,} x {manifest.dim}, computed in precision {manifest.precision}"),
        ("backbone", manifest.backbone),
        ("its pretraining", manifest.pretraining),
        ("unseen classes in the pretraining", manifest.unseen_classes or "unknown"),
        ("fine-tuned on", f"{len(tuned.classes or ())} classes of {tuned.benchmark}" if tuned else ""),
        ("input", f"{size[0]} x {size[1]} pixels" if size else "unknown"),
        ("sha256 of the weights", manifest.weights_sha256 or "unknown"),
        ("photos left out", f"{manifest.quarantined} that could not be read" if manifest.quarantined else ""),
    ]
    sections = {
        "How to train on it": HOW.format(benchmark=quote(manifest.benchmark)),
        "Licence": licence_note(manifest.benchmark),
    }
    return write_card(f"Features of {manifest.benchmark} by {manifest.backbone}", ["feature-table"], facts, sections)
