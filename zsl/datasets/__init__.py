"""Raw archives and official splits to instances, shards and folds."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.datasets.benchmark import Benchmark, read_benchmark
    from zsl.datasets.dataset import Archive, Dataset
    from zsl.datasets.instances import Instance
    from zsl.datasets.pack import make_shards, open_or_draw_shards, open_shards
    from zsl.datasets.places import features_folder, shards_folder, splits_folder
    from zsl.datasets.registry import DATASETS, find_dataset
    from zsl.datasets.split_file import SplitFile, read_split_file
    from zsl.datasets.splits import Splits, make_splits
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "DATASETS",
    "Archive",
    "Benchmark",
    "Dataset",
    "Instance",
    "SplitFile",
    "Splits",
    "features_folder",
    "find_dataset",
    "make_shards",
    "make_splits",
    "open_or_draw_shards",
    "open_shards",
    "read_benchmark",
    "read_split_file",
    "shards_folder",
    "splits_folder",
]
