"""The public names of a package, each imported at its first use (PEP 562).

`import zsl.features` stays instant, although some of its names need timm, whose import takes seconds.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make `__getattr__` and `__dir__` of a package from the imports below `if TYPE_CHECKING:` in its own file.

    So mypy, editors, notebooks and Python read the same lines.  No public name is also the name of a module of the
    package: after an import of that module, Python would give the module for the name.
    """

    @cache
    def modules() -> dict[str, str]:
        """The module of each public name."""
        tree = ast.parse(Path(str(sys.modules[package].__file__)).read_text(encoding="utf-8"))
        imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
        return {alias.name: str(node.module) for node in imports for alias in node.names}

    def find(name: str) -> Any:
        if name.startswith("__") or name not in modules():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(modules()[name]), name)
        setattr(sys.modules[package], name, value)  # the next use finds it without this function
        return value

    def names() -> list[str]:
        """All names, also before their first use, as completion in a notebook shows them."""
        return sorted({*vars(sys.modules[package]), *modules()})

    return find, names
