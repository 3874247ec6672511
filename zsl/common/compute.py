"""Where and how exactly to compute: device, processes, precision, threads.  It never changes what is computed."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator

Function = TypeVar("Function", bound=Callable[..., Any])
Precision = Literal["auto", "no", "bf16", "fp16"]
CONFIG_FILE = Path("accelerate_config.yaml")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h

log = logging.getLogger(__name__)


def make_accelerator(precision: Precision = "auto") -> Accelerator:
    """An Accelerator with the precision of, in this order: the flag, the launcher, `accelerate_config.yaml`.

    The yaml is that of the working directory, else that of the repository.

    The launcher counts only where it says bf16 or fp16: plain `accelerate launch` exports "no" for everyone.  A
    precision that was not asked for by flag and that this hardware only emulates falls back to "no", with a note.

    Raises:
        ValueError: fp16 was asked for on a CPU, where its matrix products take minutes.
        ValueError: the launcher was asked for several processes and started them as strangers to each other.
    """
    from accelerate import Accelerator, InitProcessGroupKwargs

    chosen = precision if precision != "auto" else _configured_precision()
    use_cpu = not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
    if precision == "fp16" and use_cpu:
        raise ValueError("--precision fp16 needs a GPU; on a CPU there are bf16 and no")
    if precision == "auto" and not _is_native(chosen, use_cpu):
        log.warning("this hardware has no native %s; computing in fp32", chosen)
        chosen = "no"
    # Ranks that share out shards may finish hours apart; none of them is lost before a day has passed.
    patience = InitProcessGroupKwargs(timeout=timedelta(days=1))
    accelerator = Accelerator(mixed_precision=chosen, cpu=use_cpu, kwargs_handlers=[patience])
    _check_processes(accelerator)
    if accelerator.device.type == "cpu":
        # accelerate launch sets OMP_NUM_THREADS=1; the cores of a machine are shared by its local processes.
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // local))
        _keep_freed_memory()
    return accelerator


@contextmanager
def matmul_precision(precision: Literal["no", "bf16"]) -> Iterator[None]:
    """Inside, bf16 lets products of fp32 matrices round their factors: to bf16 on a CPU that has it, to TF32 on a GPU.

    Sums, weights, optimizers and everything else stay fp32, so that nothing needs scaling.  "no" is plain fp32.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if precision == "bf16" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def compiled(function: Function, *, backend: str = "inductor") -> Function:
    """`function` behind `torch.compile`, at its first call; as it is, with a warning, where that fails.

    It must be one whose call can be repeated, as what failed may have begun.
    """
    chosen: list[Any] = []

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        if not chosen:
            try:
                fast = torch.compile(function, backend=backend)
                made = fast(*args)
            except Exception as error:  # whatever compilers end with
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                log.warning("torch.compile does not work here (%s); going on without it", reason)
                chosen.append(function)
            else:
                chosen.append(fast)
                return made
        return chosen[0](*args)

    return run  # type: ignore[return-value]  # of one signature with function


def training_precision() -> Precision:
    """What training defaults to: fp32 on a CPU, where the backward pass of a depthwise convolution in bf16 is slow."""
    return "auto" if torch.cuda.is_available() else "no"


def _keep_freed_memory() -> None:
    """Let the C library reuse large blocks instead of returning each one to the system and faulting it in again.

    A model's activations on a CPU are such blocks: ResNet-101 in bf16 gains 9 %.  Only where that library is glibc.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def _configured_precision() -> str:
    import yaml

    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched in ("bf16", "fp16"):
        return launched
    for path in (CONFIG_FILE, Path(__file__).parents[2] / CONFIG_FILE):
        if path.is_file():
            return str((yaml.safe_load(path.read_text()) or {}).get("mixed_precision", "no"))
    return "no"


def _is_native(precision: str, use_cpu: bool) -> bool:
    if precision == "no":
        return True
    if not use_cpu:
        return precision == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16" and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _check_processes(accelerator: Accelerator) -> None:
    """The world that a launcher announced is the one that exists.

    `accelerate launch --multi_gpu` without CUDA starts processes that each think that they are alone; each would then
    do all of the work and overwrite the others' files.
    """
    asked = int(os.environ.get("WORLD_SIZE", "1"))
    if asked != accelerator.num_processes:
        raise ValueError(
            f"the launcher announced {asked} processes, but each of them sees {accelerator.num_processes}; on CPU use "
            f"ACCELERATE_USE_CPU=1 torchrun --nproc-per-node {asked} …"
        )
