"""Methods on data: search on folds, runs over seeds, tables, studies, comparisons."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.experiments.compare import Difference, Run, check_comparable, read_run
    from zsl.experiments.experiment import Experiment
    from zsl.experiments.methods import METHOD_NAMES, find_method, method_and_recipe
    from zsl.experiments.results import Results, read_results, score_table
    from zsl.experiments.search import select
    from zsl.experiments.selection import Selection, read_selection
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "METHOD_NAMES",
    "Difference",
    "Experiment",
    "Results",
    "Run",
    "Selection",
    "check_comparable",
    "find_method",
    "method_and_recipe",
    "read_results",
    "read_run",
    "read_selection",
    "score_table",
    "select",
]
