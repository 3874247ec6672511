"""Small configurations of methods by name, for the toy problem and a small `shapes`, and tiny generative ones."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from zsl.baselines.registry import BASELINES
from zsl.common.config import flatten, override
from zsl.generative.registry import GENERATIVE

NETWORKS: dict[str, dict[str, Any]] = {  # of the methods of `zsl.baselines` that learn by steps
    "cnzsl": {"hidden_dim": 64, "steps": 100, "lr": 5e-3},
    "crnet": {"hidden_dim": 64, "steps": 400, "lr": 3e-3},
    "latem": {"steps": 100, "lr": 1e-2},
    "zlap": {"hidden_dim": 64, "steps": 100, "lr": 5e-3},
}


def small(name: str, **smaller: Any) -> Any:
    """The configuration of a method, with networks and numbers of steps as the toy problem needs them."""
    if name in BASELINES:
        return override(BASELINES[name].config, NETWORKS.get(name, {}) | smaller)
    sizes = {
        "gan.hidden_dim": 64, "gan.steps": 150, "gan.batch_size": 32, "gan.lr_generator": 2e-3, "gan.lr_critic": 2e-3,
        "gan.pretraining_steps": 50, "regression.steps": 100, "srn.steps": 300, "heads.images_per_unseen_class": 50,
        "vae.steps": 200, "vae.hidden_dim": 64, "vae.attribute_hidden_dim": 32, "vae.latent_dim": 16, "vae.lr": 3e-3,
        # The papers' weights belong to sums over thousands of dimensions, and there are 24 here.
        "vae.kl_weight": 0.01, "vae.distance_weight": 0.1, "margin": 5.0,
        "embedding_dim": 64, "projection_dim": 16, "compatibility_dim": 32,
    }  # fmt: skip
    config = GENERATIVE[name].config
    known = flatten(asdict(config))
    return override(config, {path: value for path, value in (sizes | smaller).items() if path in known})


def tiny(name: str) -> Any:
    """The same with hardly any steps: every stage runs, and nothing is learned."""
    stages = ("gan.steps", "gan.pretraining_steps", "regression.steps", "srn.steps", "vae.steps")
    return small(name, **dict.fromkeys(stages, 5), **{"gan.hidden_dim": 16, "gan.batch_size": 8, "heads.epochs": 2})
