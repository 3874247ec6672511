"""The public names of all packages: instant to import, each from its module, none hidden by a module of its name."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["zsl", *(f"zsl.{path.parent.name}" for path in sorted((ROOT / "zsl").glob("*/__init__.py")))]


def test_importing_all_packages_imports_no_library() -> None:
    code = f"import sys, {', '.join(PACKAGES)}; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"torch", "numpy", "timm"} & set(process.stdout.split())


def test_completion_shows_the_names_before_their_first_use() -> None:
    code = "import zsl.scores; print(*dir(zsl)); print(*dir(zsl.scores))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    for line, name in zip(process.stdout.splitlines(), ("zsl", "zsl.scores"), strict=True):
        assert {*import_module(name).__all__, "__all__"} <= set(line.split())


@pytest.mark.parametrize("name", PACKAGES)
def test_each_public_name_is_that_of_its_module(name: str) -> None:
    package = import_module(name)
    assert package.__all__
    for public in package.__all__:
        value = getattr(package, public)
        module = getattr(value, "__module__", None)
        assert module is None or not module.startswith("zsl") or getattr(import_module(module), public) is value
        assert not (Path(str(package.__file__)).parent / f"{public}.py").exists(), f"a module hides {public}"
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'no_such'"):
        package.no_such  # noqa: B018
