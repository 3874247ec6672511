"""What validation folds have chosen for a method: the file `selection.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from zsl.common.config import flatten, override
from zsl.common.files import read_json
from zsl.datasets.splits import attributes_hash
from zsl.experiments.methods import METHOD_VERSION, Method
from zsl.experiments.run import first_difference
from zsl.features.load import describe_features

SELECTION_FILE = "selection.json"
Goal = Literal["harmonic", "acc_zsl", "acc_seen"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration on all folds."""

    config: dict[str, Any]  # without γ
    gamma: float  # the one γ for all folds with the highest mean H; all of it, whatever γ a recipe has
    harmonic: float  # mean over folds at that γ
    acc_seen: float  # mean over folds without γ
    acc_zsl: float  # mean over folds


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the folds chose."""

    method: str
    method_version: int
    benchmark: str
    backbone: str
    features: dict[str, Any]  # what tells the feature table from another of the same backbone
    attributes_hash: str
    goal: Goal
    seed: int
    folds: dict[str, dict[str, str]]  # hashes of the rows of each fold's parts, and of what it trains on
    trials: int
    best: Trial
    gamma: float  # to be taken off the scores of seen classes
    calibration_folds: dict[str, dict[str, str]]  # those that chose γ; none: `folds` did
    calibration: Trial | None  # the best configuration on them

    def config(self, method: Method) -> Any:
        """The chosen configuration of `method`, without γ: that is `gamma`."""
        return override(method.config, flatten(self.best.config))


def read_selection(path: Path, method: Method, manifest: Mapping[str, Any], attributes: Tensor) -> Selection:
    """The outcome of a search for `method`, for a run on the features and class attributes that it was made with.

    Variants of DCR-GAN take what was chosen for `dcrgan` too, unless they have a search, or need a γ, of their own.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it was made on other features or attributes, for another method, or by another version of it.
    """
    path = path / SELECTION_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no selection {path}; scripts/choose.py makes it")
    content = read_json(path)
    of_attributes = {"attributes_hash": attributes_hash(attributes.cpu().numpy())}
    for key, given in (describe_features(manifest) | of_attributes).items():
        if content.get(key) != given:
            what, difference = key.split("_")[0], first_difference(content.get(key), given, key)
            raise ValueError(f"{path} was chosen on other {what} ({difference}); choose on these with another --name")
    if content.get("method_version") != METHOD_VERSION:
        raise ValueError(f"{path} was chosen by another version of this program; choose anew with another --name")
    fitting = {method.name} | (set() if method.own_search or method.own_scale else {"dcrgan"})
    if content["method"] not in fitting:
        raise ValueError(
            f"{path} was chosen for {content['method']}, this run is of {method.name}; it takes a selection of "
            f"{' or '.join(sorted(fitting))}"
        )
    calibration = content["calibration"]
    return Selection(
        **content | {"best": Trial(**content["best"]), "calibration": calibration and Trial(**calibration)}
    )
