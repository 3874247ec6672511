"""Records: frozen dataclasses, written to JSON files and read back, with errors that name file and field."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from zsl.common.files import read_json, write_json

Record = TypeVar("Record")


def read_record(path: Path, record_type: type[Record], remedy: str) -> Record:
    """Read a dataclass from the JSON file `path`.

    remedy: the end of an error's message: what to do about the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no JSON, or a field is absent or of another type; the message names the field.
    """
    return as_record(read_json(path, remedy), record_type, str(path), remedy)


def as_record(content: Any, record_type: type[Record], where: str, remedy: str) -> Record:
    """Turn the parsed JSON `content` of the file `where` into a dataclass.

    Raises:
        ValueError: a field is absent or of another type; the message names the field.
    """
    try:
        return msgspec.convert(content, record_type)
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}: {error}; {remedy}") from error


def content_of(record: Any) -> dict[str, Any]:
    """A dataclass as its JSON reads: objects of its fields, lists for tuples."""
    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(record)))
    return content


def write_record(path: Path, record: Any) -> None:
    """Write a dataclass as indented JSON, atomically."""
    write_json(path, dataclasses.asdict(record))
