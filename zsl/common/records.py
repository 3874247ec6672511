"""Records: frozen dataclasses, written to JSON files and read back, with errors that name file and field."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from zsl.common.files import write_json

Record = TypeVar("Record")
LFS_POINTER = b"version https://git-lfs"  # how the text begins that Git keeps in place of a large file


def read_record(path: Path, record_type: type[Record], remedy: str) -> Record:
    """Read a dataclass from the JSON file `path`.

    remedy: the end of an error's message: what to do about the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no JSON, or a field is absent or of another type; the message names the field.
    """
    return as_record(read_content(path, remedy), record_type, str(path), remedy)


def read_content(path: Path, remedy: str) -> Any:
    """The parsed JSON of the file `path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON; a Git LFS pointer in its place is called by its name.
    """
    content = path.read_bytes()
    if content.startswith(LFS_POINTER):
        raise ValueError(f"{path} is a Git LFS pointer, not the file itself; git lfs pull fetches it")
    try:
        return json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON ({error}); {remedy}") from error


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
