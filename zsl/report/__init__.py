"""Run folders in, pages out: tables, figures and provenance of what was scored, readable without this program."""

from zsl.report.page import Options, write_comparison, write_report
from zsl.report.runs import ReportRun, find_runs, read_report_run

__all__ = ["Options", "ReportRun", "find_runs", "read_report_run", "write_comparison", "write_report"]
