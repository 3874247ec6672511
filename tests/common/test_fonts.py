"""Figures whose names have letters that DejaVu Sans lacks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import font_manager

from zsl.common import fonts
from zsl.common.drawing import Plot, drawing, finish, shorten

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    fonts.fonts_with.cache_clear()
    fonts._say.cache_clear()
    yield
    fonts.fonts_with.cache_clear()
    fonts._say.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(FONTS / name) for name in names])


def draw(names: list[str], folder: Path) -> Plot:
    with warnings.catch_warnings(), drawing(2) as (figure, axes):
        warnings.simplefilter("error")
        axes.set_yticks(range(len(names)), names)
        axes.plot([0], [0], label=names[-1])
        axes.legend()
        return finish(figure, "names", "names", folder)


def test_names_without_a_font_stay_text_and_give_one_note_and_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, "cmr10.ttf")
    for _ in range(2):
        plot = draw(["斑马", "河马", "हाथी", "Gürteltier"], tmp_path)
    assert ">斑马<" in plot.svg
    assert ">斑马<" in (tmp_path / "names.svg").read_text()
    (note,) = capsys.readouterr().err.splitlines()
    assert "no font of this machine has थहाी斑河马" in note
    assert "fonts-noto-cjk" in note


def test_a_font_of_this_machine_shows_what_dejavu_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, "cmr10.ttf")
    draw(["Class Ⓐ", "b"], tmp_path)
    boxes = (tmp_path / "names.png").read_bytes()
    assert "Ⓐ" in capsys.readouterr().err
    fonts.fonts_with.cache_clear()
    install(monkeypatch, "cmr10.ttf", "LastResortHE-Regular.ttf", "STIXGeneral.ttf", "STIXGeneralBol.ttf")
    plot = draw(["Class Ⓐ", "b"], tmp_path)
    assert "'DejaVu Sans', 'STIXGeneral'" in plot.svg
    assert capsys.readouterr().err == ""
    assert (tmp_path / "names.png").read_bytes() != boxes


def test_fonts_are_looked_for_only_where_a_letter_is_lacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: pytest.fail("looked for fonts"))
    draw(["Gürteltier", "Я £ γ\n→ $x_1$"], tmp_path)


def test_a_name_is_shortened_by_its_width() -> None:
    assert shorten("zebra", 5) == "zebra"
    assert shorten("zebras", 5) == "zebr…"
    assert shorten("", 5) == ""
    assert shorten("斑马", 4) == "斑马"
    assert shorten("大熊猫", 5) == "大熊…"
    assert shorten("大熊猫", 4) == "大…"
