"""Variants of DCR-GAN: configurations of it, never copies; and what validation folds may try for each."""

from __future__ import annotations

from typing import Any

from zsl.common.config import Overrides
from zsl.dcrgan.config import DCRGANConfig

VS = {"classifiers.weight_ss": 0.0, "classifiers.weight_srs": 0.0}
# Conditional critic, classifier pre-trained on real features, no regressors (Xian et al. 2018).
CLSWGAN = {
    "gan.critic_sees": "attributes",
    "gan.classification": "pretrained",
    "gan.classification_weight": 0.01,
    "gan.cycle_attributes": 0.0,
    "gan.semantic_transductive": False,
}
# eq. 5: D(x), and a classification loss, whose weight is 1.
LWGAN = {"gan.critic_sees": "features", "gan.classification": "joint", "gan.classification_weight": 1.0}
# x = G(a, z), no F2
GX = {
    "gan.generator_sees": "attributes",
    "gan.cycle_representations": 0.0,
    "gan.unseen_cycle_representations": 0.0,
}
# A variant that sets one of these has scores on a scale of its own: γ of a recipe, or of dcrgan's folds, is not for it.
SCALE = {"classifiers.weight_vs", "classifiers.fit"}

# Table III, and the comparisons that the paper's text argues with.
VARIANTS: dict[str, Overrides] = {
    "A": VS | LWGAN | GX,
    "B": VS | LWGAN,
    "C-1": VS,
    "C-2": {"classifiers.weight_vs": 0.0, "classifiers.weight_ss": 1.0, "classifiers.weight_srs": 0.0},
    "C-3": {"classifiers.weight_vs": 0.0, "classifiers.weight_ss": 0.0, "classifiers.weight_srs": 1.0},
    "C-4": {"classifiers.weight_ss": 0.0},
    "C-5": {},
    "TL": {"metric.modalities": "features"},  # traditional triplet loss (eq. 1) instead of MMTL
    "batch-hard": {"metric.mining": "hard"},
    "LDF": {"sampling": "ldf"},  # linear sampling of unseen representations instead of SRN
    "TL-LDF": {"metric.modalities": "features", "sampling": "ldf"},  # both, as LDF has it
    "frozen": {"regressors.pretrain_epochs": 50, "regressors.frozen": True},  # reference code's F1 and F2
    "transductive": {"gan.semantic_transductive": True},  # reference code's cycle losses on unseen attributes
    # Its own losses, G from scratch, softmax by gradient; powers, steps and classifier are its search's.
    "f-CLSWGAN": VS | GX | CLSWGAN | {"gan.shortcut_ridge": None, "classifiers.fit": "softmax"},
    "f-CLSWGAN+": VS | GX | CLSWGAN,  # with the recipe's start of G, classifiers and powers, whatever they are
}
# Where a variant's own search, or a run without one, starts: the recipe's values were chosen for another architecture.
STARTS: dict[str, Overrides] = {
    "f-CLSWGAN": {
        "feature_power": 1.0,
        "attribute_power": 1.0,
        "gan.steps": 450,
        "gan.lr_generator": 5e-4,
        "classifiers.images_per_unseen_class": 800,
    },
}


def _each(path: str, *values: Any) -> tuple[Overrides, ...]:
    return tuple({path: value} for value in values)


def _rounds(config: DCRGANConfig) -> tuple[tuple[Overrides, ...], ...]:
    """What is tried for this configuration; what needs no training of a generator comes first.

    `zsl/dcrgan/recipes.py` says how a recipe's other values were found.
    """
    heads = _DISCRIMINANTS if config.classifiers.fit == "discriminant" else _SOFTMAX
    fused = config.classifiers.weight_ss or config.classifiers.weight_srs
    rounds = [*heads, *([_WEIGHTS] if fused else []), *_TRAINED]
    if config.gan.generator_sees == "all":
        rounds.append(_each("metric.representation_dim", 10, 20, 40, 80))
    if config.gan.shortcut_ridge is not None:
        rounds.append(_each("gan.shortcut_ridge", 0.1, 0.3, 1.0))
    return tuple(rounds)


_DISCRIMINANTS = (tuple({"classifiers.shrinkage": (vs, ss, 0.5)} for vs in (0.5, 0.8, 0.9, 0.95) for ss in (0.2, 0.5)),)
_SOFTMAX = (
    _each("classifiers.lr_vs", 3e-4, 1e-3, 3e-3),
    _each("classifiers.epochs", 5, 20),
    _each("classifiers.images_per_unseen_class", 200, 400, 800),
)
_WEIGHTS = tuple(
    {"classifiers.weight_ss": ss, "classifiers.weight_srs": srs}
    for ss in (0.1, 0.2, 0.3, 0.5, 1.0)
    for srs in (0.05, 0.1, 0.2, 0.5)
)
_TRAINED = (
    _each("feature_power", 0.5, 1.0),
    _each("attribute_power", 0.5, 1.0),
    _each("gan.steps", 200, 900, 100, 450),
)
