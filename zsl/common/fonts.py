"""Fonts of this machine for letters that the font of all figures lacks, such as those of Chinese or Hindi names.

A font is looked for when a figure holds such a letter, and not before.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONT = "DejaVu Sans"  # Matplotlib brings it
NO_FORMS = ("lastresort", "adobeblank")  # fonts that hold all letters and show none of them
REMEDY = "on Debian: apt-get install fonts-noto-cjk fonts-noto-core"


def show_all_letters(figure: Figure) -> None:
    """Give each text of a figure the fonts that hold its letters; a note on stderr names letters without a font."""
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    lacking = _lacking("".join(sorted({letter for text in texts for letter in text.get_text() if letter > "\x7f"})))
    if not lacking:
        return
    families, without_font = fonts_with(lacking)
    for text in texts:
        text.set_fontfamily([FONT, *families])
    if without_font:
        _say(without_font)


@functools.cache
def fonts_with(letters: str) -> tuple[tuple[str, ...], str]:
    """Families of fonts on this machine that hold `letters`, as few as do, and the letters that no font holds.

    Fonts that were installed after the last figure are found, too.
    """
    from matplotlib import font_manager

    holds = {path: held for path in _font_files() if (held := _held(path, letters))}
    families, left = [], set(letters)
    while left and holds:
        path = max(holds, key=lambda path: len(holds[path] & left))  # the first of several, by the order of their names
        if not holds[path] & left:
            break
        left -= holds.pop(path)
        font_manager.fontManager.addfont(path)
        families.append(font_manager.get_font(path).family_name)
    return tuple(families), "".join(sorted(left))


def _font_files() -> list[Path]:
    """The files of fonts; upright regular ones without serifs first."""
    from matplotlib import font_manager

    def order(path: Path) -> tuple[bool, bool, str]:
        return "sans" not in path.stem.lower(), "regular" not in path.stem.lower(), str(path)

    paths = (Path(name) for name in font_manager.findSystemFonts())
    return sorted((path for path in paths if not path.stem.lower().startswith(NO_FORMS)), key=order)


def _held(path: Path, letters: str) -> set[str]:
    """Those of `letters` that a font holds; none of a file that is no font for Matplotlib."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(str(path))
    except (RuntimeError, OSError):
        return set()
    return {letter for letter in letters if font.get_char_index(ord(letter))}


def _lacking(letters: str) -> str:
    """Those of `letters` that the font of all figures lacks and that have a form of their own."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont(FONT))
    return "".join(letter for letter in letters if letter.isprintable() and not font.get_char_index(ord(letter)))


@functools.cache
def _say(letters: str) -> None:
    print(
        f"no font of this machine has {letters[:20]}{'…' * (len(letters) > 20)}: figures/*.png show boxes; pages and "
        f"figures/*.svg show the letters where the reader has a font ({REMEDY})",
        file=sys.stderr,
    )
