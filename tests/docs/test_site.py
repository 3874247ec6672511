"""The documentation site builds without a warning, and fetches nothing: neither the build nor a page."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]
FETCHED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}  # by a browser, unasked


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("site")
    process = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return folder


class Addresses(HTMLParser):
    """The addresses that a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in FETCHED and found.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(found.get(FETCHED[tag]) or "")


def test_there_is_a_page_for_every_text_and_every_package(site: Path) -> None:
    pages = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    texts = {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")}
    packages = {f"api/zsl.{path.parent.name}.html" for path in (ROOT / "zsl").glob("*/__init__.py")}
    assert texts | packages | {"contributing.html", "changelog.html", "api/backbones.html"} <= pages
    front = (site / "index.html").read_text()
    for heading in re.findall(r"^## (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert heading in front
    assert "TrainSplit" in (site / "api" / "zsl.features.html").read_text()


def test_the_navigation_has_the_order_of_the_index() -> None:
    """`docs/index.md` and `mkdocs.yml` list the same pages; CONTRIBUTING and CHANGELOG come last in the navigation."""
    of_index = re.findall(r"^\| \[(\w\S*\.md)\]", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE)
    of_site = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert of_site == ["index.md", *of_index, "contributing.md", "changelog.md"]


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        addresses = Addresses()
        addresses.feed(page.read_text())
        assert addresses.found
        assert not [address for address in addresses.found if "//" in address], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text()), style


def test_a_number_of_a_table_stays_on_one_line_with_its_spread(site: Path) -> None:
    cells = re.findall(r"<td[^>]*>(.*?)</td>", (site / "table2.html").read_text())
    assert "63.0\u00a0±\u00a00.3" in "".join(cells)
    assert not [cell for cell in cells if re.search(r"\d ± \d", cell)]


# Elements that reach beyond the window, outside a frame that scrolls.
OUTSIDE = """() => [...document.querySelectorAll("article *")].filter(e => {
  if (e.getBoundingClientRect().right <= document.documentElement.clientWidth + 1) return false;
  for (let p = e.parentElement; p; p = p.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(p).overflowX)) return false;
  return true;
}).map(e => e.outerHTML.slice(0, 100))"""
LETTERS = """() => {  // of a line of code that fits into its frame
  const code = document.querySelector("pre > code"), style = getComputedStyle(code);
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = style.font;
  const room = code.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  return room / pen.measureText("x").width;
}"""


@pytest.mark.parametrize("width", [390, 1280, 1600])
def test_every_page_fits_its_window(site: Path, browser: Browser, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    for path in sorted(site.glob("[!4]*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width, path
        assert page.evaluate(OUTSIDE) == [], path
    page.goto((site / "index.html").as_uri())
    if width > 1000:
        assert page.evaluate(LETTERS) >= 100
    for picture in ("flow.svg", "answers.png"):
        assert page.locator(f"img[src$='{picture}']").bounding_box()["width"] > 700  # type: ignore[index]
    page.goto((site / "commands.html").as_uri())
    assert not page.locator("thead").first.is_visible()  # it is empty
    page.close()
