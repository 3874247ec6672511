"""Serve a web page on this machine: it answers what a photo shows, and adds classes by their attributes.

    python scripts/serve.py --run runs/cub            # then open the address that it prints

Without --host, only this machine can reach the page.  With another address of this machine as --host, everyone who can
reach that address can use the page.  Photos stay in memory.  The page needs the extra `serve`:
pip install 'zsl-dcrgan[serve]'.
"""

from __future__ import annotations

import zsl.common.early  # noqa: F401  (before the imports that take seconds)

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import arg

from zsl.cli import run_script
from zsl.common.hub import local_folder
from zsl.common.ranges import Interval, Whole
from zsl.predict.photos import Limits


@dataclass(frozen=True, kw_only=True)
class Args:
    """Serve the page of one run."""

    run: Path = tyro.MISSING  # folder of a run, or of predict.py --export, or hf://OWNER/NAME
    seeds: tuple[Whole, ...] = ()  # seeds of the run to average; default: all
    classes: Path | None = None  # table of new classes that the page starts with
    weights: tuple[Path, ...] = ()  # weights file of the backbone, or of each joined one, if it was not published
    host: str = "127.0.0.1"  # address to listen at; not 0.0.0.0 or ::, which are all of them
    port: Annotated[int, Interval("[0, 65535]")] = 8765  # 0: any free port
    limits: Annotated[Limits, arg(name="")] = field(default_factory=Limits)


def main(args: Args) -> None:
    """Serve the page until Ctrl-C."""
    try:
        from zsl.predict.serve import PageServer, is_loopback
    except ModuleNotFoundError as error:
        sys.exit(f"error: the page needs the package {error.name}: pip install 'zsl-dcrgan[serve]'")
    from zsl.predict.desk import Desk
    from zsl.predict.reader import open_reader

    reader = open_reader(local_folder(args.run), args.seeds, classes=args.classes, weights=args.weights)
    desk = Desk(reader=reader, run=args.run.resolve().name, limits=args.limits)
    with PageServer(desk, args.host, args.port) as server:
        if not is_loopback(server.address):
            print(f"everyone who reaches {server.address} can use this page; it asks for no password", file=sys.stderr)
        print(f"{server.url}  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    run_script(main, Args)
