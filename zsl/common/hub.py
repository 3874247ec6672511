"""Folders on the hub: `hf://owner/name`, `hf://datasets/owner/name@revision`, read through the hub's own client.

Only files that hold nothing executable are fetched.  Nothing is ever pushed from here.
"""

from __future__ import annotations

import re
from pathlib import Path

SCHEME = "hf:/"  # pathlib makes hf:/ of hf://
ADDRESS = re.compile(
    r"hf:/{1,2}(?P<kind>datasets/|models/)?(?P<owner>\w[\w.-]*)/(?P<name>\w[\w.-]*)(@(?P<revision>[\w.-]+))?(?P<inner>/.+)?"
)
FILES = ("*.json", "*.jsonl", "*.npy", "*.safetensors", "*.csv", "*.txt", "*.md")


def local_folder(folder: Path) -> Path:
    """Return `folder` itself or, for an address on the hub, the folder in the hub's cache, after a download.

    Raises:
        ValueError: the address is none of the hub.
        FileNotFoundError: the hub, or its cache without a network, does not have it.
    """
    if not str(folder).startswith(SCHEME):
        return folder
    match = ADDRESS.fullmatch(str(folder))
    if match is None or ".." in folder.parts:
        raise ValueError(f"{folder}: an address on the hub is hf://OWNER/NAME or hf://datasets/OWNER/NAME[@REVISION]")
    from huggingface_hub import snapshot_download

    repository, kind = f"{match['owner']}/{match['name']}", "dataset" if match["kind"] == "datasets/" else "model"
    try:
        place = snapshot_download(repository, repo_type=kind, revision=match["revision"], allow_patterns=list(FILES))
    except Exception as error:  # the hub's client raises many types, and none of them tells a user what to do
        raise FileNotFoundError(
            f"hf://{repository} ({kind}) could not be fetched ({type(error).__name__}); is the address right, is there "
            "a network, and may you read it (hf auth login)?  A folder that was copied here works as well"
        ) from error
    return Path(place) / (match["inner"] or "").lstrip("/")
