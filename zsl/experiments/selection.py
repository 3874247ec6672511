"""What validation folds have chosen for a method: the file `selection.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from zsl.common.config import Settings, flatten, override
from zsl.common.files import read_json
from zsl.common.records import as_record
from zsl.datasets.splits import attributes_hash
from zsl.experiments.methods import version_of
from zsl.experiments.run import first_difference
from zsl.features.facts import FeatureFacts, describe_features
from zsl.features.manifest import Manifest
from zsl.scores.folds import FoldScores
from zsl.training.method import Goal, Method

SELECTION_FILE = "selection.json"
REMEDY = "choose anew with scripts/choose.py and another --name"
FoldHashes = dict[str, dict[str, str]]  # by number: hashes of a fold's rows and of the numbers that it trains on


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration on all folds."""

    config: Settings
    scores: FoldScores


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the folds chose."""

    method: str
    method_version: int | str
    benchmark: str
    backbone: str
    features: FeatureFacts  # what tells the feature table from another of the same backbone
    attributes_hash: str
    goal: Goal
    seed: int
    folds: FoldHashes
    trials: int
    best: Trial
    gamma: float  # for the best configuration
    calibration_folds: FoldHashes  # those that chose γ; none: `folds` did
    calibration: Trial | None  # the best configuration on them

    def is_of(self, method: Method, config: Any) -> bool:
        """Whether the folds chose this very configuration of the method, so that γ is for it, too."""
        return self.method == method.selected_as and self.best.config == json.loads(json.dumps(asdict(config)))

    def config(self, method: Method) -> Any:
        """The chosen configuration of `method`."""
        return override(method.config, flatten(self.best.config))


def read_selection(path: Path, method: Method, manifest: Manifest, attributes: Tensor) -> Selection:
    """The outcome of a search that serves `method`, for a run on the features and attributes that it was made with.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it was made on other features or attributes, for another method, or by another version of it; or a
            field of the file is absent or damaged.
    """
    path = path / SELECTION_FILE if path.is_dir() else path
    content = _read(path)
    of_attributes = {"attributes_hash": attributes_hash(attributes.cpu().numpy())}
    for key, value in (describe_features(manifest).as_json | of_attributes).items():
        if content.get(key) != value:
            what, difference = key.split("_")[0], first_difference(content.get(key), value, key)
            raise ValueError(f"{path} was chosen on other {what} ({difference}); choose on these with another --name")
    fitting = {method.name, method.selected_as}
    if content.get("method") not in fitting:
        raise ValueError(
            f"{path} was chosen for {content.get('method')}, this run is of {method.name}; it takes a selection of "
            f"{' or '.join(sorted(fitting))}"
        )
    if content.get("method_version") != version_of(method):
        raise ValueError(f"{path} was chosen by another version of this program; choose anew with another --name")
    return as_record(content, Selection, str(path), REMEDY)


def load_selection(path: Path) -> Selection:
    """The selection in the file `path`, whatever it was made for.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a field of the file is absent or damaged.
    """
    return as_record(_read(path), Selection, str(path), REMEDY)


def _read(path: Path) -> Settings:
    if not path.is_file():
        raise FileNotFoundError(f"no selection {path}; scripts/choose.py makes it")
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); {REMEDY}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a selection; {REMEDY}")
    return content
