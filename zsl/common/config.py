"""Configurations as frozen dataclasses: values replaced by dotted path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

Overrides = Mapping[str, Any]  # dotted field of a configuration -> value


def override(config: Any, overrides: Overrides) -> Any:
    """The configuration with some values replaced, named by their dotted path.

    Raises:
        ValueError: there is no such field.
    """
    for path, value in overrides.items():
        config = _replace(config, path.split("."), value, path)
    return config


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"gan.steps": 450, …} of nested dictionaries: the overrides that make a configuration."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _replace(config: Any, path: list[str], value: Any, whole: str) -> Any:
    known = [item.name for item in fields(config)] if is_dataclass(config) else []
    if path[0] not in known:
        raise ValueError(f"no field {whole!r} in the configuration; there are {', '.join(known) or 'none'}")
    old = getattr(config, path[0])
    new = value if len(path) == 1 else _replace(old, path[1:], value, whole)
    if isinstance(old, tuple) and isinstance(new, list):  # JSON has no tuples
        new = tuple(new)
    return replace(config, **{path[0]: new})
