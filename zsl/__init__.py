"""Generalized zero-shot learning: from features of seen classes to scores of unseen classes.

All files use these letters for shapes:

    N  images             B  batch                C  classes = S seen + U unseen
    D  visual feature     A  attribute            R  class representation    Z  noise

Labels are class ids in [0, C): the position of the class in the split file's `allclasses_names`.  The local index of a
softmax head stays inside the head.  Rows are official row numbers, from 0.  Accuracies are fractions in [0, 1].
"""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.common.compute import make_accelerator
    from zsl.datasets.pack import make_shards
    from zsl.datasets.places import features_folder, shards_folder
    from zsl.experiments.compare import compare, read_run
    from zsl.experiments.experiment import Experiment
    from zsl.experiments.methods import method_and_recipe
    from zsl.features.extract import extract_features
    from zsl.features.load import find_features, load_splits
    from zsl.features.split import TestSplit, TrainSplit, split_features
    from zsl.features.table import read_features
    from zsl.predict.reader import open_reader
    from zsl.scores.evaluate import evaluate
    from zsl.scores.model import Calibrated
    from zsl.training.method import Method, candidates, one_step
    from zsl.training.stage import stage
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "Calibrated",
    "Experiment",
    "Method",
    "TestSplit",
    "TrainSplit",
    "candidates",
    "compare",
    "evaluate",
    "extract_features",
    "features_folder",
    "find_features",
    "load_splits",
    "make_accelerator",
    "make_shards",
    "method_and_recipe",
    "one_step",
    "open_reader",
    "read_features",
    "read_run",
    "shards_folder",
    "split_features",
    "stage",
]
