"""Reports: what the finished cells of a study found, as tables, figures and a page."""

from rtc.report.sections import check, verdict
from rtc.report.study_report import tables, write

__all__ = ["check", "tables", "verdict", "write"]
