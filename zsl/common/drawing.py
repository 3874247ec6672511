"""The style of all figures, and their three forms: an SVG file and a PNG file on white, and an SVG for a page.

The SVG for a page takes the page's colours, light or dark.  Matplotlib is imported when a figure is drawn.
"""

from __future__ import annotations

import io
import itertools
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

from zsl.common.files import atomic_path, write_text
from zsl.common.fonts import FONT, show_all_letters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1b1c1e"  # text and axes; in a page it becomes the colour of the page's text
SEEN, UNSEEN = "#2f7fc1", "#d9731a"  # both have a contrast of at least 3 on white and on the dark page
COLOURS = ("#2f7fc1", "#d9731a", "#2b9a66", "#c2559d", "#8a6fd1", "#a8862a", "#d24b45", "#3a9fb0", "#7d8590", "#8c6a4f")
DASHES = ("-", "--", ":", "-.")  # lines also differ without their colours
MARKERS = ("o", "s", "^", "v", "D", "<", ">", "P", "X", "*")  # points also differ without their colours
WIDTH = 4.6  # inches; at this width, text of 9 or 10 pt is legible when a phone scales the figure down
FILE_DPI = 200

_STYLE: dict[Any, Any] = {
    "font.family": FONT,
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 10.0,
    "legend.fontsize": 9.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",  # text stays text: it has the page's font, can be selected, and needs few bytes
    "image.interpolation": "none",
    "text.parse_math": False,  # the name of a class may hold a $
}


@dataclass(frozen=True)
class Plot:
    """A drawing for a page: its file name without suffix, its description in words, and the SVG."""

    name: str
    alt: str
    svg: str


@contextmanager
def drawing(height: float, width: float = WIDTH) -> Iterator[tuple[Figure, Axes]]:
    """Make a figure with one pair of axes, in the style of all figures; `height` and `width` are in inches."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.subplots()


def shorten(name: str, letters: int) -> str:
    """Shorten a name to the width of `letters` letters, to leave room for the drawing; tables show whole names.

    A letter of Chinese, Japanese or Korean is as wide as two.
    """
    widths = list(itertools.accumulate(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name))
    if not widths or widths[-1] <= letters:
        return name
    return name[: sum(width < letters for width in widths)].rstrip() + "…"


def finish(figure: Figure, name: str, alt: str, folder: Path) -> Plot:
    """Write `folder/name.svg` and `folder/name.png` on white, and return the form for a page.

    Call this inside `with drawing(…)`, because the files need its style.  Equal figures give equal files, without dates
    and random ids.
    """
    import matplotlib as mpl

    show_all_letters(figure)
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font")  # `show_all_letters` has said so, once
        with mpl.rc_context({"svg.hashsalt": name}):
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        text = buffer.getvalue()
        text = text[text.index("<svg") :]
        write_text(folder / f"{name}.svg", text.replace("<svg ", '<svg style="background: #fff" ', 1))
        with atomic_path(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=FILE_DPI, facecolor="white")
    return Plot(name, alt, inline(text, name, alt))


def inline(svg: str, name: str, alt: str) -> str:
    """Adapt an SVG to a page with several drawings: its ids begin with `name`, its ink is the page's text colour.

    alt: the text for a screen reader.
    """
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "currentColor")
    return svg.replace("<svg ", f"<svg role='img' aria-label={quoteattr(alt)} ", 1)
