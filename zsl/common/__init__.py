"""Files, randomness, devices, configurations, drawings: code that knows nothing of zero-shot learning."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.common.compute import make_accelerator, matmul_precision
    from zsl.common.config import override
    from zsl.common.determinism import derive_seed, seeded
    from zsl.common.files import atomic_path
    from zsl.common.ranges import Count, NotNegative, Positive, Share, Whole, check_ranges
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "Count",
    "NotNegative",
    "Positive",
    "Share",
    "Whole",
    "atomic_path",
    "check_ranges",
    "derive_seed",
    "make_accelerator",
    "matmul_precision",
    "override",
    "seeded",
]
