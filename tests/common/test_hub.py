"""Addresses on the hub: which repository is asked for, which files, and what an error says."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from zsl.common.hub import address_of, local_folder

REMOTE = ("a.json", "a.py", "model.bin", "cub/lite0/m.json", "cub/lite0/m.pkl", "cub/lite1/m.json")  # on the hub


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the hub's client is asked for; it has everything, below `tmp_path`."""
    calls: dict[str, Any] = {}

    def download(repository: str, **settings: Any) -> str:
        if repository == "nobody/nothing":
            raise OSError("404")
        calls.update(settings, repository=repository)
        (tmp_path / "cub" / "lite0").mkdir(parents=True, exist_ok=True)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return calls


def test_a_folder_of_this_machine_stays_as_it_is(asked: dict[str, Any], tmp_path: Path) -> None:
    assert local_folder(tmp_path) == tmp_path
    assert local_folder(Path("runs/hf")) == Path("runs/hf")
    assert address_of(Path("runs/hf")) == str(Path("runs/hf"))
    assert asked == {}


@pytest.mark.parametrize(
    ("address", "repository", "kind", "revision", "inner"),
    [
        ("hf://me/birds", "me/birds", "model", None, ""),
        ("hf://models/me/birds", "me/birds", "model", None, ""),
        ("hf://datasets/me/birds-1.0", "me/birds-1.0", "dataset", None, ""),
        ("hf://me/birds@v1", "me/birds", "model", "v1", ""),
        ("hf://datasets/me/birds@0a1b/cub/lite0", "me/birds", "dataset", "0a1b", "cub/lite0"),
    ],
)
def test_an_address_is_fetched(
    asked: dict[str, Any], tmp_path: Path, address: str, repository: str, kind: str, revision: str | None, inner: str
) -> None:
    assert local_folder(Path(address)) == tmp_path / inner  # a Path makes hf:/ of hf://, as each flag does
    assert address_of(Path(address)) == address
    assert (asked["repository"], asked["repo_type"], asked["revision"]) == (repository, kind, revision)
    fetched = [name for name in REMOTE if any(fnmatch(name, pattern) for pattern in asked["allow_patterns"])]
    assert fetched == [name for name in REMOTE if name.endswith(".json") and name.startswith(inner)]


def test_what_cannot_be_had_is_said_in_words(asked: dict[str, Any]) -> None:
    with pytest.raises(FileNotFoundError, match=r"hf://nobody/nothing \(model\) could not be fetched \(OSError\)"):
        local_folder(Path("hf://nobody/nothing"))
    with pytest.raises(FileNotFoundError, match=r"hf://me/birds \(dataset\) has no folder cub/lite7"):
        local_folder(Path("hf://datasets/me/birds/cub/lite7"))
    wrongs = ("hf://me", "hf://me/..", "hf://me/birds/../../x", "hf://datasets/me", "hf://spaces/me/x", "hf://me/x@")
    for wrong in wrongs:
        with pytest.raises(ValueError, match="an address on the hub is hf://OWNER/NAME"):
            local_folder(Path(wrong))
