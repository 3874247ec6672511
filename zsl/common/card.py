"""Model cards: the README.md of a shared folder, with the head that the hub reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from zsl.common.markdown import markdown_table

CARD_FILE = "README.md"
UNKNOWN_LICENCE = (
    "The photos, and what is made from them, have the licence of the benchmark's authors, which this program does not "
    "know. Read it before you publish this folder, and name it here."
)
LICENCES = {  # of the photos of a benchmark
    "cub": "CUB-200-2011's photos are offered for non-commercial research and education. Read their licence before you "
    "publish what is made from them.",
    "shapes": "The photos of `shapes` were drawn by this program, and have no licence to heed.",
}


def write_card(title: str, tags: Sequence[str], facts: Iterable[tuple[str, str]], sections: Mapping[str, str]) -> str:
    """Write a card: a title, a table of facts, and sections by their headings; empty facts are left out."""
    head = "".join(f"- {tag}\n" for tag in ("zero-shot-learning", *tags))
    rows = [(name, value.replace("\n", " ")) for name, value in facts if value]
    body = "".join(f"\n## {heading}\n\n{text.strip()}\n" for heading, text in sections.items())
    return f"---\nlibrary_name: zsl-dcrgan\ntags:\n{head}---\n\n# {title}\n\n{markdown_table(('', ''), rows)}{body}"


def licence_note(benchmark: str) -> str:
    """What to heed before a folder that was made from a benchmark's photos is published."""
    return LICENCES.get(benchmark, UNKNOWN_LICENCE)
