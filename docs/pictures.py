"""Draw the README's pictures from a finished run on `shapes`, whose photos are drawn and have no licence to heed.

    python docs/pictures.py runs/quickstart data

The first page of the report needs Chromium, driven by Playwright (extra `dev`).
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from playwright.sync_api import sync_playwright

from zsl.report.context import find_context
from zsl.report.gallery import Card, make_gallery
from zsl.report.runs import read_report_run

PICTURES = Path(__file__).parent / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COLOURS = {True: "#1d7a4e", False: "#c23a34"}  # of a right answer and a wrong one
PHOTOS = 8
LINE = 28  # letters of a line above a photo


def draw_answers(cards: list[Card], path: Path) -> None:
    """Draw photos in two rows, each with its true class and the model's answer, and save them as PNG."""
    figure = Figure(figsize=(9.6, 6.2), layout="constrained")
    for axes, card in zip(figure.subplots(2, PHOTOS // 2).flat, cards, strict=True):
        axes.imshow(np.asarray(Image.open(io.BytesIO(base64.b64decode(card.photo.split(",")[1])))))
        axes.set_axis_off()
        answer = "recognised" if card.is_right else f"taken for {card.answers[0].name}"
        axes.set_title(f"{fill(card.class_name, LINE)}\n{fill(answer, LINE)}", fontsize=8, color=COLOURS[card.is_right])
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90)
    Image.open(buffer).convert("RGB").quantize(128).save(path, optimize=True)  # a quarter of the bytes


def photograph(report: Path, folder: Path) -> None:
    """Save the report's first screen as `report.png` for a desktop and `report-phone.png` for a phone."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, width, height in (("report", 1100, 700), ("report-phone", 390, 700)):
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
            page.goto(report.resolve().as_uri())
            page.screenshot(path=folder / f"{name}.png")
        browser.close()


def main(run_folder: Path, data: Path) -> None:
    """Draw all pictures."""
    run = read_report_run(run_folder)
    cards, _ = make_gallery(run, find_context(run, data, features=None, attribute_names=None))
    wrong = [card for card in cards if not card.is_right][: PHOTOS // 4]
    right = [card for card in cards if card.is_right][: PHOTOS - len(wrong)]
    draw_answers(sorted(right + wrong, key=lambda card: card.row), PICTURES / "answers.png")
    shutil.copy(run_folder / "figures/seen-unseen-curve.svg", PICTURES / "curve.svg")
    photograph(run_folder / "report.html", PICTURES)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
