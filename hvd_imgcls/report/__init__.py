"""Self-contained HTML reports on one run and on several."""

from hvd_imgcls.report.comparison import write_comparison
from hvd_imgcls.report.writing import write_report

__all__ = ["write_comparison", "write_report"]
