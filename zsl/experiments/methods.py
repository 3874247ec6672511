"""Every method and variant by name: how it is trained, and among which configurations the validation folds may choose.

A variant is a configuration of DCR-GAN, never a copy of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from zsl.baselines.registry import BASELINES
from zsl.common.config import Overrides, override
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.variants import SCALE, STARTS, VARIANTS, _rounds
from zsl.scores.model import ZeroShotModel

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
