"""One style for all figures, and one drawing in three forms: an SVG and a PNG file on white, and an SVG in the page.

The SVG in the page takes the page's colours, light or dark.  Matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

from zsl.common.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1b1c1e"  # text and axes; in the page this becomes the colour of the text, light or dark
SEEN, UNSEEN = "#2f7fc1", "#d9731a"  # both have a contrast of 3 and more on white and on the dark page
COLOURS = ("#2f7fc1", "#d9731a", "#2b9a66", "#c2559d", "#8a6fd1", "#a8862a", "#d24b45", "#3a9fb0", "#7d8590", "#8c6a4f")
DASHES = ("-", "--", ":", "-.")  # lines differ without their colours too
MARKERS = ("o", "s", "^", "v", "D", "<", ">", "P", "X", "*")  # so do points
WIDTH = 4.6  # inches; at this width 9 or 10 pt stays legible when a phone scales the figure down
FILE_DPI = 200

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
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
    "svg.fonttype": "none",  # text stays text: it has the page's font, can be selected, and is small
    "image.interpolation": "none",
    "text.parse_math": False,  # a class may be called a$b
}


@dataclass(frozen=True)
class Plot:
    """A drawing for the page: its file name without suffix, what it shows in words, and the SVG."""

    name: str
    alt: str
    svg: str


@contextmanager
def drawing(height: float, width: float = WIDTH) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one pair of axes in the one style; `height` and `width` are in inches."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.subplots()


def shorten(name: str, letters: int) -> str:
    """A name of at most so many letters, which leaves room for the drawing; tables show the whole name."""
    return name if len(name) <= letters else name[: letters - 1].rstrip() + "…"


def finish(figure: Figure, name: str, alt: str, folder: Path) -> Plot:
    """Write `folder/name.svg` and `folder/name.png` on white, and return the form for the page.

    Call this inside `with drawing(…)`, whose style the files need.  Equal figures give equal files: they hold no date
    and no random ids.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    write_text(folder / f"{name}.svg", text.replace("<svg ", '<svg style="background: #fff" ', 1))
    with atomic_path(folder / f"{name}.png") as temporary:
        figure.savefig(temporary, format="png", dpi=FILE_DPI, facecolor="white")
    return Plot(name, alt, inline(text, name, alt))


def inline(svg: str, name: str, alt: str) -> str:
    """The SVG for a page with several drawings: its ids begin with `name`, its ink is the colour of the page's text.

    alt: what a screen reader says.
    """
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "currentColor")
    return svg.replace("<svg ", f"<svg role='img' aria-label={quoteattr(alt)} ", 1)
