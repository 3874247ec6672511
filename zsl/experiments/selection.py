"""The result of a search on validation folds: the file `selection.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from zsl.common.config import Settings, flatten, override
from zsl.common.files import read_object
from zsl.common.records import as_record
from zsl.datasets.splits import attributes_hash
from zsl.experiments.methods import version_of
from zsl.experiments.run import first_difference
from zsl.features.facts import FeatureFacts, describe_features, with_parts
from zsl.features.manifest import Manifest
from zsl.scores.folds import FoldScores
from zsl.training.method import Goal, Method

SELECTION_FILE = "selection.json"
REMEDY = "choose anew with scripts/choose.py and another --name"
FoldHashes = dict[
    str, dict[str, str]
]  # by the number of a fold: hashes of its rows and of the numbers in its training data


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A configuration and its scores on all folds."""

    config: Settings
    scores: FoldScores


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The choices of the folds."""

    method: str
    method_version: int | str
    benchmark: str
    backbone: str
    features: FeatureFacts  # what identifies the feature table among those of the backbone
    attributes_hash: str
    goal: Goal
    seed: int
    folds: FoldHashes
    trials: int
    best: Trial
    gamma: float  # for the best configuration
    calibration_folds: FoldHashes  # the folds that chose γ; empty: `folds` chose it
    calibration: Trial | None  # the trial of the best configuration on the calibration folds

    def is_of(self, method: Method, config: Any) -> bool:
        """Whether the folds chose exactly this configuration of the method, so that γ is for it, too."""
        of_method = self.method in (method.name, method.selected_as)
        return of_method and self.best.config == json.loads(json.dumps(asdict(config)))

    def config(self, method: Method) -> Any:
        """Return the configuration of `method` that the folds chose."""
        return override(method.config, flatten(self.best.config))


def read_selection(path: Path, method: Method, manifest: Manifest, attributes: Tensor) -> Selection:
    """Read the selection for a run of `method` on these features and attributes.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the selection was made on other features or attributes, for another method, or by another version
            of it; or a field of the file is absent or damaged.
    """
    path = path / SELECTION_FILE if path.is_dir() else path
    content = with_parts(_read(path))
    facts = describe_features(manifest).as_json | {"attributes_hash": attributes_hash(attributes.cpu().numpy())}
    for key, value in facts.items():
        if content.get(key) != value:
            what, difference = key.split("_")[0], first_difference(content.get(key), value, key)
            raise ValueError(f"{path} was chosen on other {what} ({difference}); choose on these with another --name")
    names = {method.name, method.selected_as}
    if content.get("method") not in names:
        raise ValueError(
            f"{path} was chosen for {content.get('method')}, this run is of {method.name}; it takes a selection of "
            f"{' or '.join(sorted(names))}"
        )
    if content.get("method_version") != version_of(method):
        raise ValueError(f"{path} was chosen by another version of this program; choose anew with another --name")
    return as_record(content, Selection, str(path), REMEDY)


def load_selection(path: Path) -> Selection:
    """Read the selection in the file `path`, for any method and features.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a field of the file is absent or damaged.
    """
    return as_record(_read(path), Selection, str(path), REMEDY)


def _read(path: Path) -> Settings:
    if not path.is_file():
        raise FileNotFoundError(f"no selection {path}; scripts/choose.py makes it")
    return read_object(path, REMEDY)
