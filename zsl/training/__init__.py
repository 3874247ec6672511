"""The shared parts of every method's training: stages, logs, checkpoints."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.training.journal import Journal
    from zsl.training.log import Log, Watch, silent
    from zsl.training.method import Method, Step, candidates, one_step
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["Journal", "Log", "Method", "Step", "Watch", "candidates", "one_step", "silent"]
