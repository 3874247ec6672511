"""Methods of other papers that generate features or latents of unseen classes, one file each on shared parts."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.generative.method import AdversarialConfig, GenerativeConfig, both_forms
    from zsl.generative.registry import GENERATIVE
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["GENERATIVE", "AdversarialConfig", "GenerativeConfig", "both_forms"]
