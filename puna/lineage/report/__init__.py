"""What a run has to show: report.json and a self-contained report.html, and runs compared with intervals."""

from puna.lineage.report.build import build_report, write_report
from puna.lineage.report.compare import compare_runs
from puna.lineage.report.terminal import comparison_table, report_card

__all__ = ["build_report", "compare_runs", "comparison_table", "report_card", "write_report"]
