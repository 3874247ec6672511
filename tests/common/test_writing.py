"""Writers on a disk that is full, or in a folder that takes nothing: words, and nothing half-written."""

import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from zsl.common.files import REMEDIES, append_text, atomic_path, in_words, write_json, write_text, writing
from zsl.common.tensors import read_tensors, write_tensors

BIG = 100_000  # numbers, too many for a process that may write 10,000 bytes a file
WRITERS: dict[str, Callable[[Path], None]] = {
    "tensors": lambda path: write_tensors(path, {"a": torch.zeros(BIG)}),
    "text": lambda path: write_text(path, "0" * BIG),
    "json": lambda path: write_json(path, [0] * BIG),
}


@contextmanager
def small_files() -> Iterator[None]:
    """Inside, the system refuses a file of more than 10,000 bytes, as it does where the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(("umask", "rights"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_has_the_rights_that_the_user_gives_to_new_files(
    tmp_path: Path, kind: str, umask: int, rights: int
) -> None:
    before = os.umask(umask)
    try:
        for _ in range(2):  # anew, and in the place of an earlier one
            WRITERS[kind](tmp_path / "file")
            assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == rights
    finally:
        os.umask(before)


@pytest.mark.parametrize("kind", WRITERS)
def test_what_the_system_refuses_ends_in_words_and_the_old_file_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "content"
    path.write_text("old")
    with (
        small_files(),
        pytest.raises(OSError, match=rf"^{path} cannot be written: the file grows larger than") as error,
    ):
        WRITERS[kind](path)
    assert error.value.errno == errno.EFBIG
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["content"]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_that_shows_when_the_file_is_synced_ends_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, code: int
) -> None:
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "new" / "content"
    with pytest.raises(OSError, match=rf"^{path} cannot be written: ") as error:
        WRITERS[kind](path)
    assert str(error.value) == f"{path} cannot be written: {REMEDIES[code]}"
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders")
def test_a_read_only_folder_is_named_with_what_to_do(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    for path in (folder / "content", folder / "sub" / "content"):
        with pytest.raises(PermissionError, match=rf"^{path} cannot be written: this user may not write there"):
            WRITERS[kind](path)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", [*WRITERS, "append"])
@pytest.mark.parametrize("below", ["content", "sub/content"])
def test_a_file_in_a_folders_place_is_named_with_what_to_do(tmp_path: Path, kind: str, below: str) -> None:
    (tmp_path / "runs").write_text("a file")
    path = tmp_path / "runs" / below
    writer = WRITERS.get(kind, lambda path: append_text(path, "line\n"))
    with pytest.raises(OSError, match=rf"^{path} cannot be written: a file lies where a folder is needed"):
        writer(path)


@pytest.mark.parametrize("code", sorted(REMEDIES))
def test_each_reason_says_what_to_do(tmp_path: Path, code: int) -> None:
    with pytest.raises(OSError, match=rf"^{tmp_path} cannot be written: .+; ") as error, writing(tmp_path):
        raise OSError(code, os.strerror(code), str(tmp_path))
    assert error.value.errno == code
    assert in_words(error.value) == str(error.value)  # words are not put into words again
    deed = "written" if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS) else "read or written"
    raw = in_words(OSError(code, os.strerror(code), "x"))  # nobody said that it was a writer
    assert raw.startswith(f"x cannot be {deed}: ")
    assert "may not write" not in raw


def test_words_of_ones_own_are_left_as_they_are(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "no space left; 4 parts are kept")
    with pytest.raises(OSError, match="4 parts are kept"), writing(tmp_path):
        raise error
    assert "4 parts are kept" in in_words(error)


def test_an_error_about_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"), atomic_path(tmp_path / "a" / "copy") as temporary:
        temporary.write_bytes((tmp_path / "b" / "absent").read_bytes())


def test_a_file_and_its_name_are_on_the_disk_before_the_writer_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []  # what was synced, and whether the file had its name by then
    sync = os.fsync

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        synced.append(("folder" if path.is_dir() else "file", (tmp_path / "t.safetensors").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_tensors(tmp_path / "t.safetensors", {"a": torch.zeros(3)})
    assert synced == [("file", False), ("folder", True)]


def shared() -> dict[str, Tensor]:
    """Tensors that lie in one piece of memory, or in no order that a file knows."""
    base = torch.arange(24.0).view(2, 3, 2, 2)
    last = base.contiguous(memory_format=torch.channels_last)
    return {"a": base, "b": base, "part": base[1], "turned": base[0, 0].T, "last": last, "p": torch.nn.Parameter(base)}


@pytest.mark.parametrize("metadata", [None, {"format": "2"}])
def test_tensors_are_read_back_as_they_were(tmp_path: Path, metadata: Any) -> None:
    tensors = shared() | {"empty": torch.zeros(0), "number": torch.tensor(3), "whole": torch.tensor([1, 2])}
    write_tensors(tmp_path / "t.safetensors", tensors, metadata)
    read = load_file(tmp_path / "t.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in tensors.items())


@pytest.mark.parametrize("where", [0.3, 0.6, 0.999])
def test_a_file_whose_tensors_changed_is_refused(tmp_path: Path, where: float) -> None:
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.arange(500.0), "b": torch.zeros(3, 0), "c": torch.tensor(1)}, {"x": "y"})
    tensors, metadata = read_tensors(path, "make it anew")
    assert torch.equal(tensors["a"], torch.arange(500.0))
    assert metadata["x"] == "y"
    content = bytearray(path.read_bytes())
    start = len(content) - 2008  # of the data
    content[start + int(where * 2007)] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.safetensors is damaged: its tensors are not those .*; make it anew"):
        read_tensors(path, "make it anew")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"), (b"x" * 99, "is broken")],
)
def test_a_file_that_holds_no_tensors_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_tensors(tmp_path / "t", "make it anew")


def test_equal_content_has_equal_bytes(tmp_path: Path) -> None:
    """The library's own order of the metadata differs from call to call."""
    metadata = {name: f"value of {name}: \u00e4\n" for name in "hgfedcba"}
    contents = set()
    for number in range(20):
        path = tmp_path / f"{number}.safetensors"
        write_tensors(path, {"b": torch.arange(3.0), "a": torch.zeros(2, 2)}, metadata)
        contents.add(path.read_bytes())
        tensors, read = read_tensors(path, "")
        assert metadata.items() <= read.items()
        assert torch.equal(tensors["b"], torch.arange(3.0))
    assert len(contents) == 1
