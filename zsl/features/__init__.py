"""Shards to feature tables, and feature tables to a TrainSplit and a TestSplit."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.features.extract import ExtractSettings, extract_features, extract_tables
    from zsl.features.join import find_tables, read_tables
    from zsl.features.load import find_features, load_calibration, load_folds, load_splits
    from zsl.features.manifest import Manifest, read_manifest
    from zsl.features.mat import export_mat, import_mat
    from zsl.features.split import LabelledFeatures, TestSplit, TrainSplit, split_features
    from zsl.features.table import FeatureTable, read_features
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "ExtractSettings",
    "FeatureTable",
    "LabelledFeatures",
    "Manifest",
    "TestSplit",
    "TrainSplit",
    "export_mat",
    "extract_features",
    "extract_tables",
    "find_features",
    "find_tables",
    "import_mat",
    "load_calibration",
    "load_folds",
    "load_splits",
    "read_features",
    "read_manifest",
    "read_tables",
    "split_features",
]
