"""Configurations as frozen dataclasses: replacing values by dotted path, and checking limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any


def at_least_one(config: Any, *names: str) -> None:
    """Check that these fields of a configuration are at least 1.

    Raises:
        ValueError: a field is below 1; the message names the field.
    """
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{type(config).__name__}: {name} is {getattr(config, name)}; it is at least 1")


Settings = dict[str, Any]  # a configuration, or facts, as JSON has them: by name, nested
Overrides = Mapping[str, Any]  # dotted field of a configuration -> value


def override(config: Any, overrides: Overrides) -> Any:
    """Return the configuration with some values replaced, named by their dotted path.

    Raises:
        ValueError: a path names no field.
    """
    for path, value in overrides.items():
        config = _replace(config, path.split("."), value, path)
    return config


def flatten(config: Mapping[str, Any], prefix: str = "") -> Settings:
    """Turn nested dictionaries into overrides, such as {"gan.steps": 450, …}."""
    flat: Settings = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _replace(config: Any, path: list[str], value: Any, whole: str) -> Any:
    names = [item.name for item in fields(config)] if is_dataclass(config) else []
    if path[0] not in names:
        raise ValueError(f"no field {whole!r} in the configuration; there are {', '.join(names) or 'none'}")
    old = getattr(config, path[0])
    new = value if len(path) == 1 else _replace(old, path[1:], value, whole)
    if isinstance(old, tuple) and isinstance(new, list):  # JSON has no tuples
        new = tuple(new)
    return replace(config, **{path[0]: new})
