"""Self-contained HTML reports on one run and on several."""

from hvd_imgcls.workflows.report.comparison import write_comparison
from hvd_imgcls.workflows.report.writing import write_report

__all__ = ["write_comparison", "write_report"]
