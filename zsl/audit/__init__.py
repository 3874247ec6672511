"""Checks of what is on disk: whether test rows or unseen classes leak, and whether all that is needed is there."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.audit.findings import Finding, failed
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["Finding", "failed"]
