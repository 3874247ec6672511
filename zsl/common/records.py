"""Records: frozen dataclasses, written to JSON files and read back, with errors that name file and field."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from zsl.common.files import write_json

Record = TypeVar("Record")


def read_record(path: Path, record_type: type[Record], remedy: str) -> Record:
    """Read a dataclass from the JSON file `path`.

    remedy: the end of an error's message: what to do about the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no JSON, or a field is absent or of another type; the message names the field.
    """
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON ({error}); {remedy}") from error
    return as_record(content, record_type, str(path), remedy)


def as_record(content: Any, record_type: type[Record], where: str, remedy: str) -> Record:
    """Turn the parsed JSON `content` of the file `where` into a dataclass.

    Raises:
        ValueError: a field is absent or of another type; the message names the field.
    """
    try:
        return msgspec.convert(content, record_type)
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}: {error}; {remedy}") from error


def write_record(path: Path, record: Any) -> None:
    """Write a dataclass as indented JSON, atomically."""
    write_json(path, dataclasses.asdict(record))
