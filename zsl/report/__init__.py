"""Pages about finished runs: tables, figures and provenance, which a browser shows without this program."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.report.page import Options, write_comparison, write_report
    from zsl.report.runs import ReportRun, find_runs, read_report_run
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["Options", "ReportRun", "find_runs", "read_report_run", "write_comparison", "write_report"]
