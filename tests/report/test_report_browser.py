"""The report in a real browser: it opens without errors, draws, sorts, and fits a phone, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from accelerate import Accelerator
from finished import finish_run
from looks import TEXT_CONTRASTS

from zsl.report.page import Options, write_comparison, write_report
from zsl.report.runs import find_runs, read_report_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as BrowserPage

PHONE, DESKTOP = 390, 1280
MAX_BYTES = 8e6
MAX_SECONDS = 5.0  # by the browser's own clock; a tenth of this on a machine that does nothing else
NAMES = ("report", "comparison")


@pytest.fixture(scope="module")
def pages(
    browser: Browser,  # first: nothing is trained where it is skipped
    tiny_shapes: Path,
    tiny_features: Path,
    accelerator: Accelerator,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """A report with everything in it, and a comparison of two runs."""
    runs = tmp_path_factory.mktemp("browser") / "runs"
    finish_run(tiny_shapes, tiny_features, runs / "dcrgan", accelerator)
    finish_run(tiny_shapes, tiny_features, runs / "eszsl", accelerator, method="eszsl")
    found = [read_report_run(folder) for folder in find_runs([runs])]
    options = Options(data=tiny_shapes, paper_figures=True)
    written = [write_report(run, [other for other in found if other is not run], options) for run in found]
    return {"report": written[0], "comparison": write_comparison(found, runs / "comparison.html")}


class Opened:
    """A page in a window of some width; what its console said and what it asked of others."""

    def __init__(self, browser: Browser, path: Path, width: int, scheme: str) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 844},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        self.page: BrowserPage = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture(params=list(product(NAMES, (PHONE, DESKTOP), ("light", "dark"))))
def opened(browser: Browser, pages: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Each page at each width in each scheme."""
    name, width, scheme = request.param
    made = Opened(browser, pages[name], width, scheme)
    yield made
    made.context.close()


@pytest.fixture(params=NAMES)
def on_phone(browser: Browser, pages: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Each page on a phone."""
    made = Opened(browser, pages[request.param], PHONE, "light")
    yield made
    made.context.close()


def test_it_opens_without_a_word_and_asks_nobody_for_anything(opened: Opened, pages: dict[str, Path]) -> None:
    assert opened.said == []
    assert all(url.startswith(("data:", *(path.as_uri() for path in pages.values()))) for url in opened.asked)


def test_it_is_small_and_opens_at_once(opened: Opened, pages: dict[str, Path]) -> None:
    assert all(path.stat().st_size < MAX_BYTES for path in pages.values())
    opened.page.wait_for_function("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
    took = opened.page.evaluate(
        "performance.getEntriesByType('navigation').map(entry => entry.loadEventEnd - entry.startTime)[0]"
    )
    assert took / 1000 < MAX_SECONDS


def test_nothing_is_wider_than_the_window(opened: Opened) -> None:
    opened.page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    width, inner = opened.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner
    outside = opened.page.evaluate(
        """[...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll, pre, svg")
        && e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_every_figure_has_a_size_and_every_photo_is_loaded(opened: Opened) -> None:
    page = opened.page
    page.evaluate("for (const i of document.querySelectorAll('img')) i.loading = 'eager'")
    page.wait_for_function("[...document.images].every(i => i.complete)")
    assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    boxes = page.evaluate(
        "[...document.querySelectorAll('.plot svg')].map(s => [s.getBoundingClientRect().width, s.getBBox().height])"
    )
    assert boxes
    assert all(width > 300 and height > 50 for width, height in boxes)


def test_words_stand_out_from_their_ground_in_light_and_dark(opened: Opened) -> None:
    """WCAG's contrast of text and of the figures' text is at least 4.5."""
    contrasts = opened.page.evaluate(TEXT_CONTRASTS)
    assert len(contrasts) > 50
    assert [text for contrast, text in contrasts if contrast < 4.5] == []


def test_text_in_figures_is_legible_on_a_phone(on_phone: Opened) -> None:
    heights = on_phone.page.evaluate(
        "[...document.querySelectorAll('.plot svg text')].filter(t => t.textContent.trim())"
        ".map(t => parseFloat(getComputedStyle(t).fontSize) * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b))"
    )
    assert heights
    assert min(heights) >= 8


def test_a_click_sorts_by_number_and_a_second_one_turns_it_round(on_phone: Opened) -> None:
    page = on_phone.page
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    sorted_columns = 0
    for number in range(page.locator("table.sortable").count()):
        table = page.locator("table.sortable").nth(number)
        count = table.locator("tbody tr").count()
        for column, head in enumerate(table.locator("thead th").all()):
            numeric = "number" in (head.get_attribute("class") or "")
            seen = []
            for direction in ("descending", "ascending") if numeric else ("ascending", "descending"):
                head.locator("button").click()
                assert head.get_attribute("aria-sort") == direction
                assert table.locator("th[aria-sort]").count() == 1
                cells = table.locator(f"tbody tr > :nth-child({column + 1})")
                values = cells.evaluate_all("cells => cells.map(c => c.dataset.value)")
                assert len(values) == count
                if numeric:
                    figures = [float(value) for value in values]
                    assert figures == sorted(figures, reverse=direction == "descending")
                seen.append(values)
            assert sorted(seen[0]) == sorted(seen[1])
            if not numeric:
                assert seen[0] == seen[1][::-1]
            sorted_columns += 1
    assert sorted_columns > 10


def test_the_shown_number_is_the_one_that_is_sorted_by(on_phone: Opened) -> None:
    pairs = on_phone.page.evaluate(
        "[...document.querySelectorAll('td.number')].map(c => [c.textContent, Number(c.dataset.value)])"
    )
    for text, value in pairs:
        if text != "–":
            shown = float(text.split(" ")[0].replace(",", "").replace("−", "-"))
            assert shown == pytest.approx(value, abs=1e-9) or shown == pytest.approx(100 * value, abs=0.0501)


def test_every_table_and_figure_says_what_it_is_to_who_cannot_see_it(opened: Opened) -> None:
    page = opened.page
    assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.caption?.textContent.trim())")
    heads = "[...document.querySelectorAll('tbody tr')].every(r => r.cells[0].matches('th[scope=row]'))"
    assert page.evaluate(heads)
    figures = page.evaluate("[...document.querySelectorAll('.plot svg')].map(s => s.getAttribute('aria-label'))")
    assert figures
    assert all(any(c.isdigit() for c in words) for words in figures)  # the numbers, not only the subject


def test_on_paper_nothing_is_cut_off(on_phone: Opened) -> None:
    on_phone.page.emulate_media(media="print")
    heights = "[...document.querySelectorAll('.scroll')].map(e => [e.scrollHeight, e.clientHeight])"
    assert all(whole <= shown + 1 for whole, shown in on_phone.page.evaluate(heights))


def test_the_first_tab_skips_to_the_content(on_phone: Opened) -> None:
    on_phone.page.keyboard.press("Tab")
    assert on_phone.page.evaluate("document.activeElement.getAttribute('href')") == "#content"
    assert on_phone.page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    targets = on_phone.page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash.slice(1))")
    assert on_phone.page.evaluate("ids => ids.every(id => document.getElementById(id))", targets)


def test_a_table_sorts_from_the_keyboard(on_phone: Opened) -> None:
    button = on_phone.page.locator("table.sortable th button").first
    button.focus()
    on_phone.page.keyboard.press("Enter")
    assert on_phone.page.locator("table.sortable th").first.get_attribute("aria-sort") == "ascending"
