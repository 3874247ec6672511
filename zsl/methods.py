"""Every method and variant by name: how it is trained, and among which configurations the validation folds may choose.

A variant is a configuration of DCR-GAN, never a copy of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal

from zsl.baselines import BASELINES
from zsl.dcrgan import DCRGANConfig, train_dcrgan
from zsl.evaluate import ZeroShotModel

Overrides = Mapping[str, Any]  # dotted field of a configuration -> value
METHOD_VERSION = 1  # raised by every change that moves results, so that old and new ones are not mixed


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way from a TrainSplit to a ZeroShotModel."""

    name: str
    train: Callable[..., ZeroShotModel]  # (train, config, *, seed, log)
    config: Any  # a frozen dataclass
    rounds: tuple[tuple[Overrides, ...], ...] = ()  # each round tries its overrides on the best of the rounds before
    settings: Overrides = field(default_factory=dict)  # what makes a variant: set last, whatever was chosen
    own_search: bool = False  # chosen for itself; variants of DCR-GAN otherwise share what is chosen for dcrgan
    goal: Literal["harmonic", "acc_zsl", "acc_seen"] = "harmonic"  # score on the folds by which `rounds` choose
    cite: str = ""

    @property
    def own_scale(self) -> bool:
        """Whether its scores are on another scale than DCR-GAN's, so that it needs a γ of its own."""
        return not SCALE.isdisjoint(self.settings)

    def configured(self, config: Any) -> Any:
        """`config` as this variant has it."""
        return override(config, self.settings)


def override(config: Any, overrides: Overrides) -> Any:
    """The configuration with some values replaced, named by their dotted path.

    Raises:
        ValueError: there is no such field.
    """
    for path, value in overrides.items():
        config = _replace(config, path.split("."), value, path)
    return config


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"gan.steps": 450, …} of nested dictionaries: the overrides that make a configuration."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _replace(config: Any, path: list[str], value: Any, whole: str) -> Any:
    known = [item.name for item in fields(config)] if is_dataclass(config) else []
    if path[0] not in known:
        raise ValueError(f"no field {whole!r} in the configuration; there are {', '.join(known) or 'none'}")
    old = getattr(config, path[0])
    new = value if len(path) == 1 else _replace(old, path[1:], value, whole)
    if isinstance(old, tuple) and isinstance(new, list):  # JSON has no tuples
        new = tuple(new)
    return replace(config, **{path[0]: new})


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


def find_method(name: str, recipe: DCRGANConfig, *, starts: bool = True) -> Method:
    """The method `name`: dcrgan, one of its VARIANTS, or a baseline.

    starts: a variant of STARTS begins there; otherwise, as with a recipe that the user named, at `recipe` itself.

    Raises:
        ValueError: there is none of that name.
    """
    if name in BASELINES:
        baseline = BASELINES[name]
        config = baseline.config
        tried = tuple(
            {item.name: getattr(candidate, item.name) for item in fields(candidate)}
            for candidate in baseline.candidates
        )
        return Method(
            name=name,
            train=baseline.train,
            config=config,
            rounds=(tried,),
            own_search=True,
            goal=baseline.chosen_by,
            cite=baseline.citation,
        )
    if name != "dcrgan" and name not in VARIANTS:
        raise ValueError(f"no method {name!r}; there are dcrgan, {', '.join([*VARIANTS, *BASELINES])}")
    settings = VARIANTS.get(name, {})
    config = override(recipe, STARTS.get(name, {}) if starts else {})
    method = Method(
        name=name, train=train_dcrgan, config=config, rounds=_rounds(override(config, settings)), settings=settings,
        own_search=name in STARTS, cite="Xian et al. 2018" if name.startswith("f-CLSWGAN") else "Ye et al. 2022",
    )  # fmt: skip
    return replace(method, config=override(config, {"classifiers.gamma": 0.0})) if method.own_scale else method


def describe_method(method: Method, config: Any, selection: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a result says about how it was made; `selection` says which folds chose the configuration and γ."""
    transductive = isinstance(config, DCRGANConfig) and config.gan.semantic_transductive
    chosen = "a fixed recipe" if selection is None else "chosen on validation folds"
    return {
        "method": method.name,
        "method_version": METHOD_VERSION,
        "protocol": f"honest: {chosen}, nothing chosen on a test row",
        "inductive": not transductive,  # does a training loss touch unseen classes' attributes?
        "selection": selection,
        "config": asdict(config),
    }


def _each(path: str, *values: Any) -> tuple[Overrides, ...]:
    return tuple({path: value} for value in values)


def _rounds(config: DCRGANConfig) -> tuple[tuple[Overrides, ...], ...]:
    """What is tried for this configuration; what needs no training of a generator comes first.

    `zsl/recipes.py` says how a recipe's other values were found.
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
