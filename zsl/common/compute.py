"""Device, processes, precision and threads of a computation."""

from __future__ import annotations

import ctypes
import functools
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch

from zsl.common.control_groups import core_limits, memory_limits

if TYPE_CHECKING:
    from accelerate import Accelerator

Function = TypeVar("Function", bound=Callable[..., Any])
Precision = Literal["auto", "no", "bf16", "fp16"]
CONFIG_FILE = Path("accelerate_config.yaml")
FILE_PRECISIONS = ("no", "bf16", "fp16")  # of the field mixed_precision in it

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # constants of malloc.h

log = logging.getLogger(__name__)


def make_accelerator(precision: Precision = "auto") -> Accelerator:
    """Make an Accelerator.

    Its precision is that of the flag `precision`, else of the launcher, else of `accelerate_config.yaml`.  This file is
    that of the working directory, else that of the repository.  The launcher counts only where it says bf16 or fp16,
    because plain `accelerate launch` always exports "no".  If the flag is "auto" and the hardware only emulates the
    precision, the precision is "no", with a warning.

    Raises:
        ValueError: the flag is fp16 on a CPU, where matrix products in fp16 take minutes.
        ValueError: `accelerate_config.yaml` is broken, or names another precision.
        ValueError: the launcher started several processes, and they do not know of each other.
    """
    from accelerate import Accelerator, InitProcessGroupKwargs

    mixed_precision = precision if precision != "auto" else _configured_precision()
    use_cpu = not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
    if precision == "fp16" and use_cpu:
        raise ValueError("--precision fp16 needs a GPU; on a CPU there are bf16 and no")
    if precision == "auto" and not _is_native(mixed_precision, use_cpu):
        log.warning("this hardware has no native %s; computing in fp32", mixed_precision)
        mixed_precision = "no"
    # Processes with different shards can finish hours apart; they wait for each other for a day.
    patience = InitProcessGroupKwargs(timeout=timedelta(days=1))
    accelerator = Accelerator(mixed_precision=mixed_precision, cpu=use_cpu, kwargs_handlers=[patience])
    _check_processes(accelerator)
    # accelerate launch sets OMP_NUM_THREADS=1; here the processes of a machine share its cores.  For a GPU they decode.
    torch.set_num_threads(max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    keep_freed_memory()
    return accelerator


def available_cores() -> int:
    """Return the number of cores that this process may run on, at most the quota, rounded up, of its container or job.

    More threads than the quota allows would stand still for a part of each tenth of a second.
    """
    # Systems other than Linux do not tell on which ones.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cores, *(math.ceil(limit) for limit in core_limits())])


def whole_memory() -> int:
    """Return the bytes of memory of this machine, or of the container or job that this process runs in."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([whole, *(group.limit for group in memory_limits())])


@contextmanager
def cores_in_use(count: int) -> Iterator[None]:
    """Compute in `count` threads on the CPU inside the `with` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def matmul_precision(precision: Literal["no", "bf16"]) -> Iterator[None]:
    """Set the precision of products of fp32 matrices inside the `with` block.

    "bf16" rounds the factors of a product: to bf16 on a CPU that has it, to TF32 on a GPU.  Sums, weights, optimizers
    and all other values stay fp32, so that no loss needs scaling.  "no" is plain fp32.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if precision == "bf16" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def compiled(function: Function, *, backend: str = "inductor") -> Function:
    """Return `function` compiled by `torch.compile` at its first call, or unchanged, with a warning, if that fails.

    The first call of `function` can happen twice, because a failed call may have begun.
    """
    version: list[Any] = []  # the compiled or the plain function, after the first call

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        if not version:
            try:
                fast = torch.compile(function, backend=backend)
                result = fast(*args)
            except Exception as error:  # compilers end with many types of exceptions
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                log.warning("torch.compile does not work here (%s); going on without it", reason)
                version.append(function)
            else:
                version.append(fast)
                return result
        return version[0](*args)

    return run  # type: ignore[return-value]  # it has the signature of function


def training_precision() -> Precision:
    """Return the default for training: fp32 on a CPU, where a depthwise convolution's backward pass is slow in bf16."""
    return "auto" if torch.cuda.is_available() else "no"


def keep_freed_memory() -> None:
    """Let the C library reuse large blocks of memory, instead of returning each block to the system.

    The activations of a model on a CPU are such blocks; ResNet-101 in bf16 gains 9 %.  So are the pixels of photos; 16
    threads decode up to a quarter more.  It has an effect on glibc only.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def _configured_precision() -> str:
    launcher = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launcher in ("bf16", "fp16"):
        return launcher
    for path in (CONFIG_FILE, Path(__file__).parents[2] / CONFIG_FILE):
        if path.is_file():
            return _precision_in(path)
    return "no"


def _precision_in(path: Path) -> str:
    """The field mixed_precision of an accelerate configuration; "no" where it has none.

    Raises:
        ValueError: the file is no YAML or no mapping, or the field is no precision.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML ({' '.join(str(error).split())}); mend or remove it") from error
    if not isinstance(content, dict | None):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a mapping of fields; mend or remove it")
    value = (content or {}).get("mixed_precision")
    # YAML reads a plain `no` as False.
    precision = "no" if value is None or value is False else str(value).lower()
    if precision not in FILE_PRECISIONS:
        raise ValueError(f"{path}: mixed_precision is {value!r}; it is one of {', '.join(FILE_PRECISIONS)}")
    return precision


def _is_native(precision: str, use_cpu: bool) -> bool:
    if precision == "no":
        return True
    if not use_cpu:
        return precision == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16" and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _check_processes(accelerator: Accelerator) -> None:
    """Check that there are as many processes as the launcher announced.

    `accelerate launch --multi_gpu` without CUDA starts processes that do not know of each other.  Each would do all of
    the work and overwrite the others' files.
    """
    announced = int(os.environ.get("WORLD_SIZE", "1"))
    if announced != accelerator.num_processes:
        raise ValueError(
            f"the launcher announced {announced} processes, but each of them sees {accelerator.num_processes}; "
            f"on CPU use ACCELERATE_USE_CPU=1 torchrun --nproc-per-node {announced} …"
        )
