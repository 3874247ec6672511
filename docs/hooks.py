"""Hooks of the documentation site: pages that are not files of docs/, links that leave docs/, and numbers in tables.

The front page is README and the table of docs/index.md.  CONTRIBUTING and CHANGELOG are pages, too.  Each package of
zsl/, backbones/ and shards/ has a page with its public names, from their docstrings.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}  # page: file of the repository
LINKS = {  # as the files of the repository link, and as the site does
    "](docs/index.md)": "](#documentation)",
    "](docs/": "](",
    "](../CONTRIBUTING.md": "](contributing.md",
    "](CONTRIBUTING.md": "](contributing.md",
}


def packages() -> list[str]:
    """The names of all packages: zsl, those in zsl/ in the order of the alphabet, and the other two."""
    inner = sorted(f"zsl.{path.parent.name}" for path in (ROOT / "zsl").glob("*/__init__.py"))
    return ["zsl", *inner, "backbones", "shards"]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of the packages to the navigation."""
    nav: list[Any] = config.nav or []
    config.nav = [*nav, {"Packages": [{name: f"api/{name}.md"} for name in packages()]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files of docs/."""
    for page, name in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for name in packages():
        files.append(File.generated(config, f"api/{name}.md", content=f"# {name}\n\n::: {name}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put README above the table of docs/index.md, and turn links of the repository into links of the site.

    In a row of a table a number and its spread stay on one line, by spaces that do not break.
    """
    if page.file.src_uri == "index.md":
        markdown = f"{(ROOT / 'README.md').read_text(encoding='utf-8')}\n#{markdown}"
    for link, of_site in LINKS.items():
        markdown = markdown.replace(link, of_site)
    rows = re.compile(r"^\|.*$", re.MULTILINE)
    return rows.sub(lambda row: re.sub(r"(?<=\d) ± (?=\d)", "\u00a0±\u00a0", row[0]), markdown)
