"""DCR-GAN (Ye et al. 2022): the method, its parts, its recipes and its variants."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.dcrgan.config import DCRGANConfig
    from zsl.dcrgan.dcrgan import fit_classifiers, train_dcrgan, train_synthesizer
    from zsl.dcrgan.method import dcrgan_method
    from zsl.dcrgan.model import DCRGAN, Synthesizer
    from zsl.dcrgan.recipes import Recipe, find_recipe
    from zsl.dcrgan.variants import VARIANTS, Variant
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "DCRGAN",
    "VARIANTS",
    "DCRGANConfig",
    "Recipe",
    "Synthesizer",
    "Variant",
    "dcrgan_method",
    "find_recipe",
    "fit_classifiers",
    "train_dcrgan",
    "train_synthesizer",
]
