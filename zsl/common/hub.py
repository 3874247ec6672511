"""Folders on the hub: `hf://owner/name`, `hf://datasets/owner/name@revision`, read through the hub's own client.

Only files that hold nothing executable are fetched.  Nothing is ever pushed from here.
"""

from __future__ import annotations

import re
from pathlib import Path

SCHEME = "hf:/"  # pathlib makes hf:/ of hf://
ADDRESS = re.compile(
    r"hf:/{1,2}(?P<kind>datasets/|models/)?(?!(?:datasets|models|spaces)/)(?P<owner>\w[\w.-]*)/(?P<name>\w[\w.-]*)"
    r"(@(?P<revision>[\w.-]+))?(/(?P<inner>.+))?"
)
FILES = ("*.json", "*.jsonl", "*.npy", "*.safetensors", "*.csv", "*.txt", "*.md")


def address_of(folder: Path) -> str:
    """Return `folder` as its user wrote it: an address on the hub has both slashes again."""
    return re.sub(f"^{SCHEME}/*", f"{SCHEME}/", str(folder))


def local_folder(folder: Path) -> Path:
    """Return `folder` itself or, for an address on the hub, the folder in the hub's cache, after a download.

    Of an address with a path after the name, the files below that path are fetched, and no others.

    Raises:
        ValueError: the address is none of the hub.
        FileNotFoundError: the hub, or its cache without a network, does not have it, or it has no such inner folder.
    """
    if not str(folder).startswith(SCHEME):
        return folder
    match = ADDRESS.fullmatch(str(folder))
    if match is None or ".." in folder.parts:
        raise ValueError(
            f"{address_of(folder)}: an address on the hub is hf://OWNER/NAME or hf://datasets/OWNER/NAME, then "
            "@REVISION and /FOLDER if you need them"
        )
    from huggingface_hub import snapshot_download

    repository, kind = f"{match['owner']}/{match['name']}", "dataset" if match["kind"] == "datasets/" else "model"
    inner, revision = match["inner"], match["revision"]
    patterns = [f"{inner}/{pattern}" if inner else pattern for pattern in FILES]
    try:
        place = Path(snapshot_download(repository, repo_type=kind, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises many types, and none of them tells a user what to do
        raise FileNotFoundError(
            f"hf://{repository} ({kind}) could not be fetched ({type(error).__name__}); is the address right, is there "
            "a network, and may you read it (hf auth login)?  A folder that was copied here works as well"
        ) from error
    if inner and not (place / inner).is_dir():
        raise FileNotFoundError(f"hf://{repository} ({kind}) has no folder {inner} with files of this program")
    return place / (inner or "")
