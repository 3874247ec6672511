"""The one writer and reader of tensors: safetensors files that are whole or absent, with a hash of their content."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from backbones.tensor_hash import CONTENT, is_changed, tensors_sha256
from zsl.common.files import LFS_POINTER, atomic_path

OS_ERROR = re.compile(r"\(os error (\d+)\)")  # form of an operating system's error in safetensors' messages


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write `tensors` on any device to the safetensors file `path`, so that it is whole and on the disk, or absent.

    Raises:
        OSError: the disk is full, the folder is read-only, or the like; the message is in words.
    """
    with atomic_path(path) as temporary:
        try:
            separate = _separate(tensors)
            temporary.touch()  # with the rights of a new file; the library gives its own to the owner alone
            rights = stat.S_IMODE(temporary.stat().st_mode)
            save_file(separate, temporary, {**(metadata or {}), CONTENT: tensors_sha256(separate)})
            _sort_metadata(temporary)
            with suppress(OSError):  # some file systems have no rights
                temporary.chmod(rights)
        except SafetensorError as error:
            if number := OS_ERROR.search(str(error)):
                code = int(number[1])
                raise OSError(code, os.strerror(code)) from error
            raise


def _sort_metadata(path: Path) -> None:
    """Put the metadata into the order of their keys, so that equal content has equal bytes.

    The library writes them in an order that differs from call to call.
    """
    with path.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:
            stream.seek(8)
            stream.write(text.ljust(length))


def read_tensors(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a safetensors file onto the CPU.

    remedy: end of an error message, which says what to do about the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a whole file of tensors, or its tensors do not match its hash.  Files of other
            programs and of earlier versions have no hash.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except SafetensorError as error:
        raise ValueError(f"{path} is {_kind(path, error)}; {remedy}") from error
    if is_changed(tensors, metadata):
        raise ValueError(f"{path} is damaged: its tensors are not those that were written; {remedy}")
    return tensors, metadata


def read_some_tensors(
    path: Path, names: Sequence[str], remedy: str
) -> tuple[dict[str, Tensor], dict[str, tuple[int, ...]], dict[str, str]]:
    """Read the tensors called `names`, the shapes of all, and the metadata; their hash is not checked.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a whole file of tensors, or lacks one of `names`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return {name: file.get_tensor(name) for name in names}, shapes, dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{path} is {_kind(path, error)}; {remedy}") from error


def written_hash(path: Path, remedy: str) -> str | None:
    """The hash of its content that `write_tensors` put into the file; None for files of other programs.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a whole file of tensors.
    """
    return read_some_tensors(path, [], remedy)[2].get(CONTENT)


def _kind(path: Path, error: SafetensorError) -> str:
    """Say in words what a file is that holds no tensors."""
    with path.open("rb") as stream:
        start = stream.read(len(LFS_POINTER))
    if not start:
        return "empty"
    return "a Git LFS pointer, not the file itself" if start == LFS_POINTER else f"broken ({error})"


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make contiguous tensors on the CPU; copy those that share memory, because safetensors refuses them."""
    separate: dict[str, Tensor] = {}
    pointers: set[int] = set()
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        storage = whole.untyped_storage()
        if storage.data_ptr() in pointers or storage.nbytes() > whole.nbytes:
            whole = whole.clone()
        pointers.add(whole.untyped_storage().data_ptr())
        separate[name] = whole
    return separate
