"""Write the card (README.md) of folders that you want to share: feature tables, and exports of predict.py.

    python scripts/card.py data/cub/features/tf_efficientnet_lite0.offline_in1k
    python scripts/predict.py --run runs/cub --export exported && python scripts/card.py exported

The script writes the card alone, and pushes nothing.  docs/sharing.md shows how you push a folder yourself.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

from dataclasses import dataclass
from pathlib import Path

import tyro
from tyro.conf import Positional

from zsl.cli import run_script
from zsl.common.card import CARD_FILE
from zsl.common.files import write_text


@dataclass(frozen=True, kw_only=True)
class Args:
    """Write cards."""

    folders: Positional[tuple[Path, ...]] = tyro.MISSING  # feature tables, or exports of predict.py


def main(args: Args) -> None:
    """Write the card of each folder, and print its file."""
    for folder in args.folders:
        write_text(folder / CARD_FILE, card_of(folder))
        print(folder / CARD_FILE)


def card_of(folder: Path) -> str:
    """The card of a feature table or an export.

    Raises:
        FileNotFoundError, ValueError: the folder is neither, or not whole.
    """
    from zsl.dcrgan.saved import CONFIG_FILE, FACTS_FILE
    from zsl.features.card import table_card
    from zsl.features.manifest import MANIFEST_FILE
    from zsl.predict.card import predictor_card

    if (folder / CONFIG_FILE).is_file():
        raise ValueError(
            f"{folder} is the folder of a run, which needs other files to predict; share the folder that predict.py "
            f"--run {folder} --export makes"
        )
    if (folder / FACTS_FILE).is_file():
        return predictor_card(folder)
    if (folder / MANIFEST_FILE).is_file():
        return table_card(folder)
    raise FileNotFoundError(
        f"{folder} is neither a feature table (no {MANIFEST_FILE}) nor an export of predict.py (no {FACTS_FILE})"
    )


if __name__ == "__main__":
    run_script(main, Args)
