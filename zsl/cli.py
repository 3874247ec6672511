"""What every script shares: typed arguments, errors in words, defaults that depend on the benchmark."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from backbones.presets import OFFLINE_PRESET
from zsl.data import SHAPES

Args = TypeVar("Args")


def run_script(main: Callable[[Args], None], args: type[Args]) -> None:
    """Parse the command line into `args` and run `main`; a user's mistake ends with its message and exit code 1.

    `ZSL_TRACEBACK=1` shows where it came from.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("timm").setLevel(logging.WARNING)
    parsed = tyro.cli(args, description=sys.modules["__main__"].__doc__)
    try:
        main(parsed)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        if os.environ.get("ZSL_TRACEBACK"):
            raise
        sys.exit(f"error: {error}")


def default_backbone(benchmark: str) -> str:
    """ResNet-101 for real benchmarks; the preset that needs no download for the embedded one."""
    return OFFLINE_PRESET if benchmark == SHAPES else "resnet101"
