"""Measure how large a report is, and how fast a headless Chromium opens it.

    python benchmarks/report.py runs/cub/report.html --json benchmark.json

The browser itself measures the seconds from the start of the navigation to the end of the load event.  It opens the
page `--times` times in a new context for each width and colour scheme.  The script prints the slowest time.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import tyro
from playwright.sync_api import Browser, sync_playwright
from tyro.conf import Positional

from zsl.cli import run_script
from zsl.common.files import write_json
from zsl.common.ranges import Count

TOOK = "performance.getEntriesByType('navigation').map(entry => entry.loadEventEnd - entry.startTime)[0]"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@dataclass(frozen=True, kw_only=True)
class Args:
    """Open a report in a browser."""

    page: Positional[Path] = tyro.MISSING
    times: Count = 3
    json: Path | None = None  # also write the figures to this file


def main(args: Args) -> None:
    """Print the size of the page and its seconds."""
    size = args.page.stat().st_size
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    slowest = 0.0
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width, scheme in product((390, 1280), SCHEMES):
            seconds = max(_open(browser, args.page, width, scheme) for _ in range(args.times))
            print(f"{width:>5} pixels, {scheme:<5} {seconds:.2f} s")
            slowest = max(slowest, seconds)
        browser.close()
    print(f"{args.page}: {size / 1e6:.2f} MB, opens in {slowest:.2f} s at most")
    if args.json:
        write_json(args.json, {"bytes": size, "seconds": slowest})


def _open(browser: Browser, page: Path, width: int, scheme: Literal["light", "dark"]) -> float:
    opened = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    opened.goto(page.resolve().as_uri())
    opened.wait_for_function("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
    seconds = float(opened.evaluate(TOOK)) / 1000
    opened.close()
    return seconds


if __name__ == "__main__":
    run_script(main, Args)
