"""Facts that travel: frozen dataclasses to JSON files and back, with errors that name file and field."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from zsl.common.files import write_json

Record = TypeVar("Record")


def read_record(path: Path, record_type: type[Record], remedy: str) -> Record:
    """The dataclass that the JSON file `path` holds.

    remedy: what to do about a file that holds something else, the end of the message.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or a field is absent or of another type; the message names it.
    """
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON ({error}); {remedy}") from error
    return as_record(content, record_type, str(path), remedy)


def as_record(content: Any, record_type: type[Record], where: str, remedy: str) -> Record:
    """The dataclass that the parsed JSON `content` of `where` amounts to.

    Raises:
        ValueError: a field is absent or of another type; the message names it.
    """
    try:
        return msgspec.convert(content, record_type)
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}: {error}; {remedy}") from error


def write_record(path: Path, record: Any) -> None:
    """Write a dataclass as indented JSON, atomically."""
    write_json(path, dataclasses.asdict(record))
