"""What the processes of one launch do as one: see the same facts, have a folder for themselves, and end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zsl.common.locks import FolderInUse, sole_process

if TYPE_CHECKING:
    from accelerate import Accelerator

Value = TypeVar("Value")


def of_first_process(value: Value, accelerator: Accelerator) -> Value:
    """Return, in all processes of a launch, what the first one has as `value`.

    Processes that look at a folder one after the other may see different files, because other launches write there.
    Then some would wait for the others forever.
    """
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value


@contextmanager
def sole_launch(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """Keep other launches out of `folder` during the block; the first process has the lock (`sole_process`).

    Raises:
        FolderInUse: another launch is in such a block; all processes of this one raise it.
    """
    with ExitStack() as stack:
        refusal = None
        try:
            stack.enter_context(sole_process(folder, when=accelerator.is_main_process))
        except FolderInUse as error:
            refusal = error
        refusal = of_first_process(refusal, accelerator)
        if refusal is not None:
            raise refusal
        yield


def leave_launch() -> None:
    """Close the connections to the other processes of a launch, if there are any.

    A process that ends without this is now and then aborted by the threads that serve its connections, and then the
    launcher calls work that is done a failure.
    """
    distributed = sys.modules.get("torch.distributed")  # who has not imported it has no connections
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
