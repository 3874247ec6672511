"""Variants of DCR-GAN as changes of its configuration, their two forms, and the settings that folds try for each.

Every variant has the form of its paper, and a form with closed-form parts.  The name of the latter ends with `+`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from zsl.common.config import Overrides
from zsl.dcrgan.config import DCRGANConfig
from zsl.training.method import each

YE, XIAN = "Ye et al. 2022", "Xian et al. 2018"
NAME = "dcrgan"


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of DCR-GAN and of its variants."""

    suffix: str  # of the variants' names
    settings: Overrides  # that make the form; no choice changes them
    text: str


PAPER = Form(
    suffix="",
    settings={"gan.shortcut_ridge": None, "classifiers.fit": "softmax"},
    text="as published: G learns from scratch, softmax classifiers by gradient",
)
PLUS = Form(
    suffix="+",
    settings={"classifiers.fit": "discriminant"},
    text="with closed-form parts: G starts from a ridge regression, the classifiers are discriminants",
)
FORMS = (PAPER, PLUS)
RIDGE = 0.3  # of the start of G, where a configuration has none
DEFAULT = f"{NAME}{PLUS.suffix}"  # the method without --method


def form_of(name: str) -> Form:
    """Return the form of the method `name`."""
    return PLUS if name.endswith(PLUS.suffix) else PAPER


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A variant of DCR-GAN."""

    name: str
    settings: Overrides  # applied last, over the configuration that was chosen
    start: Overrides | None = None  # where its own search starts; None: it shares the choices for DCR-GAN in its form
    budget: int | None = None  # most configurations for which its own search trains something
    citation: str = YE


VS = {"classifiers.weight_ss": 0.0, "classifiers.weight_srs": 0.0}
# Conditional critic, classifier pre-trained on real features, no regressors (Xian et al. 2018).
CLSWGAN = {
    "gan.critic_sees": "attributes",
    "gan.classification": "pretrained",
    "gan.classification_weight": 0.01,
    "gan.cycle_attributes": 0.0,
    "gan.semantic_transductive": False,
}
# eq. 5: D(x), and a classification loss of weight 1.
LWGAN = {"gan.critic_sees": "features", "gan.classification": "joint", "gan.classification_weight": 1.0}
# x = G(a, z), no F2
GX = {
    "gan.generator_sees": "attributes",
    "gan.cycle_representations": 0.0,
    "gan.unseen_cycle_representations": 0.0,
}
# f-CLSWGAN's search starts here, because the recipe's values were chosen for another architecture.
CLSWGAN_START = {
    "feature_power": 1.0,
    "attribute_power": 1.0,
    "gan.steps": 450,
    "gan.lr_generator": 5e-4,
    "classifiers.images_per_unseen_class": 800,
}

# The rows of Table III, and the comparisons in the paper's text.
_ROWS = (
    Variant(name=NAME, settings={}),
    Variant(name="A", settings=VS | LWGAN | GX),
    Variant(name="B", settings=VS | LWGAN),
    Variant(name="C-1", settings=VS),
    Variant(
        name="C-2",
        settings={"classifiers.weight_vs": 0.0, "classifiers.weight_ss": 1.0, "classifiers.weight_srs": 0.0},
    ),
    Variant(
        name="C-3",
        settings={"classifiers.weight_vs": 0.0, "classifiers.weight_ss": 0.0, "classifiers.weight_srs": 1.0},
    ),
    Variant(name="C-4", settings={"classifiers.weight_ss": 0.0}),
    Variant(name="C-5", settings={}),
    # traditional triplet loss (eq. 1) instead of MMTL
    Variant(name="TL", settings={"metric.modalities": "features"}),
    Variant(name="batch-hard", settings={"metric.mining": "hard"}),
    # linear sampling of unseen representations instead of SRN
    Variant(name="LDF", settings={"sampling": "ldf"}),
    # both of these, as in LDF
    Variant(name="TL-LDF", settings={"metric.modalities": "features", "sampling": "ldf"}),
    # F1 and F2 of the reference code
    Variant(name="frozen", settings={"regressors.pretrain_epochs": 50, "regressors.frozen": True}),
    # cycle losses of the reference code, on unseen attributes
    Variant(name="transductive", settings={"gan.semantic_transductive": True}),
    # its own losses; in its paper's form its own search chooses powers, steps and classifier
    Variant(name="f-CLSWGAN", settings=VS | GX | CLSWGAN, start=CLSWGAN_START, budget=5, citation=XIAN),
)


def _in_form(variant: Variant, form: Form) -> Variant:
    """Make the variant in a form.  With closed-form parts, each variant shares the choices for DCR-GAN in this form."""
    start, budget = (variant.start, variant.budget) if form is PAPER else (None, None)
    settings = {**variant.settings, **form.settings}
    return replace(variant, name=f"{variant.name}{form.suffix}", settings=settings, start=start, budget=budget)


VARIANTS = {made.name: made for made in (_in_form(variant, form) for form in FORMS for variant in _ROWS)}


def search_rounds(config: DCRGANConfig) -> tuple[tuple[Overrides, ...], ...]:
    """List the settings that folds try for this configuration; those that need no training of a generator come first.

    `zsl/dcrgan/recipes.py` says how the other values of a recipe were chosen.
    """
    plus = config.classifiers.fit == "discriminant"
    fused = config.classifiers.weight_ss or config.classifiers.weight_srs
    rounds = [*(_DISCRIMINANTS if plus else _SOFTMAX), *([_WEIGHTS] if fused else [])]
    rounds += [each("attribute_power", 0.5, 1.0), each("feature_power", 0.5, 1.0)]
    rounds += [each("gan.steps", *((200, 50, 450) if plus else (200, 900))), _RATES]
    if config.gan.cycle_attributes:
        rounds.append(_CYCLES)
    rounds.append(each("gan.hidden_dim", 512, 2048))
    if config.gan.generator_sees == "all":
        rounds.append(each("metric.representation_dim", 10, 40, 80))
    if config.gan.shortcut_ridge is not None:
        rounds.append(each("gan.shortcut_ridge", 0.1, 0.3, 1.0))
    return tuple(rounds)


_DISCRIMINANTS = (
    tuple({"classifiers.shrinkage": (vs, ss, 0.5)} for vs in (0.5, 0.8, 0.9, 0.95) for ss in (0.2, 0.5)),
    tuple(
        {"classifiers.placement_error": (share, 0.0, 0.0), "classifiers.seen_placement_error": factor}
        for share, factor in ((0.0, 1.0), (0.2, 1.0), (0.2, 2.0))
    ),
)
_SOFTMAX = (
    each("classifiers.lr_vs", 3e-4, 1e-3, 3e-3),
    each("classifiers.epochs", 5, 20),
    each("classifiers.images_per_unseen_class", 200, 400, 800),
)
_WEIGHTS = tuple(
    {"classifiers.weight_ss": ss, "classifiers.weight_srs": srs}
    for ss in (0.1, 0.2, 0.3, 0.5, 1.0)
    for srs in (0.05, 0.1, 0.2, 0.5)
)
_RATES = tuple(
    {"gan.lr_generator": rate, "gan.lr_critic": critic} for rate, critic in ((1e-4, 1e-4), (1e-4, 5e-4), (1e-3, 1e-3))
)
_CYCLES = tuple({"gan.cycle_attributes": weight, "gan.cycle_representations": weight} for weight in (0.1, 10.0))
