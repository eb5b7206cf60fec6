"""One page about a run, and one about several: everything in a file, no network needed."""

from hvd_imgcls.workflows.report.comparison import write_comparison
from hvd_imgcls.workflows.report.writing import write_report

__all__ = ["write_comparison", "write_report"]
