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
    from zsl.dcrgan.saved import FACTS_FILE
    from zsl.features.card import table_card
    from zsl.predict.card import predictor_card

    for folder in args.folders:
        is_predictor = (folder / FACTS_FILE).is_file()
        write_text(folder / CARD_FILE, predictor_card(folder) if is_predictor else table_card(folder))
        print(folder / CARD_FILE)


if __name__ == "__main__":
    run_script(main, Args)
